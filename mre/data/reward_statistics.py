"""What reward data look like: scores (the paper's Fig. 3), words of what is wrong (Fig. 4), and the share below 5. CSV and plots."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mre.files import csv_text, write_whole
from mre.rewards import NOTHING_WRONG, PERSPECTIVES, Reward

COLOURS = {"following": "#4C72B0", "preserving": "#DD8452", "quality": "#55A868"}
WORDS_SHOWN = 20
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_SAYS_NOTHING = """
a about above after again all along also although an and any appear appears are as at away be because been before being below between
both but by can cannot could did do does done due during each either else even every few for from further get has have having he her
here hers him his how however i if in into is it its itself just less like looks made make may me might more most much must my near no
nor not now of off on once one only onto or other our out over own per quite rather s same she should since so some such t than that
the their them then there these they this those through to too under until up upon us very was we were what when where which while who
whole whose why will with within without would you your
"""
STOP_WORDS = frozenset(_SAYS_NOTHING.split())


@dataclass(frozen=True)
class RewardStatistics:
    """Counts over many rewards, per perspective."""

    count: int
    scores: dict[str, Counter]      # perspective -> score -> triplets
    words: dict[str, Counter]       # perspective -> word -> texts that hold it
    faultless: dict[str, int]       # perspective -> texts that say nothing is wrong

    def share_below_best(self, perspective: str) -> float:
        """How many of the triplets are below 5: the paper's reason for rewards."""
        below = sum(count for score, count in self.scores[perspective].items() if score < 5)
        return below / self.count if self.count else float("nan")


def statistics(rewards: Iterable[Reward]) -> RewardStatistics:
    """Count scores and words. A word counts once for each text that holds it."""
    count = 0
    scores, words = ({name: Counter() for name in PERSPECTIVES} for _ in range(2))
    faultless: dict[str, int] = dict.fromkeys(PERSPECTIVES, 0)
    for reward in rewards:
        count += 1
        for name, score, text in zip(PERSPECTIVES, reward.scores, reward.texts, strict=True):
            scores[name][score] += 1
            if text == NOTHING_WRONG:
                faultless[name] += 1
            else:
                words[name].update(words_of(text))
    return RewardStatistics(count, scores, words, faultless)


def words_of(text: str) -> set[str]:
    """The words of a text that say something: lower case, without numbers and without words such as "the"."""
    return {word for word in map(str.lower, _WORD.findall(text)) if word not in STOP_WORDS and len(word) > 1}


def write_statistics(found: RewardStatistics, folder: Path) -> list[Path]:
    """Write score_distribution.csv, words.csv, summary.csv, and the two as plots. Returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    every_score = sorted({score for counts in found.scores.values() for score in counts} | set(range(6)))
    distribution = [(name, f"{score:g}", found.scores[name][score], found.scores[name][score] / max(found.count, 1))
                    for name in PERSPECTIVES for score in every_score]
    words = [(name, rank, word, count) for name in PERSPECTIVES for rank, (word, count) in enumerate(_ranked(found.words[name], 200), 1)]
    summary = [(name, found.count, sum(score * count for score, count in found.scores[name].items()) / max(found.count, 1),
                found.share_below_best(name), found.faultless[name]) for name in PERSPECTIVES]
    return [
        _table(folder / "score_distribution.csv", ("perspective", "score", "triplets", "share"), distribution),
        _table(folder / "words.csv", ("perspective", "rank", "word", "texts"), words),
        _table(folder / "summary.csv", ("perspective", "triplets", "mean_score", "share_below_5", "texts_none"), summary),
        plot_scores(found, folder / "score_distribution.png"),
        plot_words(found, folder / "words.png")]


def plot_scores(found: RewardStatistics, path: Path) -> Path:
    """The share of triplets at each score, the three perspectives side by side (Fig. 3)."""
    figure, axes = _figure(1, 1, (7, 4))
    axes = axes[0]
    scores = list(range(6))
    for number, name in enumerate(PERSPECTIVES):
        rounded = Counter()
        for score, count in found.scores[name].items():
            rounded[min(5, int(score))] += count
        shares = [100 * rounded[score] / max(found.count, 1) for score in scores]
        bars = axes.bar([score + (number - 1) * 0.27 for score in scores], shares, width=0.25, color=COLOURS[name],
                        label=f"{name}: {100 * found.share_below_best(name):.0f} % below 5")
        axes.bar_label(bars, fmt="%.0f", fontsize=7, padding=1)
    axes.set_xlabel("score (halves counted at the whole below)" if any(score % 1 for name in found.scores for score in found.scores[name])
                    else "score")
    axes.set_ylabel("% of triplets")
    axes.set_title(f"Scores of {found.count:,} triplets")
    axes.legend(frameon=False)
    return _save(figure, path)


def plot_words(found: RewardStatistics, path: Path) -> Path:
    """The most frequent words of what is wrong, one panel per perspective (Fig. 4)."""
    figure, panels = _figure(1, 3, (12, 5.5))
    for axes, name in zip(panels, PERSPECTIVES, strict=True):
        ranked = _ranked(found.words[name], WORDS_SHOWN)[::-1]
        axes.barh([word for word, _ in ranked], [count for _, count in ranked], color=COLOURS[name])
        axes.set_ylim(len(ranked) - WORDS_SHOWN - 0.6, len(ranked) - 0.4)      # bars of one thickness, from the top, in all panels
        axes.set_title(name)
        axes.set_xlabel("texts that hold the word")
        if not ranked:
            axes.text(0.5, 0.5, "nothing is wrong", ha="center", transform=axes.transAxes)
    figure.suptitle(f"Most frequent words of what is wrong in {found.count:,} triplets")
    return _save(figure, path)


def _ranked(words: Counter, most: int) -> list[tuple[str, int]]:
    return sorted(words.items(), key=lambda item: (-item[1], item[0]))[:most]


def _figure(rows: int, columns: int, size: tuple[float, float]):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    panels = [figure.add_subplot(rows, columns, number) for number in range(1, rows * columns + 1)]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _save(figure, path: Path) -> Path:
    figure.savefig(path, dpi=120)
    return path


def _table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    write_whole(path, csv_text(header, rows, floats=".4f"))
    return path
