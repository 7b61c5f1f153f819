// The switches of language and theme at the top of the page.
(() => {
  const mark = () => {
    const { language, theme } = window.mrePreferences;
    for (const button of document.querySelectorAll("#preferences button")) {
      const on = String(button.dataset.language === language || button.dataset.theme === theme);
      if (button.getAttribute("aria-pressed") !== on) button.setAttribute("aria-pressed", on);
    }
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("#preferences button");
    if (!button) return;
    if (button.dataset.language) window.mrePreferences.speak(button.dataset.language);
    else window.mrePreferences.light(button.dataset.theme);
    mark();
  });
  new MutationObserver((changes) => {
    if (changes.some(({ addedNodes }) => [...addedNodes].some((node) => node instanceof Element && (node.id === "preferences" || node.querySelector?.("#preferences"))))) mark();
  }).observe(document.documentElement, { subtree: true, childList: true });
})();
