(() => {
  const of = (event) => event.target instanceof Element && event.target.closest(".mre-viewer");
  const views = new WeakMap();
  // A viewer is drawn anew with every edit; by its id it goes on with the mode, the divider and the zoom of the one before, and shows
  // that one's picture until its own has come.
  const kept = new Map();
  const shownIn = (root) => { const image = root.querySelector(".pane.one .after"); return image?.complete && image.naturalWidth ? image.src : kept.get(root.id)?.after; };
  let wanted = null;                           // the viewer that a click elsewhere asked to fill: it is brought into sight

  function setMode(root, mode) {
    root.dataset.mode = mode;
    root.querySelectorAll("[data-mode].chip").forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.mode === mode)));
  }
  function begin(root) {
    const before = kept.get(root.id);
    if (before) {
      setMode(root, before.mode);
      root.querySelector(".cut").value = before.cut;
      if (before.ratio === root.style.getPropertyValue("--ratio")) {
        Object.assign(view(root), { zoom: before.zoom, x: before.x, y: before.y });
        root.querySelectorAll(".after").forEach((image) => {
          if (!image.complete && before.after) image.style.background = `center / contain no-repeat url("${before.after}")`;
          image.addEventListener("load", () => { image.style.background = ""; place(root); }, { once: true });
        });
      }
    }
    place(root);
    if (wanted && root.closest(wanted)) {
      wanted = null;
      root.scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    }
  }
  new MutationObserver((changes) => {          // Gradio either puts a new one in, or gives the old one new attributes, without ours
    const roots = new Set();
    for (const { type, target, addedNodes } of changes) {
      if (type === "attributes") { if (target.matches(".mre-viewer")) roots.add(target); continue; }
      for (const node of addedNodes)
        if (node instanceof Element) for (const root of node.matches(".mre-viewer") ? [node] : node.querySelectorAll(".mre-viewer")) roots.add(root);
    }
    for (const root of roots) if (root.isConnected && !root.style.getPropertyValue("--zoom")) begin(root);
  }).observe(document.documentElement, { subtree: true, childList: true, attributes: true, attributeFilter: ["style"] });
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("#history .shot, #sweep-grid .shot, #history-compare")) wanted = "#look";
  }, true);

  function full(root) {                        // where the browser has no full screen for elements, the whole window
    if (document.fullscreenElement) document.exitFullscreen();
    else if (root.classList.contains("full")) root.classList.remove("full");
    else if (root.requestFullscreen) root.requestFullscreen().catch(() => root.classList.add("full"));
    else root.classList.add("full");
    requestAnimationFrame(() => { mark(root); place(root); });
  }
  const mark = (root) => root.querySelector("[data-full]")?.setAttribute(
    "aria-pressed", String(root.classList.contains("full") || document.fullscreenElement === root));
  document.addEventListener("fullscreenchange", () => document.querySelectorAll(".mre-viewer").forEach((root) => { mark(root); place(root); }));

  const view = (root) => views.get(root) || views.set(root, { zoom: 1, x: 0, y: 0, pointers: new Map() }).get(root);

  function place(root) {
    const v = view(root), pane = root.querySelector(".pane.one");
    const width = pane.clientWidth, height = pane.clientHeight;
    v.zoom = Math.min(16, Math.max(1, v.zoom));
    v.x = Math.min(0, Math.max(width * (1 - v.zoom), v.x));
    v.y = Math.min(0, Math.max(height * (1 - v.zoom), v.y));
    root.style.setProperty("--zoom", v.zoom);
    root.style.setProperty("--x", v.x + "px");
    root.style.setProperty("--y", v.y + "px");
    root.toggleAttribute("data-sharp", v.zoom > 4);
    root.toggleAttribute("data-zoomed", v.zoom > 1);
    if (root.id) kept.set(root.id, { mode: root.dataset.mode, zoom: v.zoom, x: v.x, y: v.y, cut: root.querySelector(".cut").value,
                                     ratio: root.style.getPropertyValue("--ratio"), after: shownIn(root) });
    cut(root);
    if (root.dataset.mode === "difference") { fetchDifference(root); fetchMeasured(root); }
    if (v.zoom > 1.2) root.querySelectorAll("img[data-whole]").forEach(fetchWhole);
  }
  function fetchDifference(root) {          // worked out when somebody looks
    const image = root.querySelector(".difference[data-later]");
    if (!image) return;
    const done = () => root.removeAttribute("data-working");
    image.addEventListener("load", done, { once: true });
    image.addEventListener("error", done, { once: true });
    root.setAttribute("data-working", "");
    image.src = image.dataset.later;
    image.removeAttribute("data-later");
  }
  function fetchMeasured(root) {            // what moved and drifted, in a sentence
    const line = root.querySelector(".measured[data-later]");
    if (!line) return;
    const address = line.dataset.later;
    line.removeAttribute("data-later");
    fetch(address).then((answer) => answer.ok ? answer.text() : Promise.reject()).then(
      (text) => { line.querySelector("span").textContent = text; }, () => { line.hidden = true; });
  }
  function fetchWhole(image) {              // a view has fewer pixels than a large picture; all of them are sent when somebody zooms in
    if (!image.src || !image.clientWidth || image.naturalWidth > image.clientWidth * devicePixelRatio * view(image.closest(".mre-viewer")).zoom) return;
    const whole = new Image();
    whole.onload = () => { image.src = whole.src; };
    whole.src = image.dataset.whole;
    image.removeAttribute("data-whole");
  }
  function cut(root) {          // the divider stays where it is on screen, whatever the zoom
    const v = view(root), share = Number(root.querySelector(".cut").value) / 100;
    const width = root.querySelector(".pane.one").clientWidth || 1;
    root.style.setProperty("--cut", 100 * share + "%");
    root.style.setProperty("--clip", 100 * (share * width - v.x) / v.zoom / width + "%");
  }
  const dividerAt = (root) => { const box = root.querySelector(".pane.one").getBoundingClientRect(); return box.left + box.width * root.querySelector(".cut").value / 100; };
  function cutAt(root, clientX) {
    const box = root.querySelector(".pane.one").getBoundingClientRect();
    root.querySelector(".cut").value = Math.min(100, Math.max(0, 100 * (clientX - box.left) / box.width));
    place(root);
  }
  function zoomAt(root, pane, clientX, clientY, factor) {
    const v = view(root), box = pane.getBoundingClientRect(), px = clientX - box.left, py = clientY - box.top;
    const zoom = Math.min(16, Math.max(1, v.zoom * factor));
    v.x = px - (px - v.x) * zoom / v.zoom; v.y = py - (py - v.y) * zoom / v.zoom; v.zoom = zoom;
    place(root);
  }
  document.addEventListener("input", (event) => { const root = of(event); if (root && event.target.matches(".cut")) place(root); });
  document.addEventListener("click", (event) => {
    const root = of(event), button = root && event.target.closest("button");
    if (!button) return;
    if (button.dataset.mode) {
      setMode(root, button.dataset.mode);
      requestAnimationFrame(() => place(root));
    } else if ("full" in button.dataset) full(root);
     else if ("reset" in button.dataset) { Object.assign(view(root), { zoom: 1, x: 0, y: 0 }); place(root); }
  });
  const holds = (event, root) => root.dataset.mode === "flip" && (event.target.closest(".pane") || event.target.closest('[data-mode="flip"]'));
  document.addEventListener("pointerdown", (event) => {
    const root = of(event); if (!root) return;
    if (holds(event, root)) root.dataset.held = "";
    const pane = event.target.closest(".pane"), v = view(root);
    if (!pane || event.button) return;
    v.pointers.set(event.pointerId, event);
    v.cuts = root.dataset.mode === "slide" && v.pointers.size === 1 && (v.zoom === 1 || Math.abs(event.clientX - dividerAt(root)) < 22);
    pane.setPointerCapture?.(event.pointerId);
    if (v.cuts) cutAt(root, event.clientX);
  });
  document.addEventListener("pointermove", (event) => {
    const root = of(event), v = root && view(root), before = v && v.pointers.get(event.pointerId); if (!before) return;
    if (v.pointers.size === 1 && v.cuts) cutAt(root, event.clientX);
    else if (v.pointers.size === 1 && v.zoom > 1) { v.x += event.clientX - before.clientX; v.y += event.clientY - before.clientY; place(root); }
    if (v.pointers.size === 2) {
      v.cuts = false;
      const other = [...v.pointers.values()].find((p) => p.pointerId !== event.pointerId);
      const span = (p) => Math.hypot(p.clientX - other.clientX, p.clientY - other.clientY) || 1;
      zoomAt(root, event.target.closest(".pane") || root.querySelector(".pane"), (event.clientX + other.clientX) / 2,
             (event.clientY + other.clientY) / 2, span(event) / span(before));
    }
    v.pointers.set(event.pointerId, event);
  });
  const release = (event) => document.querySelectorAll(".mre-viewer").forEach((root) => {
    delete root.dataset.held; view(root).pointers.delete(event.pointerId);
  });
  document.addEventListener("pointerup", release);
  document.addEventListener("pointercancel", release);
  document.addEventListener("keydown", (event) => {
    const root = of(event); if (!root) return;
    if (root.dataset.mode === "flip" && (event.key === " " || event.key === "Enter")) root.dataset.held = "";
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const pane = root.querySelector(".pane.one"), box = pane.getBoundingClientRect(), v = view(root);
    const middle = [box.left + box.width / 2, box.top + box.height / 2], step = box.width / 12;
    const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] }[event.key];
    if (event.key === "+" || event.key === "=") zoomAt(root, pane, ...middle, 1.5);
    else if (event.key === "-") zoomAt(root, pane, ...middle, 1 / 1.5);
    else if (event.key === "0") { Object.assign(v, { zoom: 1, x: 0, y: 0 }); place(root); }
    else if (event.key === "f" || event.key === "F") full(root);
    else if (event.key === "Escape" && root.classList.contains("full")) full(root);
    else if (moves && event.target === pane && v.zoom > 1) { v.x += moves[0]; v.y += moves[1]; place(root); }
    else if (moves && event.target === pane && moves[0] && root.dataset.mode === "slide") cutAt(root, dividerAt(root) - moves[0]);
    else return;
    event.preventDefault();
  });
  document.addEventListener("keyup", (event) => { const root = of(event); if (root) delete root.dataset.held; });
  document.addEventListener("wheel", (event) => {
    const root = of(event), pane = root && event.target.closest(".pane");
    if (!pane || (view(root).zoom === 1 && !event.ctrlKey && !event.metaKey)) return;          // the page scrolls
    event.preventDefault();
    zoomAt(root, pane, event.clientX, event.clientY, Math.exp(-event.deltaY / 400));
  }, { passive: false });
  document.addEventListener("click", (event) => {      // on a phone the result is below the form: go there when a run begins
    if (window.innerWidth < 720 && event.target instanceof Element && event.target.closest("#run"))
      setTimeout(() => document.querySelector("#status")?.scrollIntoView({ behavior: "smooth", block: "start" }), 250);
  });
  window.addEventListener("resize", () => document.querySelectorAll(".mre-viewer").forEach(place));
})();
