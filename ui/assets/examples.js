// The results of the examples come once the model is ready, one after the other: what the visitor does goes first.
(() => {
  let waits = false;
  const next = () => {
    waits = false;
    const image = document.querySelector("#examples img[data-result]");
    if (!image || !document.querySelector("#status .dot.ready")) return;
    const address = image.dataset.result;
    image.removeAttribute("data-result");
    waits = true;
    image.onload = () => { image.classList.add("there"); setTimeout(next, 200); };
    image.onerror = () => { image.remove(); setTimeout(next, 200); };
    image.src = address;
  };
  new MutationObserver(() => { if (!waits) next(); }).observe(document.documentElement, { subtree: true, childList: true });
})();
