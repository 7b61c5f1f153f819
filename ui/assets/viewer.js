(() => {
  const of = (event) => event.target instanceof Element && event.target.closest(".mre-viewer");
  const views = new WeakMap();
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
  function zoomAt(root, pane, clientX, clientY, factor) {
    const v = view(root), box = pane.getBoundingClientRect(), px = clientX - box.left, py = clientY - box.top;
    const zoom = Math.min(16, Math.max(1, v.zoom * factor));
    v.x = px - (px - v.x) * zoom / v.zoom; v.y = py - (py - v.y) * zoom / v.zoom; v.zoom = zoom;
    place(root);
  }
  document.addEventListener("input", (event) => { const root = of(event); if (root && event.target.matches(".cut")) cut(root); });
  document.addEventListener("click", (event) => {
    const root = of(event), button = root && event.target.closest("button");
    if (!button) return;
    if (button.dataset.mode) {
      root.dataset.mode = button.dataset.mode;
      root.querySelectorAll("[data-mode].chip").forEach((b) => b.setAttribute("aria-pressed", String(b === button)));
      requestAnimationFrame(() => place(root));
    } else if ("reset" in button.dataset) { Object.assign(view(root), { zoom: 1, x: 0, y: 0 }); place(root); }
  });
  document.addEventListener("click", (event) => {          // on a phone the result is far below the button
    if (event.target.closest("#run") && window.innerWidth < 720) document.querySelector("#progress").scrollIntoView({ behavior: "smooth" });
  });
  const holds = (event, root) => root.dataset.mode === "flip" && (event.target.closest(".pane") || event.target.closest('[data-mode="flip"]'));
  document.addEventListener("pointerdown", (event) => {
    const root = of(event); if (!root) return;
    if (holds(event, root)) root.dataset.held = "";
    const pane = event.target.closest(".pane");
    if (pane && !event.target.matches(".cut")) { view(root).pointers.set(event.pointerId, event); view(root).root = root; }
  });
  document.addEventListener("pointermove", (event) => {
    const root = of(event), v = root && view(root), before = v && v.pointers.get(event.pointerId); if (!before) return;
    if (v.pointers.size === 1 && v.zoom > 1) { v.x += event.clientX - before.clientX; v.y += event.clientY - before.clientY; place(root); }
    if (v.pointers.size === 2) {
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
    const root = of(event); if (root && root.dataset.mode === "flip" && (event.key === " " || event.key === "Enter")) root.dataset.held = "";
  });
  document.addEventListener("keyup", (event) => { const root = of(event); if (root) delete root.dataset.held; });
  document.addEventListener("wheel", (event) => {
    const root = of(event), pane = root && event.target.closest(".pane");
    if (!pane || (event.deltaY > 0 && view(root).zoom === 1)) return;
    event.preventDefault();
    zoomAt(root, pane, event.clientX, event.clientY, Math.exp(-event.deltaY / 400));
  }, { passive: false });
  document.addEventListener("click", (event) => {      // on a phone the result is below the form: go there when a run begins
    if (window.innerWidth <= 640 && event.target instanceof Element && event.target.closest("#run"))
      setTimeout(() => document.querySelector("#status")?.scrollIntoView({ behavior: "smooth", block: "start" }), 250);
  });
  window.addEventListener("resize", () => document.querySelectorAll(".mre-viewer").forEach(place));
})();
