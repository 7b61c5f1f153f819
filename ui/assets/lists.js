// A list that opened when the Tab key came to its field closes when the key goes on: Gradio 6.31 leaves it open over what lies below.
document.addEventListener("keydown", ({ key, target }) => {
  if (key !== "Tab" || !target.matches?.("input[role=combobox]")) return;
  setTimeout(() => {
    if (target !== document.activeElement && target.getAttribute("aria-expanded") === "true") target.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
  });
}, true);
