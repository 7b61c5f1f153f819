// What this tab is known by, so that a reload or Back finds its session again: a random name in the tab's own storage, and never in an
// address. A duplicated tab brings a copy of the name; the tab that has it says so, and the copy takes another.
window.mreTab = (() => {
  const KEY = "mre_tab";
  const draw = () => btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(24)))).replaceAll("+", "-").replaceAll("/", "_");
  let name = null, answer;
  const said = new BroadcastChannel("mre-tab");
  const ready = new Promise((resolve) => { answer = resolve; });
  const settle = (own) => {
    name = own;
    try { sessionStorage.setItem(KEY, own); } catch { /* a browser that keeps nothing: the session ends with the page */ }
    answer(own);
  };
  let before = null;
  try { before = sessionStorage.getItem(KEY); } catch { /* as above */ }
  said.onmessage = ({ data }) => {
    if (data.asked && data.asked === name) said.postMessage({ taken: name });
    else if (data.taken && data.taken === before && name === null) settle(draw());
  };
  if (before) {
    said.postMessage({ asked: before });
    setTimeout(() => { if (name === null) settle(before); }, 150);
  } else settle(draw());
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });     // its session has ended meanwhile
  return { ready };
})();
