"""Simulated annotators score a copy: the study stays as it was, and they are told apart from people wherever they are shown."""

from __future__ import annotations

import io
from collections import Counter

import pandas as pd
import pytest
import sqlalchemy as sa

from mre.errors import StudyError
from mre.study import events, figures, records, studies, visit
from mre.study.coverage import coverage
from mre.study.dashboard import dashboard
from mre.study.design import StudyDesign
from mre.study.export import export
from mre.study.importer import import_file
from mre.study.schema import annotators, assignments, metadata
from mre.study.simulate import Crowd, simulate
from mre.study.table import study_table
from tests.study.conftest import draw_edits
from tests.study.test_assignment import answer_one, join

OF_STUDIES = [table for table in metadata.sorted_tables if "study_id" in table.c]


def rows_of(store, study) -> dict[str, list]:
    """Everything that the database holds of a study."""
    with store.read() as connection:
        rows = {table.name: connection.execute(sa.select(table).where(table.c.study_id == study.id).order_by(*table.primary_key)).all()
                for table in OF_STUDIES}
        row = connection.execute(sa.select(metadata.tables["studies"]).where(metadata.tables["studies"].c.id == study.id)).all()
    return rows | {"studies": row}


# each database is tested with two states; what is drawn and shared out is the same on both
@pytest.mark.parametrize(("store", "state"), [("sqlite", "draft"), ("postgresql", "running"), ("postgresql", "paused"),
                                              ("sqlite", "closed")], indirect=["store"])
def test_a_simulated_study_is_a_copy_and_the_study_stays_as_it_was(store, edits, state):
    study = studies.create_from_edits(store, "s", [edits], StudyDesign(per_pair=2))
    if state != "draft":
        study = studies.start(store, "s")
        person = join(store, study)
        answer_one(store, person)
        getattr(studies, {"running": "start", "paused": "pause", "closed": "close"}[state])(store, "s")
    before = rows_of(store, study)
    copy, screens = simulate(store, "s", Crowd(annotators=3))
    again, _screens = simulate(store, "s", Crowd(annotators=2))
    assert rows_of(store, study) == before
    assert (copy.name, copy.state, copy.simulated, again.name) == ("s-simulated", "closed", True, "s-simulated-2")
    with store.read() as connection:
        people = connection.execute(sa.select(annotators).where(annotators.c.study_id == copy.id).order_by(annotators.c.id)).all()
        assert events.verify(connection, copy.id) == []
    assert [(person.label, person.simulated) for person in people] == [(f"simulated-{number:03d}", True) for number in (1, 2, 3)]
    assert screens >= 12
    for refused in (lambda: visit.enter(store, copy.public_id), lambda: studies.invitable(store, copy.name),
                    lambda: studies.start(store, copy.name), lambda: studies.revise(store, copy.name),
                    lambda: simulate(store, copy.name, Crowd())):
        with pytest.raises(StudyError, match=r"simulated|closed|behind this link"):
            refused()


def test_nobody_can_join_a_copy_while_it_is_being_scored_and_a_cut_simulation_leaves_it_closed(store, edits):
    study = studies.create_from_edits(store, "s", [edits], StudyDesign(per_pair=2))
    seen = []

    def cut(_count: int) -> None:
        copy = records.find_study(store, "s-simulated")
        seen.append(copy.state)
        with pytest.raises(visit.NotYours):
            visit.enter(store, copy.public_id)
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        simulate(store, "s", Crowd(annotators=2), on_screen=cut)
    assert seen == ["running"]
    assert records.find_study(store, "s-simulated").state == "closed"
    assert records.find_study(store, "s") == study


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_ten_simulated_annotators_at_three_per_pair_share_the_work(store, tmp_path):
    studies.create_from_edits(store, "s", [draw_edits(tmp_path / "e", 60, size=(16, 16))], StudyDesign(per_pair=3, repeats=5, checks=2))
    copy, _screens = simulate(store, "s", Crowd(annotators=10))
    with store.read() as connection:
        rows = connection.execute(sa.select(annotators.c.label, assignments.c.state).join(
            annotators, annotators.c.id == assignments.c.annotator_id).where(
            assignments.c.study_id == copy.id, assignments.c.kind == "main")).all()
    counts = Counter(label for label, _state in rows)
    assert len(counts) == 10
    assert sum(counts.values()) == 180
    assert max(counts.values()) <= 2 * min(counts.values())            # 18 on average; before, three had 60 each


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_attentive_simulated_annotators_pass_attention_checks_and_careless_ones_do_not(store, tmp_path):
    studies.create_from_edits(store, "s", [draw_edits(tmp_path / "e", 40, size=(16, 16))], StudyDesign(per_pair=4, repeats=0, checks=50))
    copy, _screens = simulate(store, "s", Crowd(annotators=4, careless=0, skip=0))
    assert coverage(store, copy.name).slots_done == 160            # nobody's visit was ended
    assert [(row.checks >= 15, row.checks_failed) for row in figures.annotator_figures(store, copy.name)] == [(True, 0)] * 4
    copy, _screens = simulate(store, "s", Crowd(annotators=4, careless=1, skip=0))
    assert all(row.checks_failed for row in figures.annotator_figures(store, copy.name))


def test_simulated_annotators_keep_to_leases_and_least_seconds_of_the_study(store, edits):
    studies.create_from_edits(store, "s", [edits], StudyDesign(per_pair=2, lease_minutes=0.05, min_seconds=60))
    copy, _screens = simulate(store, "s", Crowd(annotators=4, skip=0))
    assert coverage(store, copy.name).slots_done == 12


def test_simulated_scores_say_so_in_tables_exports_and_imports(store, edits, tmp_path):
    studies.create_from_edits(store, "s", [edits], StudyDesign(per_pair=2))
    copy, _screens = simulate(store, "s", Crowd(annotators=3))
    table = study_table(store, copy.name, draws=0)
    for form in ("md", "tex"):
        assert "Simulated scores" in table.written(form)
        assert "annotators, all simulated" in table.written(form)
    assert set(pd.read_csv(io.StringIO(table.written("csv")))["simulated"]) == {table.annotators}
    data = dashboard(store, copy.name)
    assert data["study"]["simulated"]
    assert [row["simulated"] for row in data["annotators"]] == [True] * 3
    with (tmp_path / "s.csv").open("w", newline="", encoding="utf-8") as file:
        export(store, copy.name, file)
    assert pd.read_csv(tmp_path / "s.csv")["annotator"].str.fullmatch(r"simulated-\d{3}").all()
    again = import_file(store, "again", tmp_path / "s.csv")
    assert again.simulated
    assert "Simulated scores" in study_table(store, "again", draws=0).written("md")
