// Edit only here: strokes and rectangles painted over the photo. What is painted goes to the server as a PNG, white where the edit may
// change something, and stands in the field #mask, which goes with every run. A mask that the server sends (of a recipe, say) is shown.
window.mreRegion = (() => {
  const LONGEST = 1024, TINT = "#22a08f";
  const ops = [];                              // {kind: "brush" | "erase", size, points} | {kind: "box", box} | {kind: "base", image} | {kind: "invert"}
  let tool = null, current = null, size = null, file = null, ink = null, overlay = null, timer = 0, sending = 0;

  const TOOLS = 44;                            // pixels of what stands below the photo
  const $ = (selector) => document.querySelector(selector);
  const photo = () => { const image = $("#photo .image-frame img, #photo img"); return image?.naturalWidth ? image : null; };
  const canvasOf = (width, height) => Object.assign(document.createElement("canvas"), { width, height });

  function sized() {                           // pixels of the mask: the photo's shape
    const image = photo();
    if (!image) return null;
    const scale = Math.min(1, LONGEST / Math.max(image.naturalWidth, image.naturalHeight));
    return [Math.max(1, Math.round(image.naturalWidth * scale)), Math.max(1, Math.round(image.naturalHeight * scale))];
  }
  function paint(into, op) {
    const { width, height } = into.canvas;
    into.globalCompositeOperation = op.kind === "erase" ? "destination-out" : op.kind === "invert" ? "source-out" : "source-over";
    into.fillStyle = into.strokeStyle = "#fff";
    if (op.kind === "base") into.drawImage(op.image, 0, 0, width, height);
    else if (op.kind === "invert") into.fillRect(0, 0, width, height);
    else if (op.kind === "box") {
      const [left, top, right, bottom] = op.box;
      into.fillRect(Math.round(left * width), Math.round(top * height), Math.round(right * width) - Math.round(left * width),
                    Math.round(bottom * height) - Math.round(top * height));
    } else {
      into.lineWidth = op.size * Math.max(width, height); into.lineCap = into.lineJoin = "round";
      into.beginPath();
      op.points.forEach(([x, y], index) => into[index ? "lineTo" : "moveTo"](x * width, y * height));
      if (op.points.length === 1) into.lineTo(op.points[0][0] * width + 0.01, op.points[0][1] * height);
      into.stroke();
    }
  }
  function draw() {                            // all of it anew
    size = sized();
    if (!size) { overlay?.remove(); return; }
    $("#photo").style.setProperty("--whole", `${Math.round($("#photo").clientWidth * size[1] / size[0]) + TOOLS}px`);     // what the photo needs while it is painted on
    if (!ink || ink.canvas.width !== size[0] || ink.canvas.height !== size[1]) ink = canvasOf(...size).getContext("2d", { willReadFrequently: true });
    ink.globalCompositeOperation = "source-over";
    ink.clearRect(0, 0, ...size);
    for (const op of current ? [...ops, current] : ops) paint(ink, op);
    place();
    const screen = overlay.getContext("2d");
    screen.globalCompositeOperation = "copy";
    screen.drawImage(ink.canvas, 0, 0);
    screen.globalCompositeOperation = "source-in";
    screen.fillStyle = TINT;
    screen.fillRect(0, 0, ...size);
  }
  function place() {                           // over the photo, wherever it stands
    const image = photo(), block = $("#photo");
    if (!image || !block) { overlay?.remove(); return; }
    overlay ||= Object.assign(canvasOf(1, 1), { className: "region-overlay", id: "region-overlay" });
    overlay.setAttribute("aria-hidden", "true");
    if (overlay.parentElement !== block) block.append(overlay);
    if (size && (overlay.width !== size[0] || overlay.height !== size[1])) [overlay.width, overlay.height] = size;
    const frame = image.getBoundingClientRect(), outer = block.getBoundingClientRect();
    const scale = Math.min(frame.width / image.naturalWidth, frame.height / image.naturalHeight);
    const width = image.naturalWidth * scale, height = image.naturalHeight * scale;
    overlay.style.left = `${frame.left - outer.left - block.clientLeft + (frame.width - width) / 2}px`;
    overlay.style.top = `${frame.top - outer.top - block.clientTop + (frame.height - height) / 2}px`;
    overlay.style.width = `${width}px`;
    overlay.style.height = `${height}px`;
    overlay.toggleAttribute("data-active", tool !== null);
  }
  function share() {                           // of the picture that is marked
    if (!ink || !ops.length) return 0;
    const { data } = ink.getImageData(0, 0, ink.canvas.width, ink.canvas.height);
    let marked = 0;
    for (let at = 3; at < data.length; at += 4) if (data[at] > 127) marked += 1;
    return marked / (data.length / 4);
  }
  function say(state, percent) {
    const line = $(".region-tools [role=status]");
    if (line) line.textContent = line.dataset[state].replace("{percent}", percent);
  }
  function tell() {
    const marked = share();
    say(marked === 0 ? "none" : marked === 1 ? "all" : "some", Math.min(99, Math.max(1, Math.round(100 * marked))));
    return marked > 0 && marked < 1;
  }
  // ---------------------------------------------------------------------------------------------------------- to the server

  const mark = Object.assign(document.createElement("i"), { className: "uploading", hidden: true });     // holds Run, see uploads.js
  const hold = () => { if (!mark.isConnected) ($("#region-tools") || document.body).append(mark); };
  const passing = new Set();                   // files on their way into the field, which tells of each when it has it
  let newer = false;                           // the hand has changed something that is not sent yet
  const settle = () => { if (!newer) mark.remove(); };
  function hand(made) {                        // to the field; Run is free once it is there
    if (made) passing.add(made.path);
    $("#mask-take").click();
    if (made) setTimeout(settle, 3000);        // a field that has it already tells nothing
    else settle();
  }

  function changed() {
    draw();
    tell();
    hold();
    newer = true;
    clearTimeout(timer);
    timer = setTimeout(send, 250);
  }
  async function send() {
    const own = ++sending;
    try {
      let made = null;
      if (tell()) {
        const flat = canvasOf(...size), into = flat.getContext("2d");
        into.fillRect(0, 0, ...size);
        into.drawImage(ink.canvas, 0, 0);
        const body = new FormData();
        body.append("files", await new Promise((done) => flat.toBlob(done, "image/png")), "mask.png");
        const answer = await fetch(new URL("gradio_api/upload", document.baseURI), { method: "POST", body });
        if (!answer.ok) throw new Error(answer.statusText);
        const [path] = await answer.json();
        made = { path, url: new URL(`gradio_api/file=${path}`, document.baseURI).href, orig_name: "mask.png", meta: { _type: "gradio.FileData" } };
      }
      if (own !== sending) return;             // something newer is on its way
      file = made;
      newer = false;
      hand(made);
    } catch {
      if (own === sending) { say("failed"); newer = false; settle(); }
    }
  }
  function show(value) {                       // the field has another value: one that was sent from here, or the server's
    const path = value?.path ?? null;
    if (path === (file?.path ?? null)) { passing.clear(); settle(); return; }
    if (passing.delete(path)) return;          // one from here, after which another was sent
    file = value;
    passing.clear();
    clearTimeout(timer); sending += 1; newer = false; mark.remove();
    ops.length = 0;
    draw(); tell();
    if (!value) return;
    const image = new Image();
    image.onload = () => {
      if (file !== value) return;
      const flat = canvasOf(image.naturalWidth, image.naturalHeight), into = flat.getContext("2d");
      into.drawImage(image, 0, 0);
      const pixels = into.getImageData(0, 0, flat.width, flat.height);
      for (let at = 0; at < pixels.data.length; at += 4) pixels.data[at + 3] = pixels.data[at] > 127 ? 255 : 0;
      into.putImageData(pixels, 0, 0);
      ops.push({ kind: "base", image: flat });
      draw(); tell();
    };
    image.src = value.url;
  }
  // ---------------------------------------------------------------------------------------------------------- the visitor's hand

  function choose(next) {
    tool = tool === next ? null : next;
    document.querySelectorAll("[data-region-tool]").forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.regionTool === tool)));
    $("#photo")?.classList.toggle("painting", tool !== null);
    requestAnimationFrame(() => { draw(); if (tool !== null) $("#photo")?.scrollIntoView({ block: "nearest" }); });
  }
  function add(op) {
    if (!sized()) { say("noPhoto"); return; }
    if (op.kind === "invert" && !share()) return;
    ops.push(op);
    changed();
  }
  const HALVES = { left: [0, 0, 0.5, 1], right: [0.5, 0, 1, 1], upper: [0, 0, 1, 0.5], lower: [0, 0.5, 1, 1], middle: [0.25, 0.25, 0.75, 0.75] };
  const DO = {
    undo: () => { if (ops.pop()) changed(); },
    clear: () => { if (ops.length) { ops.length = 0; changed(); } },
    mark: () => {
      const [left, top, right, bottom] = ["left", "top", "right", "bottom"].map((side) =>
        Math.min(1, Math.max(0, Number($(`[data-region-side=${side}]`).value) / 100)));
      if (right > left && bottom > top) add({ kind: "box", box: [left, top, right, bottom] });
    },
    file: () => {
      const pick = Object.assign(document.createElement("input"), { type: "file", accept: "image/*", id: "region-file", hidden: true });
      $("#region-file")?.remove();
      pick.addEventListener("change", async () => {
        const chosen = pick.files[0];
        pick.remove();
        if (!chosen) return;
        hold();
        const body = new FormData();
        body.append("files", chosen, chosen.name);
        try {
          const answer = await fetch(new URL("gradio_api/upload", document.baseURI), { method: "POST", body });
          if (!answer.ok) throw new Error(answer.statusText);
          const [path] = await answer.json();
          const value = { path, url: new URL(`gradio_api/file=${path}`, document.baseURI).href, orig_name: chosen.name, meta: { _type: "gradio.FileData" } };
          show(value);
          hold();
          hand(value);
        } catch { say("failed"); mark.remove(); }
      });
      document.body.append(pick);
      pick.click();
    },
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.(".region-tools button");
    if (!button) return;
    const { regionTool, regionHalf, regionDo } = button.dataset;
    if (regionTool) choose(regionTool);
    else if (regionHalf === "invert") add({ kind: "invert" });
    else if (regionHalf) add({ kind: "box", box: HALVES[regionHalf] });
    else if (regionDo) DO[regionDo]();
  });
  const at = (event) => {
    const box = overlay.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((part) => Math.min(1, Math.max(0, part)));
  };
  document.addEventListener("pointerdown", (event) => {
    if (event.target !== overlay || tool === null || current || event.button) return;
    event.preventDefault();
    overlay.setPointerCapture(event.pointerId);
    const start = at(event);
    current = tool === "box" ? { kind: "box", box: [...start, ...start], start }
      : { kind: tool, size: Number($("[data-region-size]").value) / 100, points: [start] };
    current.pointer = event.pointerId;
    draw();
  });
  document.addEventListener("pointermove", (event) => {
    if (!current || event.pointerId !== current.pointer) return;
    for (const each of event.getCoalescedEvents?.() || [event]) {
      const [x, y] = at(each);
      if (current.kind === "box") {
        const [left, top] = current.start;
        current.box = [Math.min(left, x), Math.min(top, y), Math.max(left, x), Math.max(top, y)];
      } else current.points.push([x, y]);
    }
    draw();
  });
  const lift = (event) => {
    if (!current || event.pointerId !== current.pointer) return;
    const done = current;
    current = null;
    if (done.kind === "box" && (done.box[2] - done.box[0] < 0.004 || done.box[3] - done.box[1] < 0.004)) { draw(); return; }
    ops.push(done);
    changed();
  };
  document.addEventListener("pointerup", lift);
  document.addEventListener("pointercancel", lift);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && tool) choose(tool); });

  document.addEventListener("load", (event) => {         // another photo
    if (!event.target.closest?.("#photo") || event.target.tagName !== "IMG") return;
    draw();
    watch.disconnect();
    watch.observe(event.target);
  }, true);
  const watch = new ResizeObserver(() => { if (overlay?.isConnected) place(); });
  new MutationObserver(() => { if (overlay?.isConnected && !photo()) overlay.remove(); }).observe(document.documentElement, { subtree: true, childList: true });

  return { show, taken: () => file };
})();
