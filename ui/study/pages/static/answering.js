// Going from screen to screen: submit, skip, back, the guide in between, and breaks.

import { buildGuide } from "./guide.js";
import { $, call, callSurely, element, keepTime, notice, onLanguage, problem, show, speak, t } from "./page.js";
import { changed, display, drafts, forget, grid, lackingNotice, layout, prepare } from "./screen.js";
import { state } from "./state.js";
import { SKIP_REASONS } from "./texts.js";

let returnTo = null;         // what had the focus before the guide or the break

buildSkip();
onLanguage(() => {
  for (const input of $("skip-reasons").querySelectorAll("input")) input.nextElementSibling.textContent = t(input.value);
  if (state.work && !$("done").hidden) finish();
});

export async function goOn(withGuide = false) {
  try {
    state.work = await callSurely("work");
  } catch (error) { return problem(error); }
  if (!state.work.current) return finish();
  prepare(state.work.current);
  if (withGuide && !state.work.progress.done && !state.work.current.scores) return show("guide");
  await display(state.work.current);
}

// The completion code and the way back to the recruiting service, once they are earned.
export function showCode() {
  const code = state.me && state.work ? state.work.completion_code : null;
  $("done-code").textContent = code || "";
  $("done-code-box").hidden = !code;
  const address = code && state.work.completion_url?.startsWith("https://") ? state.work.completion_url : "";
  if (address) $("done-return").href = address; else $("done-return").removeAttribute("href");
  $("done-return-box").hidden = !address;
}

function finish() {
  state.shown = null;
  const { work, study } = state;
  const { done, scored, total } = work.progress;
  const ended = work.ended && t("ended")[work.ended];
  const share = Math.round(1000 * study.rules.completion_share) / 10;
  $("done-title").textContent = t(ended ? "endedTitle" : "doneTitle");
  $("done-text").textContent = ended || (work.state === "paused" ? t("donePaused") : work.state === "closed" ? t("doneClosed")
    : !done ? t("doneNone") : work.completion_code || !share ? t("doneAll") : t("doneShort", { share, scored, total }));
  showCode();
  $("done-back").hidden = !done || Boolean(ended) || work.state === "closed";
  $("done-look").hidden = Boolean(ended);
  show("done");
  speak($("done-text").textContent);
}

export async function submit(skipReason = null) {
  if (state.busy || !state.shown) return;
  if (skipReason === null && grid.missing.length) return stillMissing(grid.missing);
  const wait = state.study.min_seconds - (performance.now() - state.shown.started) / 1000;
  if (skipReason === null && !state.shown.data.revision && wait > 0) return notice(t("tooEarly", { seconds: state.study.min_seconds }), "warn");
  state.busy = true;
  drafts.drop();
  $("submit").disabled = true;
  keepTime();
  const { data, key, active, earlier } = state.shown;
  try {
    state.work = await callSurely("submit", { screen: data.screen, key, revision: data.revision, scores: skipReason === null ? grid.scores : null,
      skip_reason: skipReason, comment: $("comment").value, active_ms: Math.round(active),
      viewport: `${innerWidth}x${innerHeight}@${devicePixelRatio.toFixed(2)}` });
  } catch (error) {
    state.busy = false;
    $("submit").disabled = false;
    if (!["not_yours", "already_answered"].includes(error.code)) { changed(); return notice(error.message, "warn"); }
    forget(data.screen);
    await goOn();
    return notice(error.message, "warn");
  }
  state.busy = false;
  $("submit").disabled = false;
  forget(data.screen);
  notice("");
  if (!earlier) state.sitting += 1;
  if (!state.work.current) return finish();
  await display(state.work.current);
  speak(`${t(skipReason ? "skipped" : "saved")} ${$("live").textContent}`);
  if (!earlier && state.study.break_every && state.sitting % state.study.break_every === 0) suggestBreak();
}

function stillMissing(missing) {
  if (layout.oneCard && grid.complete(grid.edit)) return grid.mark(missing[0]);          // the other edit's turn
  grid.lack(missing);
  lackingNotice();
  grid.mark(missing[0]);
}

export async function back() {
  if (state.busy) return;
  await drafts.flush();
  try {
    const before = state.shown && state.shown.earlier ? state.shown.data.screen : null;
    const { screen: found } = await call("earlier", { before });
    if (found) await display(found, true);
  } catch (error) { notice(error.message, "warn"); }
}

export async function forward() {
  await drafts.flush();
  await goOn();
}

function buildSkip() {
  $("skip-reasons").append(...SKIP_REASONS.map((reason) => {
    const input = element("input", { type: "radio", name: "skip", value: reason });
    input.addEventListener("change", () => { $("skip-go").disabled = false; state.shown.skipReason = reason; changed(); });
    return element("label", { className: "check" }, input, element("span"));
  }));
}

export function askSkip() {
  if (state.busy || !state.shown) return;
  for (const input of document.querySelectorAll("#skip-reasons input")) input.checked = input.value === state.shown.skipReason;
  $("skip-go").disabled = !state.shown.skipReason;
  $("skip-comment").value = $("comment").value;
  $("skip-dialog").returnValue = "cancel";
  $("skip-dialog").showModal();
}

export function skipAnswered() {
  const reason = state.shown?.skipReason;
  if ($("skip-dialog").returnValue === "skip" && reason) return submit(reason);
  if (state.shown && reason !== state.shown.data.skip_reason) { state.shown.skipReason = state.shown.data.revision ? state.shown.data.skip_reason : null; changed(); }
}

function aside(section) {
  returnTo = document.activeElement;
  show(section);
}

export function openGuide() {
  buildGuide();
  aside("guide");
}

// Back to the screen that was left for the guide or a break, with the focus where it was.
export function resume() {
  show("score");
  layout.arrange();
  if (returnTo?.isConnected && returnTo.offsetParent !== null && returnTo !== document.body && returnTo !== $("main")) returnTo.focus();
  else grid.mark(grid.row);
  returnTo = null;
}

function suggestBreak() {
  const button = (key, does) => {
    const made = element("button", { type: "button", className: "quiet", textContent: t(key) });
    made.addEventListener("click", does);
    return made;
  };
  const dismiss = () => { notice(""); grid.mark(grid.row); };
  notice(t("breakText", { count: state.sitting }), "break", button("breakGo", () => { dismiss(); takeBreak(); }), button("breakNo", dismiss));
}

export function takeBreak() {
  if (!state.shown || state.busy) return;
  drafts.flush();
  state.sitting = 0;
  aside("pause");
  $("pause-end").focus();
}

// After a break the screen may have gone to somebody else.
export async function endBreak() {
  if (!state.shown) return goOn();
  if (state.shown.earlier) return resume();
  const before = state.shown.data.screen;
  try { state.work = await callSurely("work"); } catch (error) { return problem(error); }
  notice("");
  if (state.work.current && state.work.current.screen === before) { prepare(state.work.upcoming); return resume(); }
  if (!state.work.current) return finish();
  await display(state.work.current);
}
