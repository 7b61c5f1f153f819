// The page's frame: its sections, words, notices, and calls of the server.

import { call as callServer, surely } from "./server.js";
import { state } from "./state.js";
import { SERVER_SAYS, TEXTS } from "./texts.js";

const SECTIONS = ["loading", "list", "consent", "guide", "score", "pause", "done", "problem"];
const translators = [];

export const $ = (id) => document.getElementById(id);

export function t(key, values = {}) {
  const text = TEXTS[state.language][key] ?? TEXTS.en[key];
  return typeof text === "string" ? text.replace(/\{(\w+)\}/g, (_, name) => values[name]) : text;
}

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export function paragraphs(box, text) {
  box.replaceChildren(...text.split(/\n\s*\n/).filter(Boolean).map((part) => element("p", { textContent: part, dir: "auto" })));
}

export function speak(text) { $("live").textContent = text; }

export function notice(text, kind = "", ...buttons) {
  $("notice").replaceChildren(...(text ? [element("span", { textContent: text }), ...buttons] : []));
  $("notice").className = `notice ${kind}`;
  $("notice").hidden = !text;
}

// `rename` writes the words of one part of the page.
export function onLanguage(rename) { translators.push(rename); }

// Write every word of the page in the language. Nothing is built anew that may have the focus or hold what was filled in.
export function translate() {
  document.documentElement.lang = state.language;
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = t(node.dataset.text);
  buildLanguages();
  $("title").textContent = document.title = state.study ? state.study.title : t("siteTitle");
  paragraphs($("consent-text"), (state.study && state.study.consent) || t("consentText"));
  if (state.me) $("menu-label").textContent = t("youAre", { label: state.me.label });
  for (const rename of translators) rename();
}

function buildLanguages() {
  const codes = state.study ? state.study.languages : Object.keys(TEXTS);
  for (const box of document.querySelectorAll(".languages")) {
    if ([...box.children].map((button) => button.lang).join() !== (codes.length < 2 ? "" : codes.join())) {
      box.replaceChildren(...(codes.length < 2 ? [] : codes).map((code) => {
        const button = element("button", { type: "button", className: "quiet", textContent: TEXTS[code].language, lang: code });
        button.addEventListener("click", () => choose(code));
        return button;
      }));
    }
    for (const button of box.children) button.setAttribute("aria-pressed", String(button.lang === state.language));
  }
}

async function choose(code) {
  state.language = code;
  translate();
  if (state.me) await call("language", { language: state.language }).catch(() => {});
}

// What the server said, in the annotator's language where it is one of its fixed sentences.
function said(message) {
  const [, seconds] = message.match(/^Please look at each pair for at least ([\d.]+) seconds\.$/) || [];
  return seconds ? t("tooEarly", { seconds }) : SERVER_SAYS[state.language]?.[message] ?? message;
}

export function call(action, body = {}, keepalive = false) {
  return callServer(action, { study: state.studyId, ...body }, { offline: t("offline"), said }, keepalive);
}

export function callSurely(action, body) {
  return surely(() => call(action, body), (error) => notice(t("retrying", { reason: error.message + " " }), "warn"), () => notice(""));
}

export function show(section) {
  for (const name of SECTIONS) $(name).hidden = name !== section;
  const scoring = section === "score";
  document.body.classList.toggle("scoring", scoring);
  $("title").classList.toggle("hidden-text", scoring);
  $("instruction-box").hidden = $("help-button").hidden = $("progress-box").hidden = !scoring;
  $("menu-button").hidden = !state.me || ["consent", "list", "problem"].includes(section);
  document.body.classList.toggle("visiting", !$("menu-button").hidden);
  keepTime();
  $("main").focus({ preventScroll: true });
  scrollTo(0, 0);
  $("main").scrollTo(0, 0);
}

// The time on a screen runs while it can be seen.
export function keepTime() {
  if (!state.shown) return;
  const now = performance.now();
  if (state.shown.since !== null) state.shown.active += now - state.shown.since;
  state.shown.since = document.hidden || $("score").hidden ? null : now;
}

export function problem(error) {
  $("problem-text").textContent = error.message;
  show("problem");
}
