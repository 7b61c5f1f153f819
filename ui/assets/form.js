// A score between two steps, typed or from a recipe: Gradio fills the slider up to the score, but the browser puts the handle on a step.
// While the score is such a one the handle may stand anywhere; by mouse and keys it moves in steps again.
(() => {
  const SLIDER = "#rewards input[type=range]";
  const score = (range) => Number(range.closest(".block")?.querySelector("input[type=number]")?.value);
  const place = (range) => {
    const wanted = score(range);
    if (!Number.isFinite(wanted) || Number.isInteger(wanted)) { if (range.step !== "1") range.step = "1"; return; }
    if (range.step !== "any") range.step = "any";
    if (Number(range.value) !== wanted) range.value = wanted;
  };
  const steps = (event) => { if (event.target.matches?.(SLIDER)) event.target.step = "1"; };
  document.addEventListener("pointerdown", steps, true);
  document.addEventListener("keydown", (event) => { if (/^(Arrow|Page|Home|End)/.test(event.key)) steps(event); }, true);
  new MutationObserver((changes) => changes.forEach(({ target }) => { if (target.matches?.(SLIDER)) requestAnimationFrame(() => place(target)); }))
    .observe(document.documentElement, { subtree: true, attributes: true, attributeFilter: ["style"] });
})();
// A tool below the picture, opened from elsewhere on the page and brought into sight.
window.mreOpen = (id) => {
  const tab = document.querySelector(`#${id}-button`);
  tab?.click();
  tab?.scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
};
// Undo and Redo by the keyboard, but in fields that have their own.
document.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.altKey || !["z", "y"].includes(event.key.toLowerCase())) return;
  if (event.target.closest?.("input:not([type=range]):not([type=checkbox]), textarea, [contenteditable]") || !document.querySelector("#edit")?.offsetParent) return;
  const redo = event.key.toLowerCase() === "y" || event.shiftKey;
  document.querySelector(redo ? "#redo" : "#undo")?.click();
  event.preventDefault();
});
