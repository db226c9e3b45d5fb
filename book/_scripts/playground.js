// The playground: explains the reader's own photo in the browser. Nothing leaves the page; the model is fetched from
// the book's own folder when the reader asks for it.
(function () {
  "use strict";
  const root = document.getElementById("playground");
  if (!root) return;
  const base = new URL(".", document.currentScript.src);
  const at = (path) => new URL(path, base).href;
  const find = (selector) => root.querySelector(selector);
  const status = find("[data-status]");

  let engine = null; // {session, facts}, once loaded
  let loading = null;
  let shown = null; // {tensor, source, results}: what is on the page now

  // Text first: everything that the page does is said here, for eyes and for screen readers.
  function say(text, trouble) {
    status.textContent = text;
    status.classList.toggle("trouble", Boolean(trouble));
  }

  function addScript(src) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = src;
      script.onload = resolve;
      script.onerror = () => reject(new Error("a script of this page could not be loaded"));
      document.head.append(script);
    });
  }

  async function fetchBytes(url, progress) {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`${answer.status} for ${url}`);
    const total = Number(answer.headers.get("Content-Length")) || 0;
    const reader = answer.body.getReader();
    const parts = [];
    let done = 0;
    for (;;) {
      const { done: end, value } = await reader.read();
      if (end) break;
      parts.push(value);
      done += value.length;
      progress(done, total);
    }
    const bytes = new Uint8Array(done);
    let place = 0;
    for (const part of parts) {
      bytes.set(part, place);
      place += part.length;
    }
    return bytes;
  }

  function why() {
    if (location.protocol === "file:") {
      return "A browser gives a page that was opened as a file no model to load. Serve the book instead: make serve, "
        + "or python -m http.server in the book's folder.";
    }
    if (typeof WebAssembly !== "object") return "This browser has no WebAssembly, which the model needs to run.";
    return "";
  }

  function load() {
    loading = loading || start().catch((error) => {
      loading = null;
      throw error;
    });
    return loading;
  }

  async function start() {
    const reason = why();
    if (reason) throw new Error(reason);
    const bar = find("progress");
    bar.hidden = false;
    try {
      const megabytes = (n) => (n / 1e6).toFixed(1);
      const facts = await (await fetch(at("playground/facts.json"))).json();
      const model = await fetchBytes(at("playground/model.onnx"), (done, total) => {
        bar.max = total || done;
        bar.value = done;
        say(`Loading the model: ${megabytes(done)} of ${megabytes(total)} MB`);
      });
      bar.removeAttribute("value");
      say("Starting the model: its runtime is another 14 MB");
      await addScript(at("onnxruntime-web/dist/ort.wasm.min.js"));
      const ort = window.ort;
      ort.env.wasm.wasmPaths = at("onnxruntime-web/dist/");
      ort.env.wasm.numThreads = 1; // more need headers that a plain file server does not send
      const session = await ort.InferenceSession.create(model);
      engine = { session, facts };
      find("[data-load]").hidden = true;
      return engine;
    } finally {
      bar.hidden = true;
    }
  }

  // ---- from a photo to the tensor that the model sees, (1, 3, H, W) -------------------------------------------------

  // Resize the shorter side, crop the centre: as chapter4.images does, with the browser's own interpolation.
  function cropped(bitmap, facts) {
    const [height, width] = facts.crop;
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    if (bitmap.width === width && bitmap.height === height) {
      context.drawImage(bitmap, 0, 0); // a crop that Python made
      return context;
    }
    const scale = facts.resize / Math.min(bitmap.width, bitmap.height);
    const [w, h] = [Math.trunc(bitmap.width * scale), Math.trunc(bitmap.height * scale)];
    context.fillStyle = "white"; // under transparency
    context.fillRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, -Math.round((w - width) / 2), -Math.round((h - height) / 2), w, h);
    return context;
  }

  function tensorOf(pixels, facts) {
    const size = pixels.length / 4;
    const tensor = new Float32Array(3 * size);
    for (let c = 0; c < 3; c += 1) {
      for (let i = 0; i < size; i += 1) {
        tensor[c * size + i] = (pixels[4 * i + c] / 255 - facts.mean[c]) / facts.std[c];
      }
    }
    return tensor;
  }

  // ---- the model ----------------------------------------------------------------------------------------------------

  async function run(tensor, target) {
    const { session, facts } = await load();
    const ort = window.ort;
    const oneHot = new Float32Array(facts.classes.length);
    if (target !== null) oneHot[target] = 1;
    const answer = await session.run({
      [session.inputNames[0]]: new ort.Tensor("float32", tensor, [1, 3, ...facts.crop]),
      [session.inputNames[1]]: new ort.Tensor("float32", oneHot, [1, oneHot.length]),
    });
    return {
      logits: answer.logits.data,
      cells: answer.gradcam.data,
      grid: answer.gradcam.dims.slice(1),
      saliency: answer.saliency.data,
    };
  }

  // Grad-CAM resized to the photo and divided by its maximum, as chapter4.gradcam does: bilinear between cell centres.
  function camMap(cells, [rows, columns], [height, width]) {
    const map = new Float32Array(height * width);
    const place = (i, n, size) => {
      const at = Math.max(0, ((i + 0.5) * n) / size - 0.5);
      const low = Math.min(n - 1, Math.floor(at));
      return [low, Math.min(n - 1, low + 1), at - low];
    };
    let peak = 0;
    for (let y = 0; y < height; y += 1) {
      const [top, bottom, v] = place(y, rows, height);
      for (let x = 0; x < width; x += 1) {
        const [left, right, u] = place(x, columns, width);
        const upper = cells[top * columns + left] * (1 - u) + cells[top * columns + right] * u;
        const lower = cells[bottom * columns + left] * (1 - u) + cells[bottom * columns + right] * u;
        const value = upper * (1 - v) + lower * v;
        map[y * width + x] = value;
        peak = Math.max(peak, value);
      }
    }
    if (peak > 0) for (let i = 0; i < map.length; i += 1) map[i] /= peak;
    return map;
  }

  function topClasses(logits, k) {
    const top = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a]).slice(0, k);
    const largest = logits[top[0]];
    const total = logits.reduce((sum, z) => sum + Math.exp(z - largest), 0);
    return top.map((index) => ({ index, probability: Math.exp(logits[index] - largest) / total }));
  }

  async function explain(tensor, target) {
    const { facts } = await load();
    let chosen = target;
    let answer = await run(tensor, chosen);
    if (chosen === null || chosen === undefined) {
      [{ index: chosen }] = topClasses(answer.logits, 1);
      answer = await run(tensor, chosen);
    }
    return {
      target: chosen,
      top: topClasses(answer.logits, 5),
      gradcam: camMap(answer.cells, answer.grid, facts.crop),
      saliency: answer.saliency,
    };
  }

  // ---- drawing ------------------------------------------------------------------------------------------------------

  function paint(canvas, map, peak, facts, colours, photo) {
    const [height, width] = facts.crop;
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    const table = facts.colours[colours];
    for (let i = 0; i < map.length; i += 1) {
      const step = 3 * Math.min(255, Math.floor((map[i] / (peak || 1)) * 256));
      for (let c = 0; c < 3; c += 1) {
        image.data[4 * i + c] = photo ? 0.5 * photo[4 * i + c] + 0.5 * table[step + c] : table[step + c];
      }
      image.data[4 * i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }

  // A few pixels are far above the rest; the scale ends at the value that 99 % of the pixels do not exceed.
  function ninetyNine(map) {
    const sorted = Float32Array.from(map).sort();
    return sorted[Math.floor(0.99 * (sorted.length - 1))];
  }

  function where(map, [height, width]) {
    let best = 0;
    for (let i = 1; i < map.length; i += 1) if (map[i] > map[best]) best = i;
    const third = (position, size, names) => names[Math.min(2, Math.floor((3 * position) / size))];
    const row = third(Math.floor(best / width), height, ["top", "middle", "bottom"]);
    const column = third(best % width, width, ["left", "centre", "right"]);
    return row === "middle" && column === "centre" ? "the centre" : `the ${row} ${column}`;
  }

  const percent = (p) => `${(100 * p).toFixed(1)} %`;

  function draw(results, context) {
    const { facts } = engine;
    const photo = context.getImageData(0, 0, facts.crop[1], facts.crop[0]).data;
    const name = facts.classes[results.target];
    find("[data-results]").hidden = false;
    const seen = find("canvas[data-photo]");
    seen.getContext("2d").drawImage(context.canvas, 0, 0);
    seen.setAttribute("aria-label", "The crop that the model sees");
    const cam = find("canvas[data-gradcam]");
    paint(cam, results.gradcam, 1, facts, "viridis", photo);
    const blank = !results.gradcam.some((value) => value > 0);
    cam.setAttribute("aria-label", blank
      ? `Grad-CAM for ${name} is blank: no cell raises the score`
      : `Grad-CAM for ${name} over the photo, strongest in ${where(results.gradcam, facts.crop)}`);
    const saliency = find("canvas[data-saliency]");
    paint(saliency, results.saliency, ninetyNine(results.saliency), facts, "inferno", null);
    saliency.setAttribute("aria-label",
      `Saliency for ${name}: scattered points, the largest in ${where(results.saliency, facts.crop)}`);
    for (const label of root.querySelectorAll("[data-class]")) label.textContent = name;
    const list = find("[data-top]");
    list.replaceChildren(...results.top.map(({ index, probability }) => {
      const choice = document.createElement("label");
      const button = Object.assign(document.createElement("input"), {
        type: "radio", name: "playground-class", value: String(index), checked: index === results.target,
      });
      button.addEventListener("change", () => act(() => show(shown.tensor, shown.context, index)));
      choice.append(button, ` ${facts.classes[index]}: ${percent(probability)}`);
      return choice;
    }));
    return name;
  }

  async function show(tensor, context, target) {
    const focused = root.contains(document.activeElement) && document.activeElement.type === "radio";
    const results = await explain(tensor, target);
    const name = draw(results, context);
    shown = { tensor, context, results };
    if (focused) find("[data-top] input:checked")?.focus();
    const first = results.top[0];
    say(`The model says ${engine.facts.classes[first.index]}, ${percent(first.probability)}. The maps explain ${name}.`);
    find("[data-compare]").textContent = "";
  }

  // ---- how fragile the maps are -------------------------------------------------------------------------------------

  function relativeDifference(values, reference) {
    let apart = 0;
    let size = 0;
    for (let i = 0; i < values.length; i += 1) {
      apart += (values[i] - reference[i]) ** 2;
      size += reference[i] ** 2;
    }
    return Math.sqrt(apart / size);
  }

  function correlation(a, b) {
    const mean = (values) => values.reduce((sum, v) => sum + v, 0) / values.length;
    const [p, q] = [mean(a), mean(b)];
    let [ab, aa, bb] = [0, 0, 0];
    for (let i = 0; i < a.length; i += 1) {
      ab += (a[i] - p) * (b[i] - q);
      aa += (a[i] - p) ** 2;
      bb += (b[i] - q) ** 2;
    }
    return ab / Math.sqrt(aa * bb);
  }

  async function compare(other, words) {
    const { target, gradcam, saliency } = shown.results;
    const next = await explain(other, target);
    find("[data-compare]").textContent =
      `${words}: the saliency differs by ${percent(relativeDifference(next.saliency, saliency))} of its size, `
      + `the Grad-CAM maps correlate at ${correlation(next.gradcam, gradcam).toFixed(3)}.`;
  }

  // One grey level brighter, in every pixel and channel.
  async function nudge() {
    const { facts } = engine;
    const size = shown.tensor.length / 3;
    await compare(shown.tensor.map((v, i) => v + 1 / 255 / facts.std[Math.floor(i / size)]), "One grey level brighter");
  }

  async function readAgain() {
    const crop = await bitmapOf(at(`playground/${shown.photo.crop}`));
    const context = cropped(crop, engine.facts);
    const pixels = context.getImageData(0, 0, engine.facts.crop[1], engine.facts.crop[0]).data;
    await compare(tensorOf(pixels, engine.facts), "Resized by Python instead of this browser");
  }

  // ---- what the reader does -----------------------------------------------------------------------------------------

  async function bitmapOf(source) {
    const blob = typeof source === "string" ? await (await fetch(source)).blob() : source;
    try {
      return await createImageBitmap(blob, { imageOrientation: "from-image" });
    } catch {
      throw new Error("This file is no picture that the browser can read: take a JPEG, PNG or WebP.");
    }
  }

  async function take(source, photo) {
    const bitmap = await bitmapOf(source);
    const { facts } = await load();
    say("Computing");
    const context = cropped(bitmap, facts);
    const pixels = context.getImageData(0, 0, facts.crop[1], facts.crop[0]).data;
    await show(tensorOf(pixels, facts), context, null);
    shown.photo = photo || null;
    find("[data-read-again]").hidden = !photo;
  }

  let busy = Promise.resolve();
  function act(work) {
    busy = busy.then(async () => {
      root.setAttribute("aria-busy", "true");
      try {
        await work();
      } catch (error) {
        say(error.message, true);
      } finally {
        root.removeAttribute("aria-busy");
      }
    });
    return busy;
  }

  find("[data-load]").addEventListener("click", () => act(async () => {
    await load();
    say("The model is ready: choose a photo.");
  }));
  find("input[type=file]").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) act(() => take(file));
  });
  for (const button of root.querySelectorAll("[data-sample]")) {
    const photo = { crop: `${button.dataset.sample}-crop.png` };
    button.addEventListener("click", () => act(() => take(at(`playground/${button.dataset.file}`), photo)));
  }
  find("[data-nudge]").addEventListener("click", () => act(nudge));
  find("[data-read-again]").addEventListener("click", () => act(readAgain));
  root.hidden = false;
  say(why() || "Nothing is loaded yet.", Boolean(why()));

  // For the tests: the same computation on a tensor that they bring.
  window.chapter4Playground = { explain, idle: () => busy, shown: () => shown };
})();
