// A button that sends a file cannot be pressed, nor Enter in a field beside it, while the file is on its way: Gradio shows its name at once
// and would send the form without it. `.uploading` is what Gradio 6.31 shows meanwhile.
(() => {
  const held = new Set();
  const tabOf = (element) => {                // the outermost
    let tab = null;
    for (let at = element; at; at = at.parentElement) if (at.getAttribute("role") === "tabpanel") tab = at;
    return tab;
  };
  const busy = (element) => !!tabOf(element)?.querySelector(".uploading");
  const look = () => {
    for (const button of document.querySelectorAll("button.after-upload")) {
      if (busy(button)) { if (!button.disabled) { button.disabled = true; held.add(button); } }
      else if (held.delete(button)) requestAnimationFrame(() => requestAnimationFrame(() => { if (!busy(button)) button.disabled = false; else held.add(button); }));
    }
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.closest?.("#instruction") && busy(event.target)) event.stopPropagation();
  }, true);
  new MutationObserver(look).observe(document.documentElement, { subtree: true, childList: true });
})();
