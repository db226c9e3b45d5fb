// The figures of sections 4.1 to 4.3: one state for each setting, made in Python. A state holds the sentence and, for
// the parts that change, their attributes; "src" and "ground" are places in the list of pictures, "words" is text.
explore((part, data, tools) => (setting) => {
  const at = data.controls.reduce((place, [name, count]) => place * count + setting[name], 0);
  const state = data.states[at];
  for (const [name, attributes] of Object.entries(state.parts)) {
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "src") part(name).src = data.pictures[value];
      else if (key === "ground") part(name).parentElement.style.backgroundImage = `url("${data.pictures[value]}")`;
      else if (key === "opacity") part(name).style.opacity = value;
      else if (key === "words") part(name).textContent = value;
      else part(name).setAttribute(key, value);
    }
  }
  tools.say(state.said);
});
