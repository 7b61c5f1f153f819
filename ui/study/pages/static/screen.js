// One screen: its pictures, its scores, and what is filled in and not sent yet.

import { Drafts } from "./drafts.js";
import { ScoreGrid } from "./grid.js";
import { Layout } from "./layout.js";
import { $, call, keepTime, notice, onLanguage, problem, show, speak, t } from "./page.js";
import { newKey, pictureAddress } from "./server.js";
import { state } from "./state.js";
import { PERSPECTIVES } from "./texts.js";
import { decodedLayers, Viewer } from "./viewer.js";

const NAMES = ["original", "image1", "image2"];
const VIEW = "study-view";                    // where the browser keeps the annotator's wishes: large pictures, kept zoom
const prepared = new Map();                   // screen token -> promise of its decoded pictures

export const viewer = new Viewer([...document.querySelectorAll(".frame")], {
  onZoom: (scale) => { $("zoom-level").textContent = `${Math.round(scale * 100)} %`; },
  onShow: nameFrame,
  onSwipe: (step) => { if (layout.one) look(Math.min(2, Math.max(0, state.place + step))); } });
export const grid = new ScoreGrid($("grid"), { mayScore: () => !state.busy, onScore: scored, onRow: rowMarked });
export const layout = new Layout($("score"), $("panel"), () => { if (state.shown) drawScreen(); });
export const drafts = new Drafts((body, keepalive) => call("draft", body, keepalive));

readView();
onLanguage(() => {
  $("help-button").setAttribute("aria-label", t("help"));
  for (const id of ["tools", "tools-button"]) $(id).setAttribute("aria-label", t("toolsGroup"));
  $("tabs").setAttribute("aria-label", t("pictureGroup"));
  $("flip").setAttribute("aria-label", t("flip"));
  $("zoom-in").setAttribute("aria-label", t("zoomIn"));
  $("zoom-out").setAttribute("aria-label", t("zoomOut"));
  $("zoom-one").setAttribute("aria-label", "1:1, " + t("zoomOne"));
  grid.rename(t);
  if (state.work) showProgress();
  if (!state.shown) return;
  viewer.release();
  drawScreen();
  if (grid.lacking.size) lackingNotice(); else screenNotice();
  layout.arrange();
});

// Fetch and decode a screen's pictures before they are needed, all three alike.
export function prepare(data) {
  if (!data || prepared.has(data.screen)) return;
  prepared.set(data.screen, (async () => {
    const addresses = await Promise.all(data.pictures.map((token) => pictureAddress(`/study/p/${state.studyId}/${token}`)));
    return { addresses, layers: await decodedLayers((picture) => addresses[picture], state.study.allow_flip) };
  })());
  prepared.get(data.screen).catch(() => prepared.delete(data.screen));
}

export function forget(screen) {
  prepared.get(screen)?.then(({ addresses }) => addresses.forEach((address) => URL.revokeObjectURL(address))).catch(() => {});
  prepared.delete(screen);
}

export async function display(data, earlier = false) {
  state.busy = true;
  if (earlier) forget(data.screen);
  prepare(data);
  let pictures;
  try { pictures = await prepared.get(data.screen); } catch { state.busy = false; return problem({ message: t("broken") }); }
  state.shown = { data, earlier, key: newKey(), skipReason: data.skip_reason, active: 0, since: null, started: performance.now() };
  $("instruction").textContent = data.instruction;
  $("comment").value = data.comment || "";
  openComment(false);
  layout.mayShowOne = state.study.allow_flip;
  $("forward").hidden = !earlier;
  grid.show(data.scores || [[null, null, null], [null, null, null]]);
  state.place = grid.edit;
  viewer.show(pictures.layers, data.width, data.height);
  screenNotice();
  showProgress();
  drawScreen();
  show("score");
  layout.arrange();
  grid.mark(grid.firstMissing());
  speak(t("pairNow", { number: Math.min(state.work.progress.done + 1, state.work.progress.total), total: state.work.progress.total, instruction: data.instruction }));
  state.busy = false;
  document.body.dataset.screen = String(Number(document.body.dataset.screen || 0) + 1);
  if (!earlier) prepare(state.work.upcoming);
}

// What a screen says as long as it is on display.
export function screenNotice() {
  const { earlier, data } = state.shown;
  if (!earlier) notice("");
  else if (data.unsent) notice(t("changingUnsent"));
  else notice(data.skip_reason ? t("changingSkipped", { reason: t(data.skip_reason) }) : t("changing"));
}

export function showProgress() {
  const { done, total, minutes_left: minutes } = state.work.progress;
  $("progress").max = Math.max(total, 1);
  $("progress").value = done;
  $("progress-text").textContent = t("progress", { done, total }) + (minutes === null ? "" : ` · ${t("minutes", { minutes: Math.max(1, Math.round(minutes)) })}`);
  $("progress").setAttribute("aria-label", $("progress-text").textContent);
  $("back").disabled = !done;
}

// Buttons and names that depend on what is shown how.
export function drawScreen() {
  $("score").dataset.place = state.place;
  $("large").setAttribute("aria-pressed", String(layout.large));
  $("zoom-keep").setAttribute("aria-pressed", String(viewer.keep));
  $("tools-button").setAttribute("aria-expanded", String($("score").dataset.tools === "open"));
  for (const [picture, tab] of [...document.querySelectorAll("#tabs .tab")].entries()) {
    const scored = picture > 0 && grid.complete(picture);
    tab.textContent = t("shortNames")[picture] + (scored ? " ✓" : "");
    tab.setAttribute("aria-label", t(NAMES[picture]) + (scored ? `, ${t("scored")}` : ""));
    tab.setAttribute("aria-pressed", String(picture === state.place));
  }
  $("comment-button").textContent = t("commentShort") + ($("comment").value.trim() ? " ●" : "");
  $("comment-button").setAttribute("aria-label", t("comment"));
  $("grid").dataset.edit = grid.edit;
  const other = 3 - grid.edit;
  const goesOn = layout.oneCard && grid.complete(grid.edit) && !grid.complete(other);
  $("submit").textContent = goesOn ? t(other === 2 ? "nextImage" : "previousImage") : t("submit");
}

// A frame shows a picture: say which, to eyes and to screen readers.
function nameFrame(frame, picture) {
  const figure = document.querySelectorAll(".pictures figure")[frame];
  figure.querySelector("figcaption").textContent = t(NAMES[picture]);
  figure.classList.toggle("exchanged", picture !== frame);
  for (const image of figure.querySelectorAll("img")) image.alt = t(NAMES[Number(image.dataset.picture)]);
}

// One picture at a time: bring this one to the front; the scores that can be given are those of the edit seen last.
export function look(picture, withRow = true) {
  state.place = picture;
  if (withRow && picture && grid.edit !== picture) grid.mark(picture * 3 - 3 + grid.row % 3, false);
  drawScreen();
  if (layout.one) speak(t(NAMES[picture]));
}

function rowMarked(row) {
  const edit = Math.floor(row / 3) + 1;
  if (state.place && edit !== state.place) state.place = edit;
  else if (!state.place && Number($("grid").dataset.edit) !== edit) state.place = edit;
  openComment(false);
  if (state.shown) drawScreen();
}

export function holding(kind, on) {
  if (!state.study || !state.study.allow_flip) return;
  viewer.release();
  if (on && kind === "original") viewer.original();
  else if (on) viewer.exchange();
}

export function flip() { if (state.study.allow_flip) look(state.place === 1 ? 2 : 1); }

export function setLarge(on) {
  if (!state.study.allow_flip) return;
  layout.large = on;
  layout.arrange();
  keepView();
}

// On a phone the zoom's buttons are folded away: fingers do their work.
export function openTools() {
  $("score").dataset.tools = $("score").dataset.tools === "open" ? "" : "open";
  layout.arrange();
}

export function setKeep(on) {
  viewer.keep = on;
  drawScreen();
  keepView();
}

function keepView() {
  try { localStorage.setItem(VIEW, JSON.stringify({ large: layout.large, keepZoom: viewer.keep })); } catch { /* a browser that keeps nothing */ }
}

function readView() {
  try {
    const kept = JSON.parse(localStorage.getItem(VIEW) || "{}");
    layout.large = kept.large === true;
    viewer.keep = kept.keepZoom === true;
  } catch { /* as above, or written by something else */ }
}

export function openComment(open) {
  $("comment-box").hidden = !open;
  $("comment-button").setAttribute("aria-expanded", String(open));
  if (open) $("comment").focus();
}

export function changed() {
  if (!state.shown) return;
  state.shown.key = newKey();
  drafts.note({ screen: state.shown.data.screen, revision: state.shown.data.revision, scores: grid.scores.map((row) => [...row]),
    comment: $("comment").value, skip_reason: state.shown.skipReason });
}

function scored() {
  changed();
  if ($("notice").classList.contains("lacking") && !grid.missing.length) screenNotice();
  drawScreen();
}

export function digit(score) {
  if (!grid.digit(score)) $("submit").focus({ preventScroll: true });
}

export function lackingNotice() {
  const names = [...grid.lacking].map((row) => `${t(row < 3 ? "image1" : "image2")} ${t(PERSPECTIVES[row % 3])}`);
  notice(t("missing") + names.join(", "), "warn lacking");
}
