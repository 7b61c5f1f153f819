"""Making and running studies: every fault of the input is named with its row; a started study is frozen; the database forbids the rest."""

from __future__ import annotations

import csv
import sqlite3
import threading
import zipfile

import numpy as np
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from PIL import Image

from mre.errors import DataError, SettingsError, StudyError
from mre.files import read_table
from mre.study import demo, events, figures, records, studies, visit
from mre.study.answers import Answer
from mre.study.coverage import coverage
from mre.study.design import StudyDesign
from mre.study.intake import StudyFaults, unpacked
from mre.study.power import power
from mre.study.schema import annotators, assignments, items, metadata, ratings
from mre.study.schema import events as event_rows
from mre.study.simulate import Crowd, simulate
from mre.study.store import DATABASE_NAME, Store, StoreUnavailable
from mre.study.table import study_table
from tests.study.conftest import draw_edits


def faults_of(store, folder, **options) -> str:
    with pytest.raises(StudyFaults) as caught:
        studies.create_from_edits(store, "bad", [folder], StudyDesign(), **options)
    with store.read() as connection:
        assert not connection.execute(sa.select(items.c.id)).first()
        assert not connection.execute(sa.text("select digest from images")).first()
    return "\n".join(caught.value.faults)


def change_table(folder, old: str, new: str, count: int = 1) -> None:
    path = folder / "edits.csv"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, count), encoding="utf-8")


def set_cell(folder, row: int, column: str, value: str) -> None:
    """Change one cell of edits.csv; rows are counted as a text editor counts lines."""
    with (folder / "edits.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    rows[row - 1][rows[0].index(column)] = value
    with (folder / "edits.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def test_every_fault_of_a_folder_is_listed_with_its_row(store, edits):
    (edits / "tiny" / "item-001.png").unlink()
    (edits / "tiny" / "item-002.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    Image.new("RGB", (20, 20)).save(edits / "tiny-baseline" / "item-003.png")
    told = faults_of(store, edits)
    assert "row 4: edited:" in told
    assert "no such file" in told
    assert "row 6: edited:" in told
    assert "row 9: edited:" in told
    assert "20x20, the original is 48x32" in told
    assert told.count("\n") == 2


def test_faults_of_table_and_pictures_are_listed_together_and_no_picture_is_kept(store, edits):
    set_cell(edits, 13, "instruction", "")                  # item-005 then lacks an edit, too
    (edits / "tiny" / "item-000.png").write_bytes(b"no picture")
    told = faults_of(store, edits)
    for part in ("row 13: instruction is empty", "item 'item-005' has no edit by tiny-baseline", "row 2: edited:"):
        assert part in told, part
    with store.read() as connection:
        assert connection.execute(sa.text("select count(*) from images")).scalar_one() == 0


def test_faults_of_the_table_itself_are_listed_with_their_rows(store, edits):
    for row, column, value in ((5, "item", "Item-000"), (7, "instruction", "another text"), (9, "method", "tiny"), (10, "instruction", ""),
                               (12, "method", "original")):
        set_cell(edits, row, column, value)
    told = faults_of(store, edits)
    for part in ("differ only in case", "row 7: instruction of item 'item-002' differs",
                 "row 9: item 'item-003' has a second edit by 'tiny'", "row 10: instruction is empty",
                 "row 12: method must not be called 'original'", "has no edit by tiny"):
        assert part in told, part


def test_edits_of_another_size_are_fitted_on_request(store, edits):
    Image.new("RGB", (96, 64)).save(edits / "tiny" / "item-000.png")
    studies.create_from_edits(store, "s", [edits], StudyDesign(), fit=True)
    with store.read() as connection:
        assert set(connection.execute(sa.text("select width, height from images")).all()) == {(48, 32)}


def test_pictures_keep_nothing_of_their_files_but_pixels(store, edits):
    path = edits / "tiny" / "item-000.png"
    pixels = np.asarray(Image.open(path)).copy()
    from PIL.PngImagePlugin import PngInfo
    info = PngInfo()
    info.add_text("mre", "secret recipe")
    Image.fromarray(pixels).save(path, pnginfo=info, dpi=(300, 300))
    studies.create_from_edits(store, "s", [edits], StudyDesign())
    with store.read() as connection:
        pngs = connection.execute(sa.text("select png from images")).scalars().all()
        source = connection.execute(sa.text("select source from edits")).scalars().all()
    assert not any(b"secret" in bytes(png) or b"tEXt" in bytes(png) or b"pHYs" in bytes(png) for png in pngs)
    assert any("item-000" in text for text in source)           # the source stays known on the server


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables_in_the_encodings_and_delimiters_of_spreadsheets_are_read(tmp_path, encoding, delimiter):
    rows = [["item", "instruction"], ["a", 'say "hi", now;\nthen stop'], ["b", "改成蓝色 🙂"]]
    text = "\r\n".join(delimiter.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows)
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    found = list(read_table(tmp_path / "t.csv"))
    assert [list(cells.values()) for _line, cells in found] == rows[1:]
    assert found[1][0] == 4                                     # as a text editor counts


def test_a_table_in_another_encoding_is_refused_with_its_row(tmp_path):
    (tmp_path / "t.csv").write_bytes("item,instruction\na,caf\u00e9\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"t\.csv: row 2: not UTF-8"):
        list(read_table(tmp_path / "t.csv"))


def test_uploaded_archives_cannot_write_or_read_elsewhere(tmp_path, store, edits):
    for name in ("../evil.csv", "/etc/evil.csv", "a/../../evil.csv"):
        with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
            archive.writestr(name, "x")
        with pytest.raises(DataError, match="outside"), unpacked(tmp_path / "bad.zip"):
            pass
    (tmp_path / "none.zip").write_bytes(b"PK nothing")
    with pytest.raises(DataError, match="not a ZIP"), unpacked(tmp_path / "none.zip"):
        pass
    change_table(edits, "photos/item-000.png", "../../photos/item-000.png", 2)
    assert "outside the folder" in faults_of(store, edits, inside=edits)


def test_a_started_study_is_frozen_and_a_change_is_a_new_version(store, study):
    assert study.digest
    with pytest.raises(StudyError, match="revise demo"):
        studies.change_design(store, "demo", per_pair=5)
    second = studies.revise(store, "demo", per_pair=5)
    assert (second.name, second.version, second.state, second.design.per_pair) == ("demo@2", 2, "draft", 5)
    assert studies.start(store, "demo@2").digest != study.digest
    assert studies.revise(store, "demo@2").name == "demo@3"
    studies.close(store, "demo")
    with pytest.raises(StudyError, match="closed"):
        studies.start(store, "demo")


def test_the_schema_itself_refuses_what_must_never_be(store, study):
    token, person = visit.enter(store, study.public_id)
    visit.consent(store, person)
    person = visit.visitor(store, token)
    shown = visit.work(store, person)["current"]
    visit.answer(store, person, shown["screen"], Answer("k" * 16, 0, ((1, 2, 3), (4, 5, 0))))
    with store.read() as connection:
        rating = dict(connection.execute(sa.select(ratings)).first()._mapping)
        mine = connection.execute(sa.select(assignments).where(assignments.c.annotator_id == person.id)).all()
        free = connection.execute(sa.select(assignments.c.id).where(assignments.c.state == "open", assignments.c.pair_id == mine[0].pair_id)
                                  ).scalar()
    rating.pop("id")
    forbidden = [
        ratings.insert().values(**rating),                                          # a second final rating
        ratings.update().values(quality=6), ratings.update().values(following=-1),  # off the scale
        assignments.update().where(assignments.c.id == free).values(annotator_id=person.id, state="leased", screen=99),     # a pair twice
        assignments.update().where(assignments.c.id == mine[1].id).values(screen=mine[0].screen),
        assignments.update().where(assignments.c.id == free).values(state="done"),  # done by nobody
        event_rows.update().values(actor="somebody else"), event_rows.delete()]     # the log is append-only
    for statement in forbidden:
        with pytest.raises((StudyError, sa.exc.DBAPIError)), store.write() as connection:
            connection.execute(statement)
    with store.read() as connection:
        assert events.verify(connection, study.id) == []


def test_a_rating_changed_behind_the_logs_back_is_noticed(store, study):
    token, person = visit.enter(store, study.public_id)
    visit.consent(store, person)
    person = visit.visitor(store, token)
    visit.answer(store, person, visit.work(store, person)["current"]["screen"], Answer("k" * 16, 0, ((1, 2, 3), (4, 5, 0))))
    with store.write() as connection:
        connection.execute(ratings.update().where(ratings.c.shown_as == 2).values(quality=5))
    with store.read() as connection:
        told = events.verify(connection, study.id)
    assert len(told) == 1
    assert "a001" in told[0]


def test_migrations_build_the_tables_that_the_code_uses_and_run_once(store):
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    Store(store.url).close()


def test_a_database_of_a_newer_program_and_a_foreign_file_are_refused(tmp_path):
    store = Store.open(tmp_path)
    with store.write() as connection:
        connection.execute(sa.text("update alembic_version set version_num = '9999'"))
    store.close()
    with pytest.raises(StudyError, match="newer"):
        Store.open(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "studies.db").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(StudyError, match="not a study database"):
        Store.open(tmp_path / "other")
    with pytest.raises(SettingsError, match="sqlite or postgresql"):
        Store("mysql://somewhere/x")


def test_a_locked_database_and_a_full_disk_say_so_and_save_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("mre.study.store.BUSY_SECONDS", 0.1)
    store = Store.open(tmp_path)
    other = sqlite3.connect(tmp_path / "studies.db", isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(StoreUnavailable, match=r"busy.*nothing was saved"):
        studies.create_from_edits(store, "s", [draw_edits(tmp_path / "e", 1)], StudyDesign())
    other.execute("rollback")
    with store.engine.connect() as connection:
        pages = connection.exec_driver_sql("pragma page_count").scalar()
    store.engine.dispose()

    @sa.event.listens_for(store.engine, "connect")
    def _fill_up(connection, _record) -> None:
        connection.execute(f"pragma max_page_count = {pages + 1}")
    with pytest.raises(StoreUnavailable, match="disk is full"):
        studies.create_from_edits(store, "s", [draw_edits(tmp_path / "e2", 6, size=(256, 256))], StudyDesign())
    other.close()
    store.close()


def test_a_backup_that_fails_leaves_nothing_in_the_next_ones_way(tmp_path, monkeypatch):
    store, place = Store.open(tmp_path / "data"), tmp_path / "copy.db"
    monkeypatch.setattr("mre.study.store._driver", lambda connection: place.write_bytes(b"half") and 1 / 0)
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        store.backup(place)
    monkeypatch.undo()
    assert not place.exists()
    store.backup(place)
    store.close()


def test_a_backup_is_a_whole_store(tmp_path, edits):
    store = Store.open(tmp_path / "data")
    studies.create_from_edits(store, "s", [edits], StudyDesign())
    (tmp_path / "copy").mkdir()
    store.backup(tmp_path / "copy" / "studies.db")
    copy = Store.open(tmp_path / "copy")
    assert records.find_study(copy, "s").public_id == records.find_study(store, "s").public_id
    with pytest.raises(StudyError, match="exists"):
        store.backup(tmp_path / "copy" / "studies.db")
    copy.close()
    store.close()


def test_the_figures_of_a_study_match_a_count_by_hand(store, edits, known_order):
    studies.create_from_edits(store, "s", [edits], StudyDesign(per_pair=2, repeats=34, repeat_gap=2, checks=34, seed=1))
    study = studies.start(store, "s")
    for number in range(2):
        token, person = visit.enter(store, study.public_id)
        visit.consent(store, person)
        person = visit.visitor(store, token)
        while shown := visit.work(store, person)["current"]:
            score = (((number + 1,) * 3,) * 2)
            visit.answer(store, person, shown["screen"], Answer(f"key-{shown['screen'][:20]}", 0, score, active_ms=0))
    found = coverage(store, "s")
    assert (found.pairs, found.pairs_complete, found.slots_done, found.slots_open, found.annotators) == (6, 6, 12, 0, 2)
    first, second = figures.annotator_figures(store, "s")
    assert first.means == (1.0, 1.0, 1.0)
    assert second.means == (2.0, 2.0, 2.0)
    assert (first.spread, first.straight_lines, first.repeats, first.repeat_error) == (0.0, 1.0, 2, 0.0)
    assert (first.checks, first.checks_failed) == (2, 1)        # one is the original, scored 1 for preserving
    means = figures.method_means(store, "s")
    assert means["mean"].tolist() == [1.5] * 6
    assert all(figure.value == 0 for figure in figures.position_bias(store, "s").values())
    studies.exclude(store, "s", "a001", "all ones")
    assert figures.method_means(store, "s")["mean"].tolist() == [2.0] * 6
    with pytest.raises(StudyError, match="already"):
        studies.exclude(store, "s", "a001", "again")


def test_table_3_finds_the_difference_that_was_simulated(store, tmp_path):
    studies.create_from_edits(store, "s", [draw_edits(tmp_path / "e", 40, ("first_one", "second"), (16, 16))],
                              StudyDesign(per_pair=3, repeats=0, checks=0))
    simulate(store, "s", Crowd(annotators=3, gap=(1.0, 0.0, -1.0), noise=0.3, bias=0.2, careless=0, skip=0, edit_spread=0.2))
    table = study_table(store, "s-simulated", draws=300)
    following, _preserving, quality = table.comparisons
    assert following.difference.low > 0.6
    assert quality.difference.high < -0.6
    assert following.holm_p < 0.001
    assert (table.items, table.annotators, table.means[0].ratings) == (40, 3, 120)
    frame = figures.score_frame(store, "s-simulated")
    by_hand = frame[frame["method"] == "second"].groupby("item")["following"].mean().mean()
    assert table.mean("second", "following").mean.value == pytest.approx(by_hand)
    assert "first\\_one" in table.written("tex")
    assert f"{by_hand:.2f}" in table.written("md")
    assert len(table.written("csv").splitlines()) == 1 + 6 + 3


def test_power_agrees_with_the_known_sizes_of_the_paired_t_test():
    for effect, needed in ((0.1, 787), (0.2, 199), (0.3, 90), (0.5, 34)):
        assert power(effect, 560, 1, between=1.0, within=0.0).items_needed == needed
    assert power(0.1186, 560, 1, between=1.0, within=0.0).power == pytest.approx(0.8, abs=0.002)
    with pytest.raises(StudyError, match="gap"):
        power(0, 10, 1, between=1, within=1)


def test_the_demo_study_is_ready_at_first_start_and_only_then(store, tmp_path):
    class Mirror:
        def __init__(self, name: str) -> None:
            self.name = name

        def edit(self, image, settings):
            return type("Result", (), {"image": image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "seconds": 0.1})

    made = demo.make_edits(tmp_path / "demo", ("one", "two"), editor_of=Mirror)
    assert made == 2 * 7 * demo.PER_TYPE
    found = demo.ensure_demo(store, tmp_path / "demo")
    assert (found.name, found.state) == ("demo", "running")
    assert demo.ensure_demo(store, tmp_path / "demo").id == found.id
    with store.read() as connection:
        kinds = connection.execute(sa.select(sa.func.count(sa.distinct(items.c.edit_type)))).scalar_one()
        assert connection.execute(sa.select(sa.func.count()).select_from(annotators)).scalar_one() == 0
    assert kinds == 7


def test_a_store_that_another_process_is_just_making_is_waited_for(tmp_path):
    (tmp_path / "data").mkdir()
    other = sqlite3.connect(tmp_path / "data" / DATABASE_NAME, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.5, other.execute, ["COMMIT"])
    release.start()
    Store.open(tmp_path / "data").close()
    release.join()


def test_status_and_table_show_one_mean_and_leave_out_the_same_annotators(store, edits):
    """Two annotators score everything, a third one two items alone, always better on the left: an exclusion moves all figures alike."""
    studies.create_from_edits(store, "s", [edits], StudyDesign(per_pair=3, repeats=0, checks=0))
    study = studies.start(store, "s")
    for screens, scores in ((6, ((4,) * 3, (2,) * 3)), (6, ((3,) * 3, (3,) * 3)), (2, ((5,) * 3, (0,) * 3))):
        token, person = visit.enter(store, study.public_id)
        visit.consent(store, person)
        person = visit.visitor(store, token)
        for _ in range(screens):
            shown = visit.work(store, person)["current"]
            visit.answer(store, person, shown["screen"], Answer(f"key-{shown['screen'][:20]}", 0, scores, active_ms=0))
    for ratings_each, mean_gap in ((14, (6 * 2 + 2 * 5) / 14), (12, 1.0)):
        table, means = study_table(store, "s", draws=50), figures.method_means(store, "s")
        for row in means.itertuples():
            assert row.mean == pytest.approx(table.mean(row.method, row.perspective).mean.value)
            assert row.n == table.mean(row.method, row.perspective).ratings == ratings_each
        bias = figures.position_bias(store, "s")["quality"]
        assert (bias.value, bias.n) == (pytest.approx(mean_gap), ratings_each)
        if ratings_each == 14:
            studies.exclude(store, "s", "a003", "always left")
    assert figures.position_bias(store, "s", everyone=True)["quality"].n == 14
