"""What the Research tab shows of a study, as HTML in the visitor's language. Names that came from outside are escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pandas as pd

from mre.rewards import PERSPECTIVES
from mre.study.cells import SIMULATED_LABEL
from mre.study.power import power
from mre.study.table import FORMS as TABLE_FORMS
from ui.names import perspective_names
from ui.notices import without_paths
from ui.research.markup import escaped, nothing, number, table, table_of
from ui.research.words import TEXTS
from ui.texts import add_texts, say

if TYPE_CHECKING:
    from mre.study import figures
    from mre.study.coverage import Coverage
    from mre.study.records import Study

add_texts(TEXTS)

MOST_FAULTS = 500
POWER_ITEMS, POWER_PEOPLE = (80, 160, 280, 560), (1, 3, 5, 10)


def summary(study: Study, found: Coverage, language: str, by_invitation: bool) -> str:
    """State and coverage in numbers, a bar, and where annotators go."""
    def of(part: int, whole: int) -> str:
        return say("res_of", language, part=part, whole=whole)

    slots = found.pairs * found.per_pair
    people = (say("res_left_out_count", language, count=found.annotators, out=found.excluded) if found.excluded
              else str(found.annotators))
    cells = (("res_state", say(f"res_{study.state}", language)), ("res_pairs", of(found.pairs_complete, found.pairs)),
             ("res_screens", of(found.slots_done, slots)), ("res_skipped", found.skipped), ("res_held", found.slots_held),
             ("res_people_count", people), ("res_per_pair", study.design.per_pair), ("res_order", _order(study, language)),
             *((key, count) for key, count in (("res_set_aside", found.pairs_set_aside), ("res_stopped_count", found.stopped),
                                               ("res_by_excluded", found.slots_excluded), ("res_surplus", found.surplus)) if count),
             ("res_digest", (study.digest or say("res_not_started", language))[:12]))
    shown = "".join(f"<div><dt>{escaped(say(key, language))}</dt><dd>{escaped(value)}</dd></div>" for key, value in cells)
    share = found.slots_done / max(1, slots)
    if study.state == "running":
        link = f"/study/s/{study.public_id}"
        after = " " + say("res_by_invitation", language) if by_invitation else ""
        where = f'{escaped(say("res_link", language))} <a href="{link}" target="_blank">{link}</a>{escaped(after)}'
    else:
        where = escaped(say("res_no_link", language)) if study.state == "draft" else ""
    if study.simulated:
        where = escaped(say("res_is_simulated", language))
    elif study.order_secret is None and study.state != "draft":
        where += f" {escaped(say('res_order_old', language))}"
    if study.before_rules and not study.simulated:
        where += f" {escaped(say('res_before_rules', language))}"
    return (f'<dl class="study-facts">{shown}</dl>'
            f'<div class="study-bar" role="img" aria-label="{escaped(say("res_coverage", language))}: {share:.0%}">'
            f'<i style="width:{100 * share:.2f}%"></i></div><p class="small">{where}</p>')


def _order(study: Study, language: str) -> str:
    """What the order of sides and items is drawn from, in a few words."""
    if study.order_secret is None and study.state == "draft":
        return say("res_order_draft", language)
    if study.order_secret is None:
        return say("res_order_seed", language, seed=study.design.seed)
    if not study.order.known:
        return say("res_order_unknown", language)
    return say("res_order_told" if study.state == "closed" else "res_order_secret", language)


def people(found: list[figures.AnnotatorFigures], language: str) -> str:
    """One row per annotator, those left out with the reason."""
    if not found:
        return nothing("res_nobody", language)
    heads = ["res_annotator", "res_p_screens", "res_p_skipped", "res_p_seconds", *(f"name_{name}" for name in PERSPECTIVES), "res_spread",
             "res_straight", "res_repeat", "res_checks", "res_excluded"]
    rows = [(_marked(person, language), person.screens, person.skipped, number(person.mean_seconds, 1), *map(number, person.means),
             number(person.spread), "–" if person.straight_lines is None else f"{person.straight_lines:.0%}",
             number(person.repeat_error) if person.repeats else "–",
             say("res_of", language, part=person.checks_failed, whole=person.checks) if person.checks else "–", person.excluded or "–")
            for person in found]
    return table(heads, rows, language) + f'<p class="small muted">{escaped(say("res_people_about", language))}</p>'


def _marked(person: figures.AnnotatorFigures, language: str) -> str:
    """The annotator's name; one that does not say by itself that it is simulated gets a word more."""
    if not person.simulated or person.annotator.startswith(SIMULATED_LABEL):
        return person.annotator
    return f'{person.annotator} ({say("res_simulated_word", language)})'


def methods(means: pd.DataFrame, sides: dict[str, figures.Figure], language: str) -> str:
    """Mean and spread per method and perspective, and what the side on which an edit was shown does to its scores."""
    if not len(means):
        return nothing("res_no_scores", language)
    rows = []
    for method, part in means.groupby("method", sort=False):
        chosen = part.set_index("perspective").loc[list(PERSPECTIVES)]
        rows.append((method, *(f"{mean:.3f} ± {sd:.3f}" if sd is not None and sd == sd else f"{mean:.3f}"
                               for mean, sd in zip(chosen["mean"], chosen["sd"], strict=True)), int(part["n"].iloc[0])))
    bias = [(perspective_names(language)[name], *_with_interval(figure), figure.n) for name, figure in sides.items()]
    return (f'<p class="small muted">{escaped(say("res_methods_about", language))}</p>'
            + table(["res_method", *(f"name_{name}" for name in PERSPECTIVES), "res_n"], rows, language)
            + f'<p class="small muted">{escaped(say("res_sides", language))}</p>'
            + table(["res_perspective", "res_difference", "res_interval", "res_screens_n"], bias, language))


def agreement(found: dict[str, dict[str, figures.Figure]], language: str) -> str:
    """Three statistics per perspective, each with its interval under it; what is undefined says why."""
    def cell(figure: figures.Figure) -> str:
        value, interval = _with_interval(figure)
        return value if interval == "–" else f"{value} [{interval}]"

    rows = [(perspective_names(language)[perspective], *(cell(row[name]) for name in ("krippendorff_alpha", "weighted_kappa", "icc")))
            for perspective, row in found.items()]
    models = dict.fromkeys(row["icc"].note for row in found.values() if row["icc"].defined)
    return (table(["res_perspective", "res_alpha", "res_kappa", "res_icc"], rows, language)
            + "".join(f'<p class="small muted">ICC(2,1): {escaped(note)}</p>' for note in models))


def downloads(name: str, language: str) -> str:
    """Links to the exports and the tables."""
    safe = quote(name)
    files = [("csv", "res_csv_long"), ("csv?wide=true", "res_csv_wide"), ("csv?bom=true", "res_csv_bom"), ("jsonl", "res_jsonl"),
             ("csv?everyone=false", "res_csv_without")]
    exports = [(f"/research/export/{safe}.{rest}", say(key, language)) for rest, key in files]
    tables = [(f"/research/table/{safe}.{form}", say("res_table_form", language, form=text)) for form, text in TABLE_FORMS.items()]
    return "".join(f'<p class="small muted">{escaped(say(key, language))}</p><p class="chips">'
                   + "".join(f'<a class="chip" href="{link}" download>{escaped(text)}</a>' for link, text in links) + "</p>"
                   for key, links in (("res_scores_files", exports), ("res_table_files", tables)))


def power_table(gap: float, between: float, within: float, language: str) -> str:
    """Items needed for 80 % power, and the power of usual sizes, by annotators per pair."""
    rows = []
    for count in POWER_PEOPLE:
        found = [power(gap, items, count, between=between, within=within) for items in POWER_ITEMS]
        rows.append((count, found[0].items_needed, *(f"{one.power:.1%}" for one in found)))
    heads = [say("res_per_pair", language), say("res_power_needed", language),
             *(say("res_power_items", language, items=items) for items in POWER_ITEMS)]
    return table_of(heads, rows)


def faults(found: list[str], language: str) -> str:
    """Every fault of a study's files, each with its row."""
    shown = "".join(f"<li>{escaped(without_paths(fault))}</li>" for fault in found[:MOST_FAULTS])
    return (f'<div class="notice bad" role="alert"><p>{escaped(say("res_faults", language, count=len(found)))}</p>'
            f'<ol class="study-faults">{shown}</ol></div>')


def nothing_yet(language: str) -> str:
    return nothing("res_none", language)


# ------------------------------------------------------------------------------------------------------------------ parts


def _with_interval(figure: figures.Figure) -> tuple[str, str]:
    """The value, or why there is none, and its interval."""
    if figure.value is None:
        return figure.note, "–"
    return f"{figure.value:.3f}", "–" if figure.low is None else f"{figure.low:.3f} … {figure.high:.3f}"
