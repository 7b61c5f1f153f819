"""Judges: anything that scores an edit. `make_judge` finds one by name; `kinds` lists what names mean. No torch here."""

from mre.judge.kinds import kind_of, make_judge
from mre.judge.verdicts import TASKS, Ask, Judge, OpenedJudge, PaidJudge, Tally, Verdict, Verdicts, one_by_one, score_one

__all__ = ["TASKS", "Ask", "Judge", "OpenedJudge", "PaidJudge", "Tally", "Verdict", "Verdicts", "kind_of", "make_judge", "one_by_one",
           "score_one"]
