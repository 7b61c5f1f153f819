"""The secrets of a study database lie outside it, move there from databases of before, and can be replaced."""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

import mre.study.store as store_module
from mre.errors import SettingsError
from mre.study import keys, records, sessions, studies, visit
from mre.study.accounts import invite, read_invitation
from mre.study.design import StudyDesign
from mre.study.schema import store_settings
from mre.study.store import Store
from tests.study.conftest import database_of_its_own, draw_edits

ENVIRONMENT_KEY = "a key that only the environment knows"


class Place:
    """A database with its data folder; called, it opens a store on them, as another process would."""

    def __init__(self, data: Path, database: str | None) -> None:
        self.data, self.database = data, database

    def __call__(self) -> Store:
        return Store.open(self.data, self.database)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    if request.param == "sqlite":
        yield Place(tmp_path / "data", None)
        return
    with database_of_its_own(request.getfixturevalue("postgres")) as url:
        yield Place(tmp_path / "data", url)


def settings_of(store) -> dict[str, str]:
    with store.read() as connection:
        return dict(connection.execute(sa.select(store_settings.c.name, store_settings.c.value)).tuples().all())


def make_as_before(place: Place) -> str:
    """A database as the version before left it: in its first shape, with the secret in a table. Returns the secret."""
    secret = secrets.token_hex(32)
    place.data.mkdir()
    url = sa.make_url(place.database or f"sqlite:///{place.data}/studies.db")
    engine = sa.create_engine(url.set(drivername="postgresql+psycopg") if place.database else url)
    config = Config()
    config.set_main_option("script_location", str(Path(store_module.__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(store_settings.insert().values(name="secret", value=secret))
    engine.dispose()
    return secret


def test_the_database_alone_holds_no_secret_and_the_file_beside_it_is_private(place, tmp_path):
    store = place()
    told = settings_of(store)
    [file] = (tmp_path / "data").glob("study-keys-*.json")
    assert file.stat().st_mode & 0o777 == 0o600
    held = json.loads(file.read_text())
    assert held == {"signing": store.secret, "pseudonyms": store.pseudonym_key}
    assert not set(held.values()) & set(told.values())
    assert place().secret == store.secret


def test_a_database_of_before_gives_up_its_secret_and_what_it_signed_stays_valid(place, tmp_path):
    secret = make_as_before(place)
    link = invite(secret, "annotator", "some-study")
    store = place()
    assert "secret" not in settings_of(store)
    assert (store.secret, store.pseudonym_key) == (secret, secret)
    assert read_invitation(store.secret, link).study == "some-study"
    store.close()
    for path in (tmp_path / "data").glob("studies.db*"):
        assert secret.encode() not in path.read_bytes(), path.name


def test_with_a_key_in_the_environment_the_secrets_lie_encrypted_in_the_database(place, tmp_path, monkeypatch):
    before = place()
    secret = before.secret
    before.close()
    monkeypatch.setenv("MRE_SECRET_KEY", ENVIRONMENT_KEY)
    store = place()
    assert store.secret == secret
    assert not list((tmp_path / "data").glob("study-keys-*"))
    assert all(secret not in value for value in settings_of(store).values())
    store.close()
    shutil.rmtree(tmp_path / "data") if not store.is_sqlite else None           # PostgreSQL: another machine, without the folder
    assert place().secret == secret
    for wrong, told in (("another key of the environment", "is not the key"), ("", "is not set"), ("short", "at least 16")):
        monkeypatch.setenv("MRE_SECRET_KEY", wrong)
        with pytest.raises(SettingsError, match=told):
            _ = place().secret


def test_the_environments_own_key_can_be_replaced(place, monkeypatch):
    monkeypatch.setenv("MRE_SECRET_KEY", ENVIRONMENT_KEY)
    secret = place().secret
    monkeypatch.setenv("MRE_SECRET_KEY", "the next key of the environment")
    monkeypatch.setenv("MRE_SECRET_KEY_BEFORE", ENVIRONMENT_KEY)
    assert place().secret == secret
    monkeypatch.delenv("MRE_SECRET_KEY_BEFORE")
    assert place().secret == secret


def test_a_file_that_was_not_brought_along_is_missed_only_where_it_is_needed(place, tmp_path):
    store = place()
    studies.create_from_edits(store, "s", [draw_edits(tmp_path / "e", 3)], StudyDesign())
    study = studies.start(store, "s")
    [file] = (tmp_path / "data").glob("study-keys-*.json")
    kept = file.read_text()
    file.unlink()
    copy = place()
    assert [found.name for found in records.all_studies(copy)] == ["s"]
    with pytest.raises(SettingsError, match=rf"{file.name}.*rotate-secret --lost"):
        visit.enter(copy, study.public_id, key="account/ann")
    file.write_text(kept.replace('"signing": "', '"signing": "00'))
    with pytest.raises(SettingsError, match="not the present secrets"):
        _ = place().secret
    file.write_text("{}")
    with pytest.raises(SettingsError, match="not a file of keys"):
        _ = place().secret
    copy.rotate_keys(lost=True)
    visit.enter(copy, study.public_id, key="account/ann")


def test_rotation_ends_invitations_and_leaves_people_who_they_are(place, tmp_path, monkeypatch):
    store = place()
    studies.create_from_edits(store, "s", [draw_edits(tmp_path / "e", 3)], StudyDesign())
    study = studies.start(store, "s")
    link = invite(store.secret, "annotator", study.public_id)
    _token, ann = visit.enter(store, study.public_id, key="account/ann")
    other = place()                                     # a server that runs on
    place().rotate_keys()
    monkeypatch.setattr("mre.study.store.time.monotonic", lambda: 1e12)
    assert read_invitation(other.secret, link) is None
    assert visit.enter(other, study.public_id, key="account/ann")[1].label == ann.label


def test_the_command_replaces_the_secret_and_says_what_ends(place, capsys):
    from mre.__main__ import main
    store = place()
    secret, pseudonyms = store.secret, store.pseudonym_key
    digest = sessions.token_digest(sessions.begin(store, "ann", "m"))
    where = ["--data", str(place.data), *(["--database", place.database] if place.database else [])]
    assert main(["study", "rotate-secret", *where]) == 0
    told = capsys.readouterr().out
    assert told.startswith("1 sessions have ended")
    assert "invitation links" in told
    assert sessions.find(store, digest) is None
    assert place().secret != secret
    assert place().pseudonym_key == pseudonyms


def test_a_rotation_that_is_cut_off_leaves_the_keys_of_before(place, monkeypatch):
    store = place()
    secret = store.secret
    with monkeypatch.context() as patch:
        patch.setattr(keys, "_set", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            store.rotate_keys()
    assert place().secret == secret
    store.rotate_keys()
    assert place().secret not in (secret, "")


def test_sessions_end_on_the_server_and_take_their_visits_along(store, study, clock):
    token, other, visitor = sessions.begin(store, "ann", "m"), sessions.begin(store, "ann", "m"), sessions.begin(store)
    digest = sessions.token_digest(token)
    visit_token, _annotator = visit.enter(store, study.public_id, key="account/ann")
    sessions.tie_visit(store, visit_token, digest)
    assert sessions.find(store, digest).account == "ann"
    with store.read() as connection:
        held = json.dumps([list(row) for row in connection.execute(sa.text("select * from sessions")).tuples()])
    assert token not in held
    sessions.end(store, digest)
    assert sessions.find(store, digest) is None
    assert visit.visitor(store, visit_token) is None
    assert sessions.find(store, sessions.token_digest(other))
    assert sessions.end_all(store, "ann") == 1
    assert sessions.find(store, sessions.token_digest(visitor)).account is None
    clock.pass_seconds(sessions.SESSION_DAYS * 86400 + 1)
    assert sessions.find(store, sessions.token_digest(visitor)) is None
