// Who comes: the list of studies, consent, and going on where one was.

import { goOn } from "./answering.js";
import { $, call, callSurely, element, notice, problem, show, t, translate } from "./page.js";
import { prepare } from "./screen.js";
import { state } from "./state.js";

export async function begin() {
  show("loading");
  let data;
  try { data = await call("hello", state.arrival); } catch (error) { translate(); return problem(error); }
  if (data.studies) return listStudies(data.studies);
  await arrived(data);
}

async function arrived(data) {
  state.study = data.study;
  state.studyId = state.study.id;
  state.me = data.me;
  if (state.me) state.language = state.study.languages.includes(state.me.language) ? state.me.language : state.study.languages[0];
  else if (!state.study.languages.includes(state.language)) state.language = state.study.languages[0];
  translate();
  if (!state.study.allow_phone && Math.min(screen.width, screen.height) < 600) return problem({ message: t("noPhone") });
  if (!state.me) {
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

export async function enter(body) {
  notice("");
  try {
    const data = await call("enter", { language: state.language, ...state.arrival, ...body });
    if (!location.pathname.endsWith(data.study.id)) history.replaceState(null, "", `/study/s/${data.study.id}${location.search}`);
    state.study = data.study; state.studyId = state.study.id; state.me = data.me;
    translate();
    if (body.code) return await goOn(true);
    state.work = await callSurely("work");
    prepare(state.work.current);
    show("guide");
  } catch (error) { notice(error.message, "warn"); }
}
