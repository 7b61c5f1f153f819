// The tab that is shown is in the address, and an address that names a tab opens it.
window.mreTabs = (() => {
  const FIRST = "edit", NAMED = /^tab-(edit|study|research|compare|data)-button$/;
  document.addEventListener("click", (event) => {
    const name = event.target.closest?.("[role=tab]")?.id.match(NAMED)?.[1];
    if (!name) return;
    const url = new URL(location);
    if (name === FIRST) url.searchParams.delete("tab");
    else url.searchParams.set("tab", name);
    history.replaceState(history.state, "", url);
  });
  return {
    open(tries = 20) {                         // a tab that needs an account comes when that is known; one that it may not use never does
      const asked = new URLSearchParams(location.search);
      const name = asked.get("tab") || ([...asked.keys()].some((key) => key.startsWith("cmp_")) ? "compare" : FIRST);
      const id = `tab-${name}-button`, button = document.getElementById(id);
      if (button) button.click();
      else if (NAMED.test(id) && tries) setTimeout(() => window.mreTabs.open(tries - 1), 250);
    },
  };
})();
