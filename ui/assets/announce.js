// News of the page for readers of the screen. What shows them is drawn anew each time, which readers miss; so they are said in one place that
// stays: results at once, progress every few seconds.
(() => {
  const NEWS = "#progress, #seen, #sweep-progress, #pair-progress, #judge-answer, #cmp-status, #data-count, #judge-said, #study-said";
  const PAUSE = 5000, SETTLE = 250, MOST = 200;
  const pending = new Map();
  let place = null, said = "", saidAt = -PAUSE;

  function say(area) {
    pending.delete(area);
    const running = area.querySelector("[role=progressbar]"), now = performance.now();
    const text = (running ? running.getAttribute("aria-label") : area.innerText).trim().replace(/\s+/g, " ").slice(0, MOST);
    if (!text || text === said || !area.offsetParent || (running && now - saidAt < PAUSE)) return;
    place ||= document.body.appendChild(Object.assign(document.createElement("p"), { id: "announcer", className: "visually-hidden", role: "status" }));
    [said, saidAt] = [text, now];
    place.textContent = text;
  }
  new MutationObserver((changes) => {
    for (const { target } of changes) {
      const area = (target instanceof Element ? target : target.parentElement)?.closest(NEWS);
      if (area && !pending.has(area)) pending.set(area, setTimeout(say, SETTLE, area));
    }
  }).observe(document.documentElement, { subtree: true, childList: true, characterData: true });
})();
