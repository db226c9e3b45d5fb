// Before a page is printed: dark becomes light, and code that the page folds is opened. Afterwards all is as it was.
(function () {
  "use strict";
  const root = document.documentElement;
  const opened = [];

  window.addEventListener("beforeprint", () => {
    if (root.dataset.theme === "dark") {
      root.dataset.printedFrom = "dark";
      root.dataset.theme = "light";
    }
    for (const code of document.querySelectorAll("article div.cell details.hide:not([open])")) {
      code.open = true;
      opened.push(code);
    }
    // The style sheet shrinks a frame, and needs its height to take up no more room than that.
    for (const frame of document.querySelectorAll("article iframe")) {
      frame.style.setProperty("--printed-height", `${frame.offsetHeight}px`);
    }
  });

  window.addEventListener("afterprint", () => {
    if (root.dataset.printedFrom) {
      root.dataset.theme = root.dataset.printedFrom;
      delete root.dataset.printedFrom;
    }
    for (const code of opened.splice(0)) code.open = false;
  });
})();
