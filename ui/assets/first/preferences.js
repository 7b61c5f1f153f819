// Runs before Gradio's own scripts. A language or theme that was chosen at the top of the page answers where these ask for the browser's.
window.mrePreferences = (() => {
  const read = (name, known) => {
    const value = document.cookie.match(new RegExp(`(?:^|; )mre_${name}=(\\w+)`))?.[1];
    return known.includes(value) ? value : null;
  };
  const framed = window.top !== window && location.protocol === "https:";       // elsewhere a frame's cookies would not come back
  const write = (name, value) => {
    document.cookie = `mre_${name}=${value}; path=/; max-age=${value ? 31536000 : 0}` +
      (location.protocol === "https:" ? "; secure" : "") + (framed ? "; samesite=none; partitioned" : "; samesite=lax");
  };
  const preferred = () => [...navigator.languages].map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => ["en", "zh"].includes(tag)) || "en";

  const chosen = read("language", ["en", "zh"]), language = chosen || preferred();
  if (chosen) {
    const tag = { en: "en", zh: "zh-CN" }[chosen];         // Gradio's own texts know no plain zh
    Object.defineProperty(navigator, "language", { get: () => tag });
    Object.defineProperty(navigator, "languages", { get: () => [tag] });
  }
  document.documentElement.lang = language;

  const DARK = /^\(\s*prefers-color-scheme\s*:\s*dark\s*\)$/, media = window.matchMedia.bind(window), system = media("(prefers-color-scheme: dark)");
  let theme = read("theme", ["light", "dark"]) || "system";
  const asked = Object.assign(new EventTarget(), { media: "(prefers-color-scheme: dark)", onchange: null });
  Object.defineProperty(asked, "matches", { get: () => theme === "system" ? system.matches : theme === "dark" });
  const follow = () => {
    const now = asked.matches ? "dark" : "light";
    document.documentElement.style.colorScheme = now;
    for (const frame of document.querySelectorAll("iframe")) {          // the study's pages, of the same site
      const page = frame.contentDocument?.documentElement;
      if (page) page.dataset.theme = now;
    }
  };
  const changed = () => { follow(); asked.dispatchEvent(new Event("change")); };
  system.addEventListener("change", changed);
  window.matchMedia = (query) => DARK.test(query.trim()) ? asked : media(query);
  follow();

  // What was typed last is on its way to the server yet, which brings it back after the page has been loaded anew.
  const QUIET_MS = 150, PATIENCE_MS = 3000, fetched = window.fetch.bind(window);
  let calls = 0, lastCall = 0;
  window.fetch = (...asked) => {
    const ended = () => { calls -= 1; lastCall = performance.now(); };
    const answer = fetched(...asked);
    calls += 1;
    answer.then(ended, ended);
    return answer;
  };
  const reload = (since) => {
    const now = performance.now();
    if (now - since > PATIENCE_MS || (!calls && now - Math.max(since, lastCall) > QUIET_MS)) location.reload();
    else setTimeout(reload, 20, since);
  };

  return {
    language, get theme() { return theme; },
    speak(wanted) { write("language", wanted); if (wanted !== language) reload(performance.now()); },
    light(wanted) { theme = wanted; write("theme", wanted === "system" ? "" : wanted); changed(); },
  };
})();
