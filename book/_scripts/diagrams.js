// Draws the page's Mermaid diagrams, and draws them again when the reader changes between light and dark.
(function () {
  "use strict";
  const root = document.documentElement;
  const diagrams = Array.from(document.querySelectorAll("pre.mermaid"), (element) => ({
    element,
    source: element.textContent,
  }));
  let drawn = "";

  async function draw() {
    const theme = root.dataset.theme === "dark" ? "dark" : "neutral";
    if (theme === drawn) return;
    drawn = theme;
    window.mermaid.initialize({
      startOnLoad: false,
      theme,
      fontFamily: getComputedStyle(document.body).fontFamily,
      flowchart: { useMaxWidth: false },
    });
    for (const { element, source } of diagrams) {
      element.textContent = source;
      element.removeAttribute("data-processed");
    }
    await window.mermaid.run({ nodes: diagrams.map(({ element }) => element) });
  }

  // One after the other: the theme may set its colours while the first drawing is under way.
  let last = Promise.resolve();
  const queue = () => {
    if (root.dataset.printedFrom) return; // light for the printer only, which waits for no drawing
    last = last.then(draw, draw);
  };
  queue();
  new MutationObserver(queue).observe(root, { attributes: true, attributeFilter: ["data-theme"] });
})();
