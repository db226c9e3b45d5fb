// The figures of section 4.4: a text's tokens in a table, or the patches of a picture.
explore((part, data, tools) => {
  const FULL = 65535;
  const count = data.names.length;
  const heads = data.heads.length;
  const bytes = Uint8Array.from(atob(data.weights), (letter) => letter.charCodeAt(0));
  const numbers = new DataView(bytes.buffer);
  const at = (setting, q, k) => {
    const matrix = setting.layer * heads + setting.head;
    return numbers.getUint16(2 * ((matrix * count + q) * count + k), true);
  };
  const everyone = [...Array(count).keys()];
  const row = (setting, q) => everyone.map((k) => at(setting, q, k));
  const column = (setting, k) => everyone.map((q) => at(setting, q, k));
  const weight = (units, digits = 3) => (units / FULL).toFixed(digits);

  // A token stands in quotes, for it may be a word such as "and".
  const names = data.kind === "text" ? data.names.map((name) => `“${name}”`) : data.names;

  const where = (setting) => {
    const words = `${data.layers[setting.layer]}, ${data.heads[setting.head]}`;
    return words[0].toUpperCase() + words.slice(1);
  };
  const strongest = (units, among) => [...among].sort((a, b) => units[b] - units[a] || a - b).slice(0, 3);
  const listed = (units, chosen, own) => {
    const words = chosen.map((i) => `${i === own ? "itself" : names[i]} (${weight(units[i])})`);
    return words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words.at(-1)}` : words[0];
  };

  // The colours' scale runs from 0 to `top`, both in 65535ths; what lies above has the last colour.
  const shade = (units, top) =>
    top > 0 ? Math.min(Math.round((units * (data.colours.length - 1)) / top), data.colours.length - 1) : 0;

  // One stop for Tab in a grid; inside, the arrow keys move. cells: rows of elements, some of them null.
  const grid = (cells, start, arrived) => {
    const all = cells.flat().filter(Boolean);
    const place = (element) => {
      const r = cells.findIndex((line) => line.includes(element));
      return [r, r < 0 ? -1 : cells[r].indexOf(element)];
    };
    const stop = (element) => {
      for (const cell of all) cell.tabIndex = cell === element ? 0 : -1;
    };
    const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const target = (event) => {
      const [r, c] = place(event.target);
      if (r < 0 || event.altKey || event.metaKey) return null;
      const last = cells.length - 1;
      if (event.key === "Home") return cells[event.ctrlKey ? 0 : r].find(Boolean);
      if (event.key === "End") return cells[event.ctrlKey ? last : r].at(-1);
      const step = STEPS[event.key];
      if (!step || event.ctrlKey || event.shiftKey) return null;
      return cells[r + step[0]]?.[c + step[1]] ?? event.target;
    };
    for (const cell of all) {
      cell.addEventListener("focus", () => {
        stop(cell);
        arrived(cell);
      });
      cell.addEventListener("keydown", (event) => {
        const next = target(event);
        if (!next) return;
        event.preventDefault();
        event.stopPropagation();
        next.focus();
      });
    }
    stop(start);
    return stop;
  };

  return data.kind === "text" ? text() : picture();

  function text() {
    const table = part("table");
    table.setAttribute("role", "grid");
    const lines = [...table.rows].map((line) => [...line.cells]);
    // The names at the edges become buttons.
    const button = (cell, token) => {
      const name = cell.firstElementChild;
      const made = document.createElement("button");
      made.type = "button";
      made.className = name.className;
      made.dir = name.dir;
      made.title = made.textContent = data.names[token];
      made.addEventListener("click", () => tools.choose("token", token));
      name.replaceWith(made);
      return made;
    };
    const corner = [null, ...lines[0].slice(1).map(button)];
    const edges = lines.slice(1).map((line, q) => button(line[0], q));
    const cells = lines.slice(1).map((line) => line.slice(1));
    let pointed = null; // [q, k] of the cell that the sentence below the table is about
    let focused = null;

    const report = () => {
      const [q, k] = pointed ?? focused ?? [];
      const words =
        q === undefined
          ? "Point at a cell, or move to it with the arrow keys."
          : `From ${names[q]} to ${names[k]}: ${weight(at(tools.setting(), q, k))}.`;
      if (part("cell").textContent !== words) part("cell").textContent = words;
    };
    const find = (element) => {
      const cell = element.closest("td[style]");
      const q = cell ? cells.findIndex((line) => line.includes(cell)) : -1;
      return q < 0 ? null : [q, cells[q].indexOf(cell)];
    };
    const stop = grid([corner, ...cells.map((line, q) => [edges[q], ...line])], edges[tools.setting().token], (cell) => {
      focused = find(cell) ?? focused;
      pointed = null; // the keys left the mouse behind
      report();
    });
    table.addEventListener("pointerover", (event) => {
      if (event.pointerType === "touch") return;
      pointed = find(event.target) ?? pointed;
      report();
    });
    table.addEventListener("pointerleave", () => {
      pointed = null;
      report();
    });
    // A finger's tap need not move the focus, so that the cell takes it by itself.
    table.addEventListener("click", (event) => event.target.closest("td[style]")?.focus());

    return (setting) => {
      const { token } = setting;
      const end = data.ends[setting.end];
      part("top").textContent = end < 1 ? `${end} or more` : "1";
      cells.forEach((line, q) =>
        line.forEach((cell, k) => {
          const units = at(setting, q, k);
          const colour = shade(units, end * FULL);
          cell.style.background = data.colours[colour];
          cell.style.color = colour >= data.blackFrom ? "#000" : "#fff";
          cell.textContent = weight(units, 2).replace(/^0/, "");
          cell.classList.toggle("on-row", q === token);
          cell.classList.toggle("on-column", k === token);
        }),
      );
      for (const line of [corner.slice(1), edges])
        line.forEach((name, i) => name.setAttribute("aria-pressed", String(i === token)));
      if (!table.contains(document.activeElement) && !focused) stop(edges[token]);
      const [looks, looked] = [row(setting, token), column(setting, token)];
      tools.say(
        `${where(setting)}. Token ${names[token]} looks most at ${listed(looks, strongest(looks, everyone), token)}. ` +
          `It is looked at most by ${listed(looked, strongest(looked, everyone), token)}. ` +
          `Spread evenly, each weight would be ${(1 / count).toFixed(3)}.`,
      );
      report();
    };
  }

  function picture() {
    const [high, wide] = data.grid;
    const [tall, broad] = data.patch;
    const prefix = count - high * wide;
    const patches = everyone.slice(prefix);
    const grey = Uint8Array.from(atob(data.grey), (letter) => letter.charCodeAt(0));
    const colours = data.colours.map((name) => [1, 3, 5].map((i) => parseInt(name.slice(i, i + 2), 16)));

    const canvas = document.createElement("canvas");
    [canvas.height, canvas.width] = data.size;
    canvas.setAttribute("role", "img");
    part("still").replaceWith(canvas);
    const pen = canvas.getContext("2d", { willReadFrequently: true });

    // Not a table: what a theme does to tables must not move a patch.
    const add = (parent, role) => {
      const made = parent.appendChild(document.createElement("div"));
      made.setAttribute("role", role);
      return made;
    };
    const whole = add(part("picture"), "grid");
    whole.className = "explorer-attention-patches";
    whole.setAttribute("aria-label", "Patches: the one with the focus looks");
    const cells = [...Array(high).keys()].map(() => {
      const line = add(whole, "row");
      return [...Array(wide).keys()].map(() => add(line, "gridcell"));
    });
    const flat = cells.flat();
    const choose = (cell) => {
      const from = prefix + flat.indexOf(cell);
      if (tools.setting().from !== from) tools.choose("from", from);
    };
    const stop = grid(cells, flat[Math.max(tools.setting().from - prefix, 0)], choose);
    whole.addEventListener("click", (event) => event.target.closest("[role=gridcell]")?.focus());

    return (setting) => {
      const { from } = setting;
      const looks = row(setting, from);
      const order = strongest(looks, patches);
      const top = looks[order[0]];
      const image = pen.createImageData(canvas.width, canvas.height);
      for (let y = 0; y < canvas.height; y += 1) {
        for (let x = 0; x < canvas.width; x += 1) {
          const pixel = y * canvas.width + x;
          const [r, c] = [Math.floor(y / tall), Math.floor(x / broad)];
          const inside = r < high && c < wide; // no token stands for what lies beyond the last whole patch
          const colour = inside ? colours[shade(looks[prefix + r * wide + c], top)] : null;
          for (let channel = 0; channel < 3; channel += 1)
            image.data[4 * pixel + channel] = colour
              ? Math.round((1 - data.alpha) * grey[pixel] + data.alpha * colour[channel])
              : grey[pixel];
          image.data[4 * pixel + 3] = 255;
        }
      }
      pen.putImageData(image, 0, 0);
      flat.forEach((cell, i) => {
        cell.setAttribute("aria-selected", String(prefix + i === from));
        cell.setAttribute("aria-label", `${data.names[prefix + i]}, weight ${weight(looks[prefix + i])}`);
        const rank = order.indexOf(prefix + i);
        cell.replaceChildren();
        if (rank >= 0) cell.appendChild(document.createElement("b")).textContent = rank + 1;
      });
      if (!whole.contains(document.activeElement) && from >= prefix) stop(flat[from - prefix]);
      part("top").textContent = weight(top);
      const before = everyone.slice(0, prefix).map((i) => `${data.names[i]} gets ${weight(looks[i])}`);
      const words =
        `${where(setting)}. ${from < prefix ? "" : "The patch in "}${data.names[from]} looks most at the patches in ${listed(looks, order, from)}. ` +
        `${before.join(", ")}. Spread evenly, each weight would be ${(1 / count).toFixed(3)}.`;
      canvas.setAttribute("aria-label", `${data.shows}, in grey, coloured by attention. ${words}`);
      tools.say(words);
    };
  }
});
