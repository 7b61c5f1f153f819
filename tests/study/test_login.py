"""Signing in and out: tries are limited whatever comes at once and from where, sessions end on the server, old hashes are made anew."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fastapi.testclient import TestClient

from mre.study import accounts as accounts_module
from mre.study import sessions, studies
from mre.study.accounts import Accounts, invite, write_account
from mre.study.design import StudyDesign
from tests.study.conftest import draw_edits, serving
from ui.site.login_limits import LIMITS, FairPool, TooManyWaiting, Tries, network_of

PASSWORDS = {"ada": ("researcher", "correct horse"), "ann": ("annotator", "annotate well")}
HEADER = {"X-Study": "1"}


@pytest.fixture
def studio_app(tmp_path, monkeypatch):
    """The whole application with empty tabs, which take the most time to draw: these are tests of its door."""
    from tests.ui.serving import draw_only
    from ui import app as application
    from ui.studio import StudioSettings
    draw_only(monkeypatch)
    for name, (role, password) in PASSWORDS.items():
        write_account(tmp_path / "accounts.json", name, role, password)
    app = application.build_app(StudioSettings(data=tmp_path / "data", auth=tmp_path / "accounts.json", trusted_proxies=("192.0.2.1",)))
    store = app.state.studio.store
    studies.create_from_edits(store, "s", [draw_edits(tmp_path / "e", 3)], StudyDesign(per_pair=2))
    app.state.study = studies.start(store, "s").public_id
    return app


def somebody(app, address: str = "198.51.100.7") -> TestClient:
    """A browser at an address, which a proxy reports."""
    return TestClient(app, follow_redirects=False, client=("192.0.2.1", 1), headers={"X-Forwarded-For": address})


def sign_in(client: TestClient, name: str, password: str | None = None) -> int:
    return client.post("/login", data={"name": name, "password": password or PASSWORDS[name][1]}).status_code


# ------------------------------------------------------------------------------------------------------------------ limits

def test_of_forty_guesses_at_once_five_are_evaluated(studio_app, monkeypatch):
    evaluated = []
    fits = accounts_module.password_fits
    monkeypatch.setattr(accounts_module, "password_fits", lambda given, stored: evaluated.append(given) or fits(given, stored))
    with serving(studio_app) as address:
        barrier = threading.Barrier(40)

        def guess(number: int) -> int:
            with httpx.Client(base_url=address, timeout=60) as client:
                barrier.wait()
                return client.post("/login", data={"name": "ada", "password": f"guess {number}"}).status_code
        with ThreadPoolExecutor(40) as pool:
            codes = list(pool.map(guess, range(40)))
    assert sorted(codes) == [401] * 5 + [429] * 35
    assert len(evaluated) == 5


def test_guessing_from_elsewhere_keeps_nobody_out(studio_app):
    known = somebody(studio_app, "203.0.113.1")
    assert sign_in(known, "ada") == 303
    attacker = somebody(studio_app, "198.51.100.66")
    assert [sign_in(attacker, "ada", f"guess {number}") for number in range(7)] == [401] * 5 + [429] * 2
    assert sign_in(attacker, "ada") == 429
    assert sign_in(somebody(studio_app, "203.0.113.2"), "ada") == 303            # a new device elsewhere
    known.headers["X-Forwarded-For"] = "198.51.100.66"                           # a known one behind the attacker's very address
    assert sign_in(known, "ada") == 303
    assert [sign_in(known, "ada", "mistyped") for _ in range(11)] == [401] * 10 + [429]     # its own allowance is no freebie


def test_even_a_flood_from_everywhere_leaves_known_devices_in(studio_app):
    known = somebody(studio_app, "203.0.113.1")
    assert sign_in(known, "ada") == 303
    tries = studio_app.state.studio.access.login.tries
    while not tries.take(("account", "ada")):
        pass
    assert sign_in(somebody(studio_app, "203.0.113.9"), "ada") == 429
    assert sign_in(known, "ada") == 303


def test_right_passwords_use_up_nothing_and_an_address_has_its_limit_over_all_names(studio_app):
    assert [sign_in(somebody(studio_app), "ada") for _ in range(7)] == [303] * 7
    client = somebody(studio_app)
    tries = studio_app.state.studio.access.login.tries
    for _ in range(LIMITS["address"][0][0] - 1):
        assert not tries.take(("address", "198.51.100.7"))
    answers = [client.post("/login", data={"name": name, "password": "wrong"}) for name in ("x1", "x2")]
    assert [answer.status_code for answer in answers] == [401, 429]
    assert 0 < int(answers[1].headers["retry-after"]) <= 60


def test_forged_device_cookies_and_untrusted_proxies_give_no_allowance(studio_app):
    client = TestClient(studio_app, follow_redirects=False, client=("198.51.100.1", 1))
    client.cookies.set("mre_device", "forged")
    codes = []
    for number in range(7):
        client.headers["X-Forwarded-For"] = f"203.0.113.{number}"
        codes.append(sign_in(client, "ada", "wrong"))
    assert codes == [401] * 5 + [429] * 2


def test_tries_are_bounded_in_memory_and_come_back_with_time():
    now = [0.0]
    tries = Tries(clock=lambda: now[0], most_keys=100)
    for number in range(1000):
        tries.take(("address", number))
    assert len(tries) == 100
    key = ("account and address", ("ada", "here"))
    assert [tries.take(key) for _ in range(6)] == [0] * 5 + [60]
    now[0] = 61
    assert tries.take(key) == 0
    other = ("address", "new")
    for _ in range(4):
        tries.take(key)
    assert tries.take(other, key) > 0
    assert other not in tries._tries                    # a refused try counts nowhere
    tries.take_back(key)
    assert tries.take(other, key) == 0
    assert [network_of(address) for address in ("192.0.2.7", "2001:db8::1", "2001:db8::ffff", "::ffff:192.0.2.7", "unix")] == [
        "192.0.2.7", "2001:db8::/64", "2001:db8::/64", "192.0.2.7", "unix"]


def test_who_asks_for_a_lot_of_hashing_delays_only_themself_and_known_devices_come_first():
    pool, order, gate = FairPool(threads=1, most_waiting=12), [], threading.Event()
    running = pool.submit("flood", gate.wait)
    time.sleep(0.05)
    futures = [pool.submit("flood", lambda number=number: order.append(f"flood {number}")) for number in range(10)]
    futures += [pool.submit("other", lambda: order.append("other")), pool.submit("other", lambda: order.append("other 2"))]
    with pytest.raises(TooManyWaiting):
        pool.submit("another", print)
    futures.append(pool.submit("device", lambda: order.append("device"), first=True))
    gate.set()
    for future in [running, *futures]:
        future.result(10)
    assert order[:5] == ["device", "flood 0", "other", "flood 1", "other 2"]
    with pytest.raises(ZeroDivisionError):
        pool.submit("fault", lambda: 1 // 0).result(10)
    assert pool.submit("after", lambda: 5).result(10) == 5


# ---------------------------------------------------------------------------------------------------------------- sessions

def test_logging_out_ends_the_session_on_the_server_and_only_there_by_a_form(studio_app):
    client = somebody(studio_app)
    sign_in(client, "ann")
    body = {"study": studio_app.state.study, "consent": True}
    assert client.post("/study/api/enter", json=body, headers=HEADER).status_code == 200
    kept = dict(client.cookies)
    page = client.get("/logout")
    assert page.status_code == 200
    assert "ann" in page.text
    assert client.post("/study/api/work", json=body, headers=HEADER).status_code == 200       # a link has ended nothing
    assert client.post("/logout").status_code == 303
    for name, value in kept.items():
        client.cookies.set(name, value)                                                       # whoever kept the cookies
    assert client.get("/logout").headers["location"] == "/login"
    assert client.post("/study/api/work", json=body, headers=HEADER).status_code == 403
    assert client.post("/study/api/enter", json=body, headers=HEADER).status_code == 403


def test_signing_out_everywhere_and_a_new_password_end_all_sessions_of_the_account_alone(studio_app, tmp_path):
    here, there, other = somebody(studio_app), somebody(studio_app), somebody(studio_app)
    for client, name in ((here, "ada"), (there, "ada"), (other, "ann")):
        sign_in(client, name)
    assert here.post("/logout", data={"everywhere": "1"}).status_code == 303
    assert there.get("/config").status_code == 401
    assert other.get("/config").status_code == 403
    body = {"study": studio_app.state.study, "consent": True}
    assert other.post("/study/api/enter", json=body, headers=HEADER).status_code == 200
    write_account(tmp_path / "accounts.json", "ann", "annotator", "another password")
    assert other.get("/config").status_code == 401
    assert other.post("/study/api/work", json=body, headers=HEADER).status_code == 403


def test_a_session_ended_by_another_process_is_over_soon(studio_app, monkeypatch):
    client = somebody(studio_app)
    sign_in(client, "ada")
    assert client.get("/config").status_code == 200
    sessions.end_all(studio_app.state.studio.store)
    monkeypatch.setattr("ui.site.access.time.monotonic", lambda after=time.monotonic: after() + 6)
    assert client.get("/config").status_code == 401


def test_signing_in_anew_ends_the_session_before_and_signed_cookies_of_before_are_nothing(studio_app):
    from itsdangerous import URLSafeTimedSerializer
    client = somebody(studio_app)
    sign_in(client, "ada")
    before = client.cookies["mre_session"]
    sign_in(client, "ada")
    again = somebody(studio_app)
    again.cookies.set("mre_session", before)
    assert again.get("/config").status_code == 401
    store = studio_app.state.studio.store
    old = URLSafeTimedSerializer(store.secret, salt="mre-studio/session").dumps({"role": "visitor"})
    again.cookies.set("mre_session", old)
    assert again.get("/config").status_code == 401


def test_a_visitors_link_takes_nobodys_place(studio_app):
    link = invite(studio_app.state.studio.store.secret, "visitor")
    client = somebody(studio_app)
    sign_in(client, "ada")
    assert client.get("/join", params={"invitation": link}).status_code == 303
    assert client.get("/research/export/s.csv").status_code == 200


def test_where_the_keys_are_missing_people_are_told_to_wait_and_the_log_names_the_file(studio_app, tmp_path, caplog, monkeypatch):
    store = studio_app.state.studio.store
    [file] = (tmp_path / "data").glob("study-keys-*.json")
    file.unlink()
    monkeypatch.setattr(store, "_keys", None)
    client = somebody(studio_app)
    assert sign_in(client, "ann") == 503
    study = studio_app.state.study
    reply = client.post("/study/api/enter", json={"study": study, "consent": True, "invitation": "x"}, headers=HEADER)
    assert (reply.status_code, reply.json()["code"]) == (503, "busy")
    assert file.name in caplog.text
    assert str(tmp_path) not in reply.text


def test_a_long_form_is_not_read(studio_app):
    client = somebody(studio_app)
    assert client.post("/login", data={"name": "ada", "password": "x" * 30_000}).status_code == 413
    assert client.post("/login", content=iter([b"name=ada&", b"password=x"]),
                       headers={"Content-Type": "application/x-www-form-urlencoded"}).status_code == 413


# ---------------------------------------------------------------------------------------------------------------- accounts

def old_account(path, name: str, role: str, password: str) -> str:
    """An accounts file as the version before wrote it. Returns the mark that its sessions had."""
    salt = bytes(range(16))
    stored = f"scrypt:{salt.hex()}:{hashlib.scrypt(password.encode(), salt=salt, dklen=32, n=2**14, r=8, p=1).hex()}"
    path.write_text(json.dumps({"accounts": {name: {"role": role, "password": stored}}}))
    return hashlib.sha256(("session:" + stored).encode()).hexdigest()[:16]


def test_a_scrypt_hash_becomes_argon2id_at_the_next_login_and_sessions_go_on(tmp_path):
    path = tmp_path / "accounts.json"
    mark = old_account(path, "eve", "researcher", "kept since long")
    path.chmod(0o644)
    accounts = Accounts(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert accounts.check("eve", "wrong") is None
    assert "scrypt:" in path.read_text()
    assert accounts.check("eve", "kept since long") == "researcher"
    assert json.loads(path.read_text())["accounts"]["eve"]["password"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert accounts.role("eve", mark) == "researcher"
    assert accounts.check("eve", "kept since long") == "researcher"
    assert accounts.check("eve", "wrong") is None
    write_account(path, "eve", "researcher", "a new password")
    assert accounts.role("eve", mark) is None


def test_an_accounts_file_that_cannot_be_written_still_lets_people_in(tmp_path, monkeypatch, caplog):
    path = tmp_path / "accounts.json"
    old_account(path, "eve", "researcher", "kept since long")
    monkeypatch.setattr(accounts_module, "write_private", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Read-only")))
    assert Accounts(path).check("eve", "kept since long") == "researcher"
    assert "stays in its old form" in caplog.text
    assert "scrypt:" in path.read_text()


def test_accounts_added_at_once_are_all_there(tmp_path):
    path = tmp_path / "accounts.json"
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda number: write_account(path, f"user{number}", "visitor", "long enough"), range(6)))
    assert len(json.loads(path.read_text())["accounts"]) == 6
