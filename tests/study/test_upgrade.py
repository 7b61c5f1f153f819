"""A data folder of the version before is read as before: running studies go on, and what changed is told."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pandas as pd
import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from mre.errors import StudyError
from mre.study import events, figures, records, studies, visit
from mre.study.dashboard import dashboard
from mre.study.export import export
from mre.study.importer import import_file
from mre.study.schema import annotators, assignments, ratings
from mre.study.store import MIGRATIONS, Store, newest_revision
from mre.study.table import study_table
from tests.study.before import fill_as_before
from tests.study.conftest import Clock, database_of_its_own
from tests.study.guesser import _public
from tests.study.test_assignment import answer_one, check_balance, join


@pytest.fixture(params=["sqlite", "postgresql"])
def old(request, tmp_path):
    """A store of the version before, opened by this one."""
    if request.param == "sqlite":
        (tmp_path / "data").mkdir()
        fill_as_before(f"sqlite:///{tmp_path / 'data' / 'studies.db'}")
        store = Store.open(tmp_path / "data", clock=Clock())
        yield store
        store.close()
        return
    with database_of_its_own(request.getfixturevalue("postgres")) as url:
        fill_as_before(url)
        store = Store(url, clock=Clock())
        yield store
        store.close()


def exported(store, name: str, **options) -> pd.DataFrame:
    text = io.StringIO(newline="")
    export(store, name, text, **options)
    return pd.read_csv(io.StringIO(text.getvalue()))


def test_nothing_is_lost_and_every_log_still_holds(old):
    with old.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(ratings)).scalar_one() == 2 * (3 + 2 * 4 + 3 + 2 * 4)
        for study in records.all_studies(old):
            assert events.verify(connection, study.id) == []


def test_a_running_study_goes_on_with_the_order_of_its_seed_and_says_so(old):
    study = records.find_study(old, "people")
    assert study.order_cell == 5
    assert "began before orders were secret" in dashboard(old, "people")["study"]["order"]
    with old.read() as connection:
        first = connection.execute(sa.select(annotators.c.id).where(annotators.c.study_id == study.id).order_by(annotators.c.id)).scalar()
        person = visit.annotator_of(connection, first)
    for one in (person, join(old, study), join(old, study)):
        while answer_one(old, one):
            pass
    check_balance(old, study)
    with old.read() as connection:
        rows = connection.execute(sa.select(annotators.c.label, assignments.c.screen, assignments.c.side_order).join(
            annotators, annotators.c.id == assignments.c.annotator_id).where(assignments.c.study_id == study.id)).all()
    assert len(rows) > 8
    assert all(side == _public(5, label, screen) for label, screen, side in rows)
    assert set(exported(old, "people")["order_seed"]) == {5}
    studies.close(old, "people")
    assert set(exported(old, "people")["order_seed"]) == {5}


def test_a_draft_gets_a_secret_when_it_starts(old):
    assert records.find_study(old, "draft").order_secret is None
    assert studies.start(old, "draft").order_secret


def test_simulated_annotators_among_people_are_marked_and_left_out_unless_asked_for(old):
    rows = {row.annotator: row for row in figures.annotator_figures(old, "mixed")}
    assert {name: row.simulated for name, row in rows.items()} == {"drawn-001": True, "drawn-002": True, "a003": False}
    assert rows["drawn-001"].excluded == "simulated"
    assert set(exported(old, "mixed")["annotator"]) == {"a003"}
    assert set(exported(old, "mixed", simulated=True)["annotator"]) == {"drawn-001", "drawn-002", "a003"}
    table = study_table(old, "mixed", draws=0)
    assert (table.annotators, table.simulated) == (1, 0)
    assert "Human scores" in table.written("md")
    assert figures.method_means(old, "mixed")["n"].tolist() == [3] * 6
    assert all(figure.n == 3 for figure in figures.position_bias(old, "mixed").values())
    everyone = study_table(old, "mixed", draws=0, everyone=True)
    assert (everyone.annotators, everyone.simulated) == (3, 2)
    assert "3 annotators, 2 of them simulated" in everyone.written("md")
    assert {"simulated": 2}.items() <= pd.read_csv(io.StringIO(everyone.written("csv"))).iloc[0].to_dict().items()
    join(old, records.find_study(old, "mixed"))             # the people's study goes on


def test_a_study_with_simulated_annotators_alone_is_closed_to_people(old):
    study = records.find_study(old, "walkthrough")
    assert study.simulated
    with pytest.raises(visit.NotYours):
        visit.enter(old, study.public_id)
    assert "Simulated scores" in study_table(old, "walkthrough", draws=0).written("tex")
    assert set(exported(old, "walkthrough")["annotator"]) == {"drawn-001", "drawn-002"}


def test_an_export_of_simulated_annotators_of_before_is_still_known_for_one(old, tmp_path):
    with (tmp_path / "s.csv").open("w", newline="", encoding="utf-8") as file:
        export(old, "walkthrough", file)
    assert import_file(old, "again", tmp_path / "s.csv").simulated
    with pytest.raises(StudyError, match="simulated"):
        studies.invitable(old, "again")


def test_the_pages_list_no_study_that_people_cannot_take_part_in(old):
    from fastapi import FastAPI

    from tests.study.test_pages import Browser
    from ui.study.pages.routes import add_routes

    app = FastAPI()
    add_routes(app, SimpleNamespace(store=old))
    shown = {entry["study"] for entry in Browser(app, "").call("hello")["studies"]}
    names = {study.public_id: study.name for study in records.all_studies(old)}
    assert {names[public_id] for public_id in shown} == {"people", "mixed"}
    simulated = records.find_study(old, "walkthrough").public_id
    Browser(app, simulated).call("hello", 403)
    Browser(app, simulated).call("enter", 403, consent=True)


def test_a_store_counts_as_up_to_date_where_the_last_of_all_migrations_was_made():
    """By another route: the migrations' own chain, as alembic reads it."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == newest_revision()
