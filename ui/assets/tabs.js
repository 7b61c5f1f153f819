// The tab that is shown is in the address. `ui.app.open_asked` opens the one that an address names.
window.mreTabs = (() => {
  const FIRST = "edit";
  let current = FIRST;
  return {
    shown(name) {
      if (name === current) return;              // the first one is shown while the page is drawn, too
      current = name;
      const url = new URL(location);
      if (name === FIRST) url.searchParams.delete("tab");
      else url.searchParams.set("tab", name);
      history.replaceState(history.state, "", url);
    },
  };
})();
