"""From the exported file of a closed study alone, its sides can be drawn again and compared."""

from __future__ import annotations

import csv
import hashlib
import hmac
from collections import defaultdict

import pytest

from mre.__main__ import main
from mre.errors import DataError
from mre.study import studies
from mre.study.design import StudyDesign
from mre.study.export import export_file
from mre.study.importer import import_file
from mre.study.intake import StudyFaults
from mre.study.rebuild import rebuild_sides
from tests.study.conftest import draw_edits
from tests.study.test_assignment import answer_one, join


@pytest.fixture
def scored(store, tmp_path):
    """A closed study of three methods with repeats and checks, scored by two, and its files before and after its end."""
    edits = draw_edits(tmp_path / "e", 8, ("zeta", "alpha", "mid"), (16, 16))
    studies.create_from_edits(store, "s", [edits], StudyDesign(per_pair=2, repeats=20, repeat_gap=3, checks=20))
    study = studies.start(store, "s")
    for person in [join(store, study) for _ in range(2)]:
        while answer_one(store, person):
            pass
    export_file(store, "s", tmp_path / "running.csv")
    studies.close(store, "s")
    for form, name in (("long", "s.csv"), ("wide", "wide.csv"), ("jsonl", "s.jsonl")):
        export_file(store, "s", tmp_path / name, form)
    return tmp_path


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_sides_are_rebuilt_from_the_exported_file_alone(scored):
    """Worked here without the program: HMAC-SHA256 of "side/ANNOTATOR/BLOCK" under the secret; screens 2n + 1 and 2n + 2 are a block."""
    rows = [row for row in rows_of(scored / "s.csv") if row["perspective"] == "quality" and row["is_check"] == "0"]
    secret, = {row["order_seed"] for row in rows}
    first_of = {}
    shown = defaultdict(set)
    for row in rows_of(scored / "s.csv"):
        shown[row["annotator"], row["screen"]].add(row["method"])
    for row in rows:
        if row["shown_as"] == "1":
            block, second = divmod(int(row["screen"]) - 1, 2)
            digest = hmac.digest(secret.encode(), f"side/{row['annotator']}/{block}".encode(), hashlib.sha256)
            swapped = (digest[7] + second) % 2
            other = next(two["method"] for two in rows if (two["annotator"], two["screen"], two["shown_as"]) ==
                         (row["annotator"], row["screen"], "2"))
            first = other if swapped else row["method"]
            assert first_of.setdefault(frozenset((first, other, row["method"])), first) == first
    assert len(first_of) == 3
    for name in ("s.csv", "wide.csv", "s.jsonl"):
        found = rebuild_sides(scored / name)
        assert found.first_methods == first_of
        assert found.faults == ()
        assert found.agree + found.untold == len({(row["annotator"], row["screen"]) for row in rows_of(scored / "s.csv")})
        assert found.untold == sum(len(methods) == 1 for methods in shown.values())       # one edit on both sides


def test_the_file_of_a_running_study_proves_the_order_but_does_not_tell_it(scored, store, capsys):
    told, = {row["order_seed"] for row in rows_of(scored / "running.csv")}
    secret, = {row["order_seed"] for row in rows_of(scored / "s.csv")}
    assert told == "sha256:" + hashlib.sha256(secret.encode()).hexdigest() == rebuild_sides(scored / "s.csv").commitment
    with pytest.raises(DataError, match="before the study had closed"):
        rebuild_sides(scored / "running.csv")
    for name in ("running.csv", "s.csv"):                       # both can be brought back, and leave as they came
        import_file(store, "again-" + name[:-4], scored / name)
        export_file(store, "again-" + name[:-4], scored / "again.csv")
        assert (scored / "again.csv").read_text().replace(f"again-{name[:-4]},", "s,") == (scored / name).read_text()


def test_a_file_whose_sides_were_changed_does_not_agree(scored, capsys):
    rows = rows_of(scored / "s.csv")
    compared = [row for row in rows if row["is_check"] == "0"]      # a check shows one edit on both sides
    last = compared[-1]["annotator"], compared[-1]["screen"]
    for row in rows:
        if (row["annotator"], row["screen"]) == last:
            row["shown_as"] = {"1": "2", "2": "1"}[row["shown_as"]]
    with (scored / "changed.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert main(["study", "order", str(scored / "changed.csv")]) == 1
    assert f"{last[0]}, screen {last[1]}" in capsys.readouterr().err
    assert not main(["study", "order", str(scored / "s.csv")])
    assert "screens stand as the order says" in capsys.readouterr().out


@pytest.mark.parametrize(("cell", "told"), [("", "order_seed must be"), ("order-xyz", "order_seed must be"), ("-1", "order_seed must be"),
                                            ("7", "order_seed differs")])
def test_an_order_that_is_none_is_refused_with_its_row(scored, store, cell, told):
    rows = rows_of(scored / "s.csv")
    rows[3]["order_seed"] = cell
    with (scored / "bad.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(DataError, match=told):
        rebuild_sides(scored / "bad.csv")
    with pytest.raises(StudyFaults) as caught:
        import_file(store, "bad", scored / "bad.csv")
    assert told in "\n".join(caught.value.faults)
