// Lets readers mark pages as read. The marks stay in this browser: nothing is sent anywhere.
(function () {
  "use strict";
  const KEY = "chapter4.pages-read";

  // The page's name, which is also how the table of contents links to it: "gradients" for .../gradients.html#quiz.
  const nameOf = (url) => new URL(url).pathname.split("/").pop().replace(/\.html$/, "");
  const here = nameOf(window.location.href);

  function load() {
    // The key may hold anything: another version of the book may have written it.
    try {
      const kept = JSON.parse(localStorage.getItem(KEY) ?? "[]");
      return new Set(Array.isArray(kept) ? kept.filter((name) => typeof name === "string") : []);
    } catch (error) {
      if (error instanceof SyntaxError) return new Set();
      return null; // no storage: private windows, or a reader who forbids it
    }
  }

  function save(read) {
    try {
      if (read.size) localStorage.setItem(KEY, JSON.stringify([...read].sort()));
      else localStorage.removeItem(KEY);
      return true;
    } catch {
      return false; // full, or forbidden since the page was opened
    }
  }

  const side = "#pst-primary-sidebar";
  const links = Array.from(document.querySelectorAll(`${side} nav a.reference.internal[href]`));
  const first = document.querySelector(`${side} a.navbar-brand`); // the table of contents leaves the first page out
  const pages = new Set([...links, ...(first ? [first] : [])].map((link) => nameOf(link.href)));
  const article = pages.has(here) ? document.querySelector("article") : null;
  if (load() === null) return; // a button that forgets would be a lie

  // A tick for the eye, and the word for a screen reader.
  function tick(link, isRead) {
    const old = link.querySelector(".page-read");
    if (!isRead) old?.remove();
    else if (!old) {
      const mark = document.createElement("span");
      mark.className = "page-read";
      mark.innerHTML = '<span aria-hidden="true"> ✓</span><span class="visually-hidden"> (read)</span>';
      link.append(mark);
    }
  }

  let box = null;
  function draw(news) {
    const read = load() ?? new Set();
    for (const link of links) tick(link, read.has(nameOf(link.href)));
    if (!box) return;
    const count = [...read].filter((name) => pages.has(name)).length;
    box.mark.textContent = read.has(here) ? "Mark this page as not read" : "Mark this page as read";
    box.forget.hidden = read.size === 0;
    box.status.textContent = news ?? `${count} of ${pages.size} pages read. Only this browser knows.`;
  }

  function change(edit) {
    const read = load() ?? new Set();
    edit(read);
    draw(save(read) ? undefined : "This browser does not keep the mark.");
  }

  function button(text, edit) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.addEventListener("click", () => change(edit));
    return made;
  }

  if (article) {
    const toggle = (read) => (read.has(here) ? read.delete(here) : read.add(here));
    box = { mark: button("", toggle), status: document.createElement("p") };
    box.forget = button("Forget what I have read", (read) => {
      read.clear();
      box.mark.focus(); // the button that was pressed is about to be hidden
    });
    box.status.setAttribute("role", "status");
    const whole = document.createElement("div");
    whole.className = "reading-progress";
    whole.append(box.mark, box.forget, box.status);
    article.append(whole);
  }
  draw();
  // Another tab of the book may change the marks, and so may a page that comes back from the history.
  window.addEventListener("storage", (event) => {
    if (event.key === KEY || event.key === null) draw();
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) draw();
  });
})();
