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
