"""What the Research tab shows of the people who take part, of the pairs they skip, and where payment files are; as HTML, escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from mre.study.cells import time_cell
from mre.study.participants import FORMS, Participant
from ui.research.markup import escaped, nothing, number, table
from ui.texts import say

if TYPE_CHECKING:
    from mre.study.coverage import SkippedPair

MOST_PAIRS = 200            # skipped pairs shown; the command shows all


def participants(found: list[Participant], study: str, language: str) -> str:
    """One row per participant: who, state and why, code, recruiting id, work, pace, when; and the list as a file."""
    if not found:
        return nothing("res_nobody", language)
    heads = ["res_annotator", "res_state", "res_code_head", "res_id", "res_scored", "res_p_skipped", "res_given", "res_checks",
             "res_median", "res_joined", "res_last"]
    rows = [(one.label, _state(one, language), one.code or "–", _id(one, language), one.scored, one.skipped, one.given,
             say("res_of", language, part=one.checks_failed, whole=one.checks) if one.checks else "–", number(one.median_seconds, 1),
             _minute(one.joined_at), _minute(one.last_answer_at)) for one in found]
    link = f'<a class="chip" href="/research/participants/{quote(study)}.csv" download>{escaped(say("res_people_file", language))}</a>'
    return table(heads, rows, language) + f'<p class="chips">{link}</p>'


def skipped_pairs(found: list[SkippedPair], language: str) -> str:
    """Pairs that were skipped, with the reasons; those set aside first."""
    if not found:
        return ""
    rows = [(pair.item, f"{pair.first_method}, {pair.second_method}", pair.skips,
             ", ".join(f"{say(f'res_skip_{reason}', language)} {count}" for reason, count in pair.reasons.items()), pair.scored,
             say("res_yes", language) if pair.set_aside else "–") for pair in found[:MOST_PAIRS]]
    more = f" {say('res_skipped_more', language, count=len(found) - MOST_PAIRS)}" if len(found) > MOST_PAIRS else ""
    return (f'<p class="small muted">{escaped(say("res_skipped_about", language) + more)}</p>'
            + table(["res_item", "res_tab_methods", "res_skipped", "res_why", "res_scored", "res_aside"], rows, language))


def pay_links(study: str, amount: float, per_screen: float, reject: bool, language: str) -> str:
    """Links to the payment files with these amounts. MTurk's has none."""
    links = ""
    for form in FORMS:
        chosen = {"reject": "true"} if reject else {}
        if form != "mturk":
            chosen |= {"amount": f"{amount:.2f}", "per_screen": f"{per_screen:.4f}"}
        address = f"/research/payments/{form}/{quote(study)}.csv?{urlencode(chosen)}"
        links += f'<a class="chip" href="{escaped(address)}" download>{escaped(say(f"res_pay_{form}", language))}</a>'
    return f'<p class="chips">{links}</p>'


def _state(one: Participant, language: str) -> str:
    """The state, with what led to it: a rule's words are in the page's language, a researcher's reason is as it was written."""
    state = say(f"res_is_{one.state}", language)
    if one.state == "stopped" and one.measured:
        return f"{state}: " + say(f"res_rule_{one.rule}", language, skipped=one.measured.skipped, screens=one.measured.screens,
                                  failed=one.measured.checks_failed, seconds=number(one.measured.median_seconds, 1))
    return f"{state}: {one.reason}" if one.reason else state


def _id(one: Participant, language: str) -> str:
    if one.ids_lost:
        return say("res_id_lost", language)
    return f"{one.ids.participant} ({one.ids.service})" if one.ids else "–"


def _minute(milliseconds: int | None) -> str:
    """A time to the minute, UTC."""
    return time_cell(milliseconds)[:16].replace("T", " ") or "–"
