// The tab that a visitor opens is in the address. `ui.app.open_asked` opens the one that an address names.
window.mreTabs = (() => {
  const FIRST = "edit";
  let touched = false;                           // before that, tabs are shown because the page is drawn
  for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, () => { touched = true; }, { capture: true, once: true });
  const write = (name) => {
    if (document.getElementById(`tab-${name}`)?.offsetParent === null) return;           // another was opened since
    const url = new URL(location);
    if (name === (url.searchParams.get("tab") || FIRST)) return;
    if (name === FIRST) url.searchParams.delete("tab");
    else url.searchParams.set("tab", name);
    history.replaceState(history.state, "", url);
  };
  return { shown(name) { if (touched) requestAnimationFrame(() => write(name)); } };
})();
