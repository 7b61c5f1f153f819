// The annotator's visit: consent, instructions, screens, and what to do when the network or the server is away.

import { PERSPECTIVES, SERVER_SAYS, SKIP_REASONS, TEXTS } from "./texts.js";
import { Viewer } from "./viewer.js";

const $ = (id) => document.getElementById(id);
const parameters = new URLSearchParams(location.search);
const SECTIONS = ["loading", "list", "consent", "guide", "score", "done", "problem"];
const DRAFT_MS = 250;
const RECRUITING_IDS = ["PROLIFIC_PID", "SESSION_ID", "STUDY_ID", "workerId", "assignmentId", "hitId", "participantId", "projectId", "participant"];
const RETRY_MS = [1000, 2000, 4000, 8000];

let studyId = (location.pathname.match(/^\/study\/s\/([^/]+)/) || [])[1] || null;
let language = ["zh", "en"].find((known) => (parameters.get("lang") || navigator.language || "").toLowerCase().startsWith(known)) || "en";
let study = null;            // what the server tells about the study
let me = null;
let work = null;             // last answer of the server: current and upcoming screen, progress
let shown = null;            // the screen on display: {data, images, scores, key, since, active}
let prepared = new Map();    // screen token -> promise of its decoded pictures
let busy = false;
let viewer = null;

// ------------------------------------------------------------------------------------------------------------- texts

function t(key, values = {}) {
  const text = TEXTS[language][key] ?? TEXTS.en[key];
  return typeof text === "string" ? text.replace(/\{(\w+)\}/g, (_, name) => values[name]) : text;
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function paragraphs(box, text) {
  box.replaceChildren(...text.split(/\n\s*\n/).filter(Boolean).map((part) => element("p", { textContent: part, dir: "auto" })));
}

function speak(text) { $("live").textContent = text; }

function notice(text, kind = "") {
  $("notice").textContent = text || "";
  $("notice").className = `notice ${kind}`;
  $("notice").hidden = !text;
}

function translate() {
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = t(node.dataset.text);
  const languages = study ? study.languages : Object.keys(TEXTS);
  for (const box of document.querySelectorAll(".languages")) {
    box.replaceChildren(...(languages.length < 2 ? [] : languages).map((code) => {
      const button = element("button", { type: "button", className: "quiet", textContent: TEXTS[code].language, lang: code });
      button.setAttribute("aria-pressed", String(code === language));
      button.addEventListener("click", () => choose(code));
      return button;
    }));
  }
  $("title").textContent = document.title = study ? study.title : t("siteTitle");
  for (const button of document.querySelectorAll(".flip")) button.hidden = Boolean(study && !study.allow_flip);
  $("zoom").setAttribute("aria-label", t("zoomGroup"));
  $("zoom-in").setAttribute("aria-label", t("zoomIn"));
  $("zoom-out").setAttribute("aria-label", t("zoomOut"));
  $("zoom-one").setAttribute("aria-label", "1:1, " + t("zoomOne"));
  paragraphs($("consent-text"), (study && study.consent) || t("consentText"));
  paragraphs($("consent-rules"), ruleText());
  buildGuide();
  buildGrid();
  buildSkip();
  if (me) $("menu-label").textContent = t("youAre", { label: me.label });
  if (shown) { fillGrid(); label(shown.images); }
  if (work) showProgress();
  if (work && !$("done").hidden) finish();
}

async function choose(code) {
  language = code;
  translate();
  if (me) await call("language", { language }).catch(() => {});
}

// ------------------------------------------------------------------------------------------------------------ server

class Refused extends Error {
  constructor(code, message, status) { super(message); this.code = code; this.status = status; }
}

// What the server said, in the annotator's language where it is one of its fixed sentences.
function said(message) { return SERVER_SAYS[language]?.[message] ?? message; }

async function call(action, body = {}) {
  let reply;
  try {
    reply = await fetch(`/study/api/${action}`, { method: "POST", headers: { "Content-Type": "application/json", "X-Study": "1" },
      body: JSON.stringify({ study: studyId, ...body }) });
  } catch { throw new Refused("offline", t("offline"), 0); }
  let data = null;
  try { data = await reply.json(); } catch { /* a proxy's page, or a cut reply */ }
  if (!reply.ok || data === null) throw new Refused(data?.code || "busy", data?.error ? said(data.error) : t("offline"), data ? reply.status : 503);
  return data;
}

// Call until the server has an answer: a broken line, a restart or a full disk costs time, never scores.
async function callSurely(action, body) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      const data = await call(action, body);
      if (attempt) notice("");
      return data;
    } catch (error) {
      if (error.status !== 0 && error.status < 500) throw error;
      notice(t("retrying", { reason: error.message + " " }), "warn");
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]));
    }
  }
}

function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// ------------------------------------------------------------------------------------------------------------- pages

function show(section, heading = true) {
  for (const name of SECTIONS) $(name).hidden = name !== section;
  $("help-button").hidden = section !== "score";
  $("menu-button").hidden = !me || ["consent", "list", "problem"].includes(section);
  $("progress-box").hidden = section !== "score";
  document.body.classList.toggle("visiting", !$("menu-button").hidden);
  if (heading) { $("main").focus({ preventScroll: true }); scrollTo(0, 0); }
}

function problem(error) {
  $("problem-text").textContent = error.message;
  show("problem");
}

async function begin() {
  show("loading");
  const ids = Object.fromEntries([...parameters].filter(([name]) => RECRUITING_IDS.includes(name)));
  begin.arrival = { ids, invitation: parameters.get("invitation") };
  let data;
  try { data = await call("hello", begin.arrival); } catch (error) { translate(); return problem(error); }
  if (data.studies) return listStudies(data.studies);
  await arrived(data);
}

async function arrived(data) {
  study = data.study;
  studyId = study.id;
  me = data.me;
  if (me) language = study.languages.includes(me.language) ? me.language : study.languages[0];
  else if (!study.languages.includes(language)) language = study.languages[0];
  translate();
  if (!study.allow_phone && Math.min(screen.width, screen.height) < 600) return problem({ message: t("noPhone") });
  if (!me) {
    if (data.state !== "running") return problem({ message: t(data.state === "paused" ? "donePaused" : "doneClosed") });
    return show("consent");
  }
  await goOn(true);
}

function listStudies(studies) {
  translate();
  $("list-empty").hidden = studies.length > 0;
  $("list-items").replaceChildren(...studies.map((entry) => element("li", {}, element("a", {
    href: `/study/s/${encodeURIComponent(entry.study)}${location.search}`, textContent: entry.title, className: "button", dir: "auto" }))));
  show("list");
}

async function enter(body) {
  notice("");
  try {
    const data = await call("enter", { language, ...begin.arrival, ...body });
    if (!location.pathname.endsWith(data.study.id)) history.replaceState(null, "", `/study/s/${data.study.id}${location.search}`);
    study = data.study; studyId = study.id; me = data.me;
    translate();
    if (body.code) return await goOn(true);
    work = await callSurely("work");
    prepare(work.current);
    show("guide");
  } catch (error) { notice(error.message, "warn"); }
}

function buildGuide() {
  paragraphs($("guide-text"), t("guideText"));
  paragraphs($("guide-own"), (study && study.instructions) || "");
  paragraphs($("guide-rules"), ruleText());
  const table = $("anchors");
  const head = element("tr", {}, element("td"));
  for (const name of PERSPECTIVES) head.append(element("th", { scope: "col", textContent: t(name) }));
  table.tHead.replaceChildren(head);
  table.tBodies[0].replaceChildren(...[5, 4, 3, 2, 1, 0].map((score) => {
    const row = element("tr", {}, element("th", { scope: "row", textContent: String(score) }));
    for (const name of PERSPECTIVES) row.append(element("td", { textContent: t("anchors")[name][score] }));
    return row;
  }));
  $("examples").replaceChildren(example("original", t("original"), null),
    ...t("examples").map(([why, scores], number) => example(`example${number + 1}`, why, scores)));
  $("keys").replaceChildren(...t("keys").flatMap(([keys, what]) => [element("dt", { textContent: keys }), element("dd", { textContent: what })]));
  $("guide-go").textContent = t(shown ? "guideResume" : "guideGo");
}

// What the study says of visits that end early, of the completion code, and of a recruiting service's id.
function ruleText() {
  const rules = study?.rules;
  if (!rules) return "";
  const percent = (share) => Math.round(1000 * share) / 10;
  const ends = [
    rules.max_skip_share < 1 && t("ruleSkips", { after: rules.rules_after, share: percent(rules.max_skip_share) }),
    rules.max_failed_checks && t("ruleChecks", { count: rules.max_failed_checks }),
    rules.min_median_seconds && t("rulePace", { after: rules.rules_after, seconds: rules.min_median_seconds })].filter(Boolean);
  return [ends.length && t("ruleEnds", { rules: ends.join(t("ruleOr")) }),
    rules.completion_share && t("ruleCode", { share: percent(rules.completion_share) }),
    rules.keep_recruiting_id && t("ruleId")].filter(Boolean).join("\n\n");
}

function example(file, why, scores) {
  const caption = element("figcaption", { textContent: why });
  if (scores) caption.append(element("b", { textContent: PERSPECTIVES.map((name, place) => `${t(name)} ${scores[place]}`).join("\n") }));
  return element("figure", {}, element("img", { src: `/study/static/${file}.svg`, alt: "", width: 160, height: 120 }), caption);
}

// ----------------------------------------------------------------------------------------------------------- screens

async function goOn(withGuide = false) {
  try {
    work = await callSurely("work");
  } catch (error) { return problem(error); }
  if (!work.current) return finish();
  prepare(work.current);
  if (withGuide && !work.progress.done && !work.current.scores) return show("guide");
  await display(work.current);
}

// Fetch and decode a screen's pictures before they are needed.
function prepare(data) {
  if (!data || prepared.has(data.screen)) return;
  prepared.set(data.screen, Promise.all(data.pictures.map(async (token) => {
    for (let attempt = 0; ; attempt += 1) {
      const image = new Image();
      image.src = `/study/p/${studyId}/${token}`;
      try { await image.decode(); return image; } catch (error) {
        if (attempt === 3) throw error;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS[attempt]));
      }
    }
  })));
  prepared.get(data.screen).catch(() => prepared.delete(data.screen));
}

function label(images) {
  images.forEach((image, place) => { image.alt = t(["original", "image1", "image2"][place]); image.draggable = false; });
}

async function display(data, earlier = false) {
  busy = true;
  if (earlier) prepared.delete(data.screen);
  prepare(data);
  let images;
  try { images = await prepared.get(data.screen); } catch { busy = false; return problem({ message: t("broken") }); }
  shown = { data, images, scores: data.scores || [[null, null, null], [null, null, null]], key: newKey(), active: 0, since: performance.now(),
    started: performance.now(), earlier };
  label(images);
  $("instruction").textContent = data.instruction;
  viewer.show(images, data.width, data.height);
  $("comment").value = data.comment || "";
  $("comment-box").open = Boolean(data.comment);
  $("forward").hidden = !earlier;
  notice(earlier ? t("changing") : "");
  fillGrid();
  showProgress();
  show("score");
  markRow(firstMissing());
  speak(t("pairNow", { number: Math.min(work.progress.done + 1, work.progress.total), total: work.progress.total }));
  busy = false;
  document.body.dataset.screen = String(Number(document.body.dataset.screen || 0) + 1);
  if (!earlier) prepare(work.upcoming);
}

function showProgress() {
  const { done, total, minutes_left: minutes } = work.progress;
  $("progress").max = Math.max(total, 1);
  $("progress").value = done;
  $("progress-text").textContent = t("progress", { done, total }) + (minutes === null ? "" : ` · ${t("minutes", { minutes: Math.max(1, Math.round(minutes)) })}`);
  $("progress").setAttribute("aria-label", $("progress-text").textContent);
  $("back").disabled = !done;
}

// The completion code and the way back to the recruiting service, once they are earned.
function showCode() {
  const code = me && work ? work.completion_code : null;
  $("done-code").textContent = code || "";
  $("done-code-box").hidden = !code;
  const address = code && work.completion_url?.startsWith("https://") ? work.completion_url : "";
  if (address) $("done-return").href = address; else $("done-return").removeAttribute("href");
  $("done-return-box").hidden = !address;
}

function finish() {
  shown = null;
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

// -------------------------------------------------------------------------------------------------------- score grid

const rows = () => [...document.querySelectorAll("#grid fieldset")];

function buildGrid() {
  const images = [0, 1].map((picture) => {
    const box = element("div", { className: "card" }, element("h2", { textContent: t(picture ? "image2" : "image1") }));
    for (const [place, name] of PERSPECTIVES.entries()) {
      const legend = element("legend", {}, element("span", { className: "hidden-text", textContent: `${t(picture ? "image2" : "image1")}: ` }),
        element("b", { textContent: t(name) }), element("span", { className: "hint", textContent: " " + t(`${name}Hint`) }));
      const choices = element("div", { className: "choices" });
      for (let score = 0; score <= 5; score += 1) {
        const id = `s${picture}${place}${score}`;
        const input = element("input", { type: "radio", name: `s${picture}${place}`, id, value: String(score) });
        input.setAttribute("aria-label", `${score}: ${t("anchors")[name][score]}`);
        choices.append(input, element("label", { htmlFor: id, textContent: String(score), title: t("anchors")[name][score] }));
      }
      box.append(element("fieldset", {}, legend, choices));
    }
    return box;
  });
  $("grid").replaceChildren(...images);
  for (const [number, row] of rows().entries()) {
    row.addEventListener("change", (event) => setScore(number, Number(event.target.value)));
    row.addEventListener("focusin", () => markRow(number, false));
  }
}

function fillGrid() {
  rows().forEach((row, number) => {
    const score = shown.scores[Math.floor(number / 3)][number % 3];
    for (const input of row.querySelectorAll("input")) input.checked = score !== null && Number(input.value) === score;
  });
  $("submit").disabled = false;
}

function setScore(number, score) {
  shown.scores[Math.floor(number / 3)][number % 3] = score;
  shown.key = newKey();
  rows()[number].querySelectorAll("input")[score].checked = true;
  rows()[number].classList.remove("lacking");
  if ($("notice").classList.contains("warn") && shown.scores.flat().every((given) => given !== null)) notice(shown.earlier ? t("changing") : "");
  clearTimeout(setScore.timer);
  const { data, scores, earlier } = shown;
  if (!earlier) setScore.timer = setTimeout(() => call("draft", { screen: data.screen, scores }).catch(() => {}), DRAFT_MS);
}

function firstMissing() {
  const number = rows().findIndex((_, place) => shown.scores[Math.floor(place / 3)][place % 3] === null);
  return number < 0 ? 0 : number;
}

function markRow(number, focus = true) {
  for (const [place, row] of rows().entries()) row.classList.toggle("marked", place === number);
  if (focus) {
    const row = rows()[number];
    (row.querySelector("input:checked") || row.querySelector("input")).focus({ preventScroll: true });
  }
}

function digit(score) {
  const number = rows().findIndex((row) => row.classList.contains("marked"));
  setScore(number, score);
  if (number < 5) markRow(number + 1); else $("submit").focus({ preventScroll: true });
}

// ----------------------------------------------------------------------------------------------------------- sending

function activeTime() {
  return Math.round(shown.active + (document.hidden ? 0 : performance.now() - shown.since));
}

async function submit(skipReason = null) {
  if (busy || !shown) return;
  const missing = rows().map((_, place) => place).filter((place) => shown.scores[Math.floor(place / 3)][place % 3] === null);
  if (skipReason === null && missing.length) {
    rows().forEach((row, place) => row.classList.toggle("lacking", missing.includes(place)));
    notice(t("missing") + missing.map((place) => `${t(place < 3 ? "image1" : "image2")} ${t(PERSPECTIVES[place % 3])}`).join(", "), "warn");
    return markRow(missing[0]);
  }
  const wait = study.min_seconds - (performance.now() - shown.started) / 1000;
  if (skipReason === null && !shown.data.revision && wait > 0) return notice(t("tooEarly", { seconds: study.min_seconds }), "warn");
  busy = true;
  clearTimeout(setScore.timer);
  $("submit").disabled = true;
  const { data } = shown;
  try {
    work = await callSurely("submit", { screen: data.screen, key: shown.key, revision: data.revision, scores: skipReason === null ? shown.scores : null,
      skip_reason: skipReason, comment: $("comment").value, active_ms: activeTime(), viewport: `${innerWidth}x${innerHeight}@${devicePixelRatio.toFixed(2)}` });
    prepared.delete(data.screen);
    notice("");
    speak(t(skipReason ? "skipped" : "saved"));
  } catch (error) {
    busy = false;
    $("submit").disabled = false;
    if (!["not_yours", "already_answered"].includes(error.code)) return notice(error.message, "warn");
    prepared.delete(data.screen);
    await goOn();
    return notice(t(error.code), "warn");
  }
  busy = false;
  if (!work.current) return finish();
  await display(work.current);
}

async function back() {
  if (busy) return;
  try {
    const before = shown && shown.earlier ? shown.data.screen : null;
    const { screen: found } = await call("earlier", { before });
    if (found) await display(found, true);
  } catch (error) { notice(error.message, "warn"); }
}

function buildSkip() {
  const chosen = document.querySelector("#skip-reasons input:checked")?.value;
  $("skip-reasons").replaceChildren($("skip-reasons").querySelector("legend"), ...SKIP_REASONS.map((reason) => {
    const input = element("input", { type: "radio", name: "skip", value: reason, checked: reason === chosen });
    input.addEventListener("change", () => { $("skip-go").disabled = false; });
    return element("label", { className: "check" }, input, " ", element("span", { textContent: t(reason) }));
  }));
}

function askSkip() {
  if (busy || !shown) return;
  for (const input of document.querySelectorAll("#skip-reasons input")) input.checked = false;
  $("skip-go").disabled = true;
  $("skip-dialog").returnValue = "cancel";
  $("skip-dialog").showModal();
}

// ------------------------------------------------------------------------------------------------------------ wiring

function wire() {
  viewer = new Viewer([...document.querySelectorAll(".frame")], (scale) => { $("zoom-level").textContent = `${Math.round(scale * 100)} %`; });
  $("consent-check").addEventListener("change", (event) => { $("consent-go").disabled = !event.target.checked; });
  $("consent-go").addEventListener("click", () => enter({ consent: true }));
  for (const [form, input] of [["code-form", "code-input"], ["code-form-2", "code-input-2"]]) {
    $(form).addEventListener("submit", (event) => { event.preventDefault(); enter({ code: $(input).value }); });
  }
  $("guide-go").addEventListener("click", () => (shown ? (show("score"), markRow(firstMissing())) : work && work.current ? display(work.current) : goOn()));
  $("help-button").addEventListener("click", openGuide);
  $("submit").addEventListener("click", () => submit());
  $("grid").addEventListener("submit", (event) => event.preventDefault());
  $("back").addEventListener("click", back);
  $("done-back").addEventListener("click", back);
  $("done-look").addEventListener("click", () => goOn());
  $("done-copy").addEventListener("click", async () => {
    try { await navigator.clipboard.writeText($("done-code").textContent); speak(t("copied")); } catch { getSelection().selectAllChildren($("done-code")); }
  });
  $("forward").addEventListener("click", () => goOn());
  $("skip").addEventListener("click", askSkip);
  $("skip-dialog").addEventListener("close", () => {
    const reason = document.querySelector("#skip-reasons input:checked");
    if ($("skip-dialog").returnValue === "skip" && reason) submit(reason.value);
  });
  $("problem-again").addEventListener("click", () => location.reload());
  $("zoom-in").addEventListener("click", () => viewer.zoomBy(1.5));
  $("zoom-out").addEventListener("click", () => viewer.zoomBy(1 / 1.5));
  $("zoom-fit").addEventListener("click", () => viewer.reset());
  $("zoom-one").addEventListener("click", () => viewer.oneToOne());
  for (const button of document.querySelectorAll(".flip")) {
    const place = Number(button.dataset.flip);
    const hold = (on) => (event) => { if (on) event.preventDefault(); viewer.flip(place, on); };
    button.addEventListener("pointerdown", hold(true));
    for (const end of ["pointerup", "pointerleave", "pointercancel", "blur"]) button.addEventListener(end, hold(false));
    button.addEventListener("keydown", (event) => { if (event.key === " ") { event.preventDefault(); viewer.flip(place, true); } });
    button.addEventListener("keyup", (event) => { if (event.key === " ") viewer.flip(place, false); });
    button.addEventListener("contextmenu", (event) => event.preventDefault());
  }
  $("comment").addEventListener("input", () => { if (shown) shown.key = newKey(); });
  wireMenu();
  document.addEventListener("visibilitychange", () => {
    if (!shown) return;
    if (document.hidden) shown.active += performance.now() - shown.since;
    shown.since = performance.now();
  });
  document.addEventListener("keydown", onKey);
  document.addEventListener("keyup", (event) => { if (event.key.toLowerCase() === "o") viewer.flip(null, false); });
  addEventListener("blur", () => viewer.flip(null, false));
}

function openGuide() {
  buildGuide();
  show("guide");
}

function wireMenu() {
  $("menu-button").addEventListener("click", () => { $("menu-sure").hidden = true; $("menu-code-out").textContent = ""; $("menu-dialog").showModal(); });
  $("menu-code").addEventListener("click", async () => {
    try { $("menu-code-out").textContent = `${t("codeShown")} ${(await call("code")).code}`; } catch (error) { notice(error.message, "warn"); }
  });
  $("menu-leave").addEventListener("click", async () => {
    $("menu-dialog").close();
    try { await call("leave"); shown = null; problemless(t("left")); } catch (error) { notice(error.message, "warn"); }
  });
  $("menu-withdraw").addEventListener("click", () => { $("menu-sure").hidden = false; $("menu-withdraw-yes").focus(); });
  $("menu-withdraw-yes").addEventListener("click", async () => {
    $("menu-dialog").close();
    try { await call("withdraw"); shown = null; me = null; problemless(t("withdrawn")); } catch (error) { notice(error.message, "warn"); }
  });
}

// The last page of those who stop: a sentence, and the code where it is earned already.
function problemless(text) {
  prepared = new Map();
  $("done-text").textContent = text;
  $("done-title").textContent = t("doneTitle");
  showCode();
  $("done-back").hidden = true;
  $("done-look").hidden = !me;
  show("done");
}

function onKey(event) {
  if ($("score").hidden || document.querySelector("dialog[open]") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("textarea, input:not([type=radio])")) {
    if (event.key === "Escape") markRow(firstMissing());
    return;
  }
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const pan = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[key];
  const does = {
    Enter: event.target.matches("button:not(#submit), summary, a") ? null : () => submit(), "?": openGuide, b: back, s: askSkip, r: () => viewer.reset(),
    x: () => viewer.oneToOne(), "+": () => viewer.zoomBy(1.5), "=": () => viewer.zoomBy(1.5), "-": () => viewer.zoomBy(1 / 1.5),
    o: study.allow_flip ? () => viewer.flip(null, true) : null, c: () => { $("comment-box").open = true; $("comment").focus(); },
  }[key];
  if (/^[0-5]$/.test(key) && shown && !busy) { event.preventDefault(); digit(Number(key)); }
  else if (pan && event.shiftKey) { event.preventDefault(); viewer.panBy(...pan); }
  else if (does && !(event.repeat && key === "Enter")) { event.preventDefault(); does(); }
}

wire();
translate();
begin();
