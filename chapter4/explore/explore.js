// What every explorer's script shares. It and the explorer's own file run inside one function: no name leaks.
//
// The own file calls explore(prepare) once. prepare(part, data, tools) gets
//   part(name)   the element of this figure with data-part="name" (or null)
//   data         what Python embedded
//   tools.say(text)                the sentence below the picture, spoken by a screen reader when it changes
//   tools.choose(name, position)   moves a control from the script, and draws
//   tools.setting()                {name: position} of all controls
// and returns show(setting): called at once and after every change of a control.
// A figure is started once; a second explorer on the page has its own script, figure and data.
function explore(prepare) {
  for (const figure of document.querySelectorAll("figure.explorer")) {
    if (figure.dataset.script !== SCRIPT_NAME || figure.explorerStarted) continue;
    const part = (name) => figure.querySelector(`[data-part="${name}"]`);
    if (!part("data")) continue;
    figure.explorerStarted = true;
    const controls = [...figure.querySelectorAll("[data-control]")];
    const setting = () =>
      Object.fromEntries(controls.map((control) => [control.dataset.control, Number(control.value)]));
    const say = (text) => {
      if (part("said").textContent !== text) part("said").textContent = text;
    };
    const draw = () => {
      for (const control of controls) {
        if (control.type !== "range") continue;
        const words = JSON.parse(control.dataset.values)[Number(control.value)];
        control.setAttribute("aria-valuetext", words);
        control.closest(".explorer-control").querySelector("output").textContent = words;
      }
      show(setting());
    };
    const choose = (name, position) => {
      controls.find((control) => control.dataset.control === name).value = position;
      draw();
    };
    const show = prepare(part, JSON.parse(part("data").textContent), { say, choose, setting });
    for (const control of controls) control.addEventListener("input", draw);
    part("controls").hidden = false;
    part("off").hidden = true;
    draw();
  }
}
