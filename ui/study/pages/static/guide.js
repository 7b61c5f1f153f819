// What annotators are told to do, what the scores mean, and the keys.

import { $, element, onLanguage, paragraphs, t } from "./page.js";
import { state } from "./state.js";
import { PERSPECTIVES } from "./texts.js";

onLanguage(buildGuide);

export function buildGuide() {
  const mayFlip = !state.study || state.study.allow_flip;
  paragraphs($("guide-text"), t("guideText") + (mayFlip ? "\n\n" + t("guideFlip") : ""));
  paragraphs($("guide-own"), (state.study && state.study.instructions) || "");
  for (const id of ["consent-rules", "guide-rules"]) paragraphs($(id), ruleText());
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
  $("keys").replaceChildren(...[...t("keys"), ...(mayFlip ? t("flipKeys") : [])].flatMap(([keys, what]) => [element("dt", { textContent: keys }), element("dd", { textContent: what })]));
  $("guide-go").textContent = t(state.shown ? "guideResume" : "guideGo");
}

function example(file, why, scores) {
  const caption = element("figcaption", { textContent: why });
  if (scores) caption.append(element("b", { textContent: PERSPECTIVES.map((name, number) => `${t(name)} ${scores[number]}`).join("\n") }));
  return element("figure", {}, element("img", { src: `/study/static/${file}.svg`, alt: "", width: 160, height: 120 }), caption);
}

// What the study says of visits that end early, of the completion code, and of a recruiting service's id.
function ruleText() {
  const rules = state.study?.rules;
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
