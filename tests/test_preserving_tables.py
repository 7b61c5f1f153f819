"""Preserving as it is measured, in the tables of a benchmark."""

import csv
import functools

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from mre.__main__ import main
from mre.benchmark.answers import Answer, Scores
from mre.benchmark.edits import Method, ResultsFolder, write_edits
from mre.benchmark.items import Benchmark, Item, SceneSet
from mre.benchmark.preserving_tables import FILE, measure_edits, rank_correlation, table_of_figures, tables_of_preserving
from tests.metrics.drawn import cuts, with_patch

BOX = (100, 60, 180, 130)


def shifted(seed: int, dx: float, cast: int) -> Image.Image:
    return with_patch(cuts(seed, dx, 0, 1, (cast,) * 3)[1], 50, BOX)


@pytest.fixture
def folder(tmp_path):
    """Four photos, edited by one method that moves them by 1 to 4 pixels and makes them brighter, and by one that keeps the rest."""
    items = tuple(Item(f"photo{seed}", "add" if seed < 3 else "remove", "do it", f"photo{seed}",
                       functools.partial(lambda seed: cuts(seed)[0], seed)) for seed in (1, 2, 3, 4))
    folder = ResultsFolder(tmp_path / "out", Benchmark("items", items, {"items": "x"}))
    moves = Method("moves", "moves", make=lambda item: shifted(int(item.item[-1]), int(item.item[-1]), 5 * int(item.item[-1])))
    keeps = Method("keeps", "keeps", make=lambda item: shifted(int(item.item[-1]), 0, 0))
    write_edits(folder, [moves, keeps], None)
    folder.merge()
    return folder


def test_shift_and_drift_of_each_method_and_edit_type_stand_in_a_table(folder):
    items = folder.benchmark.items
    table = table_of_figures(measure_edits(folder, ["moves", "keeps"], items), ["moves", "keeps"], items)
    rows = {(row[0], row[1]): dict(zip(table.columns[2:], row[2:], strict=True)) for row in table.rows}
    assert list(rows) == [(method, name) for method in ("moves", "keeps") for name in ("remove", "add", "all")]
    assert rows["moves", "add"]["shift, px"].value == pytest.approx(1.5, abs=0.05)
    assert rows["moves", "all"]["drift, levels"].value == pytest.approx(12.5, abs=0.5)
    assert rows["keeps", "all"]["shift, px"].value == pytest.approx(0, abs=0.02)
    assert rows["keeps", "all"]["changed outside"].value == pytest.approx(0, abs=0.001)


def test_what_was_measured_is_not_measured_again_and_what_is_missing_is_counted(folder, monkeypatch):
    items = folder.benchmark.items
    first = measure_edits(folder, ["moves"], items)
    assert len(list(csv.DictReader((folder.path / FILE).open(newline="")))) == 4
    folder.edited("keeps", "photo1").write_bytes(b"damaged")
    asked = []
    import mre.benchmark.preserving_tables as tables
    whole = tables.measure_preserving
    monkeypatch.setattr(tables, "measure_preserving", lambda *pictures: asked.append(1) or whole(*pictures))
    again = measure_edits(folder, ["moves", "keeps"], items)
    assert len(asked) == 3, "four are in the file, one cannot be read"
    assert {key: row for key, row in again.items() if key[0] == "moves"} == first
    row = next(row for row in table_of_figures(again, ["keeps"], items).rows if row[1] == "all")
    assert (row[2].n, row[2].missing) == (3, 1)


def test_the_figures_stand_beside_a_judges_scores(folder):
    """A judge whose score falls with the shift: the correlation of all eight edits is -1 up to the ties of those that did not move."""
    items = folder.benchmark.items
    answers = [Answer(item.item, method, "j", "1", 0, "preserving", 5.0 - (int(item.item[-1]) if method == "moves" else 0), None, None,
                      "", 0, None) for method in ("moves", "keeps") for item in items]
    tables = tables_of_preserving(measure_edits(folder, ["moves", "keeps"], items), ["moves", "keeps"], items, Scores(answers, items))
    agreement = next(table for table in tables if table.name == "preserving_agreement")
    row = next(row for row in agreement.rows if row[0] == "all")
    assert row[agreement.columns.index("shift, px")].value < -0.85
    assert row[agreement.columns.index("shift, px")].n == 8
    without = tables_of_preserving(measure_edits(folder, ["moves"], items), ["moves"], items, None)
    assert [table.name for table in without] == ["preserving"]


def test_the_correlation_is_spearmans_and_its_interval_holds_it():
    rng = np.random.default_rng(0)
    one = rng.normal(size=80).round(1)
    two = (one + rng.normal(size=80)).round(1)
    cell = rank_correlation([*zip(one.tolist(), two.tolist(), strict=True), (None, 1.0)], [str(n // 2) for n in range(81)])
    assert cell.value == pytest.approx(stats.spearmanr(one, two).statistic)
    assert cell.low < cell.value < cell.high
    assert (cell.n, cell.missing) == (80, 1)


def test_of_scenes_the_true_edit_is_the_mask(tmp_path):
    benchmark = SceneSet(1, size=64).benchmark()
    folder = ResultsFolder(tmp_path / "out", benchmark)
    write_edits(folder, [Method("target", "target", make=lambda item: Image.fromarray(item.scene().target))], None)
    folder.merge()
    measured = measure_edits(folder, ["target"], benchmark.items)
    local = {item.item for item in benchmark.items if item.edit_type in ("local", "remove", "add", "texture")}
    assert all(row["outside_share"] < 0.01 for (_, item), row in measured.items() if item in local)
    assert {row["masked"] for row in csv.DictReader((folder.path / FILE).open(newline=""))} == {"yes"}


@pytest.mark.parametrize(("flags", "there"), [((), True), (("--no-preserving",), False)])
def test_bench_prints_it_for_every_benchmark_unless_it_is_not_wanted(tmp_path, capsys, flags, there):
    command = ["bench", "scenes", "--model", "tiny-untrained", "--judge", "oracle", "--out", tmp_path / "out", "--per-type", 1, "--tables",
               "scores", "--steps", 1, "--size", 64, "--cache", tmp_path / "answers.sqlite", "--workers", 1, *flags]
    assert main([*map(str, command)]) == 0
    printed = capsys.readouterr().out
    assert ("Preserving, measured" in printed) == there
    assert ("rank correlation of each figure" in printed) == there
    assert (tmp_path / "out" / "tables" / "preserving.tex").exists() == (tmp_path / "out" / FILE).exists() == there


def test_a_benchmark_of_put_back_edits_keeps_the_rest_and_is_another_method_than_without(tmp_path, monkeypatch, capsys):
    from mre.editors.editor import EditorInfo
    from mre.editors.kinds import KINDS, EditorKind
    from mre.editors.local_editor import LocalEditor

    class Mover(LocalEditor):
        def describe(self) -> EditorInfo:
            return EditorInfo("mover", "Mover")

        def make(self, seen, settings, on_step, should_stop):
            return shifted(1, 4.0, 6)

    monkeypatch.setattr("mre.editors.kinds.KINDS", [EditorKind("mover", lambda name: name == "mover", Mover), *KINDS])
    (tmp_path / "set").mkdir()
    cuts(1)[0].save(tmp_path / "set" / "photo.png")
    (tmp_path / "set" / "items.csv").write_text("item,image,instruction,edit_type\nphoto,photo.png,add a patch,add\n")

    def bench(out: str, *flags: str) -> int:
        return main(["bench", str(tmp_path / "set"), "--model", "mover", "--judge", "measured", "--out", str(tmp_path / out), "--cache",
                     str(tmp_path / "answers.sqlite"), *flags])

    assert [bench("plain"), bench("kept", "--put-back")] == [0, 0]
    rows = [next(csv.DictReader((tmp_path / out / FILE).open(newline=""))) for out in ("plain", "kept")]
    assert [float(row["dx"]) for row in rows] == pytest.approx([4, 0], abs=0.05)
    assert float(rows[0]["outside_size"]) > 5
    assert float(rows[1]["outside_size"]) < 0.5
    capsys.readouterr()
    assert bench("plain", "--put-back") == 1
    assert "put_back is None there, True here; name another --out" in capsys.readouterr().err
