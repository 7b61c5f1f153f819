// The annotator's visit: what buttons, keys and the menu do.

import { askSkip, back, endBreak, forward, goOn, openGuide, resume, showCode, skipAnswered, submit, takeBreak } from "./answering.js";
import { begin, enter } from "./arrival.js";
import { $, call, keepTime, notice, show, speak, t, translate } from "./page.js";
import { changed, digit, display, drafts, drawScreen, flip, grid, holding, look, openComment, openTools, setKeep, setLarge, layout, viewer } from "./screen.js";
import { state } from "./state.js";

function wire() {
  for (const [picture, tab] of [...document.querySelectorAll("#tabs .tab")].entries()) tab.addEventListener("click", () => look(picture));
  $("consent-check").addEventListener("change", (event) => { $("consent-go").disabled = !event.target.checked; });
  $("consent-go").addEventListener("click", () => enter({ consent: true }));
  for (const [form, input] of [["code-form", "code-input"], ["code-form-2", "code-input-2"]]) {
    $(form).addEventListener("submit", (event) => { event.preventDefault(); enter({ code: $(input).value }); });
  }
  const clicks = {
    "guide-go": () => (state.shown ? resume() : state.work && state.work.current ? display(state.work.current) : goOn()), "help-button": openGuide, submit: () => submit(), back,
    "done-back": back, "done-look": () => goOn(), "done-copy": copyCode, forward, skip: askSkip, "problem-again": () => location.reload(),
    "pause-end": endBreak, "zoom-in": () => viewer.zoomBy(1.5), "zoom-out": () => viewer.zoomBy(1 / 1.5), "zoom-fit": () => viewer.fit(),
    "zoom-one": () => viewer.oneToOne(), "zoom-keep": () => setKeep(!viewer.keep), large: () => setLarge(!layout.large),
    flip, "tools-button": openTools, "comment-button": () => openComment($("comment-box").hidden) };
  for (const [id, does] of Object.entries(clicks)) $(id).addEventListener("click", does);
  $("grid").addEventListener("submit", (event) => event.preventDefault());
  $("skip-dialog").addEventListener("close", skipAnswered);
  $("comment").addEventListener("input", () => { changed(); drawScreen(); });
  $("skip-comment").addEventListener("input", () => { $("comment").value = $("skip-comment").value; changed(); drawScreen(); });
  wireHolds();
  wireMenu();
  document.addEventListener("visibilitychange", () => { keepTime(); if (document.hidden) drafts.flush(); });
  document.addEventListener("keydown", onKey);
  document.addEventListener("keyup", (event) => { if (["o", "f"].includes(event.key.toLowerCase())) viewer.release(); });
  addEventListener("blur", () => viewer.release());
}

// Buttons that show another picture as long as they are held, by mouse, finger or Space.
function wireHolds() {
  let held = null;
  for (const [id, kind] of [["hold-original", "original"], ["hold-flip", "other"]]) {
    const button = $(id);
    const hold = () => { held = button; holding(kind, true); };
    const release = () => { if (held === button) { held = null; viewer.release(); } };      // not when the focus leaves it for the other
    button.addEventListener("pointerdown", (event) => { button.setPointerCapture(event.pointerId); hold(); });
    for (const end of ["pointerup", "pointercancel", "blur"]) button.addEventListener(end, release);
    button.addEventListener("keydown", (event) => { if (event.key === " ") { event.preventDefault(); hold(); } });
    button.addEventListener("keyup", (event) => { if (event.key === " ") release(); });
    button.addEventListener("contextmenu", (event) => event.preventDefault());
  }
}

async function copyCode() {
  try { await navigator.clipboard.writeText($("done-code").textContent); speak(t("copied")); } catch { getSelection().selectAllChildren($("done-code")); }
}

function wireMenu() {
  $("menu-button").addEventListener("click", () => {
    $("menu-code-out").textContent = "";
    $("menu-pause").hidden = $("score").hidden;
    $("menu-dialog").showModal();
  });
  $("menu-code").addEventListener("click", async () => {
    try { $("menu-code-out").textContent = `${t("codeShown")} ${(await call("code")).code}`; } catch (error) { notice(error.message, "warn"); }
  });
  $("menu-pause").addEventListener("click", () => { $("menu-dialog").close(); takeBreak(); });
  $("menu-leave").addEventListener("click", async () => {
    $("menu-dialog").close();
    drafts.drop();
    try { await call("leave"); state.shown = null; problemless(t("left")); } catch (error) { notice(error.message, "warn"); }
  });
  $("menu-withdraw").addEventListener("click", () => {
    $("menu-dialog").close();
    $("withdraw-text").textContent = t("withdrawSure", { done: state.work ? state.work.progress.done : 0 });
    $("withdraw-check").checked = false;
    $("withdraw-yes").disabled = true;
    $("withdraw-dialog").showModal();
  });
  $("withdraw-check").addEventListener("change", (event) => { $("withdraw-yes").disabled = !event.target.checked; });
  $("withdraw-yes").addEventListener("click", async () => {
    $("withdraw-dialog").close();
    drafts.drop();
    try { await call("withdraw"); state.shown = null; state.me = null; problemless(t("withdrawn")); } catch (error) { notice(error.message, "warn"); }
  });
}

// The last page of those who stop: a sentence, and the code where it is earned already.
function problemless(text) {
  notice("");
  $("done-text").textContent = text;
  $("done-title").textContent = t("doneTitle");
  showCode();
  $("done-back").hidden = true;
  $("done-look").hidden = !state.me;
  show("done");
}

function onKey(event) {
  if (document.querySelector("dialog[open]") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (!$("guide").hidden && state.shown && ["Escape", "?"].includes(event.key)) { event.preventDefault(); return resume(); }
  if ($("score").hidden) return;
  if (event.target.matches("textarea, input:not([type=radio])")) {
    if (event.key === "Escape") { openComment(false); grid.mark(grid.firstMissing()); }
    return;
  }
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const pan = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[key];
  const does = {
    Enter: event.target.matches("button:not(#submit), summary, a") ? null : () => submit(), "?": openGuide, b: back, s: askSkip, r: () => viewer.fit(),
    x: () => viewer.oneToOne(), "+": () => viewer.zoomBy(1.5), "=": () => viewer.zoomBy(1.5), "-": () => viewer.zoomBy(1 / 1.5),
    o: () => holding("original", true), f: () => (layout.one ? flip() : holding("other", true)), z: () => setKeep(!viewer.keep),
    l: () => setLarge(!layout.large), c: () => openComment(true) }[key];
  if (/^[0-5]$/.test(key)) { event.preventDefault(); if (!event.repeat && state.shown && !state.busy) digit(Number(key)); }
  else if (pan && event.shiftKey) { event.preventDefault(); viewer.panBy(...pan); }
  else if (does) { event.preventDefault(); if (!event.repeat || "+=-".includes(key)) does(); }
}

wire();
translate();
begin();
