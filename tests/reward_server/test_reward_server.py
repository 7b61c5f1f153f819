"""A judge behind HTTP, in both forms that training frameworks speak, on a real socket."""

import base64
import http.client
import importlib.util
import io
import json
import threading
import time
import urllib.error
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import uvicorn
from PIL import Image

from mre.__main__ import main
from mre.judge.kinds import make_judge
from mre.judge.pictures import as_array
from mre.judge.verdicts import Ask, Verdict, one_by_one
from mre.reward_server.app import Gate, reward_app
from mre.reward_server.scorer import Busy, Scorer
from tests.conftest import ROOT

KEY = "a key of sixteen letters"


class Redness:
    """A judge whose scores can be worked out by hand: the reds of the edit, and of the original; green pictures it cannot judge."""

    name, version, perspectives = "redness", "1", ("following", "quality")

    def __init__(self):
        self.batches = []
        self.gate = threading.Event()
        self.gate.set()

    def score_all(self, asks, task, on_verdicts):
        asks = list(asks)
        self.batches.append(len(asks))
        self.gate.wait(10)
        return one_by_one(self, asks, task, on_verdicts, self._verdicts)

    def _verdicts(self, ask):
        edited, original = (as_array(picture) for picture in (ask.edited, ask.original))
        if edited[0, 0, 1] == 255:
            return [Verdict(name, None, error="green") for name in self.perspectives]
        return [Verdict("following", 5 * edited[..., 0].mean() / 255, deviation=0.5), Verdict("quality", 5 * original[..., 0].mean() / 255)]


class Served:
    """An application on a free port of this machine."""

    def __init__(self, app) -> None:
        self.server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
        socket = self.server.config.bind_socket()
        socket.listen()
        self.port = socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.run, args=([socket],), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)

    def ask(self, method: str, path: str, body=None, **headers) -> tuple[int, dict]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        given = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, None if body is None else body if isinstance(body, bytes) else json.dumps(body), given)
        reply = connection.getresponse()
        content = reply.read()
        connection.close()
        return reply.status, json.loads(content) if content.startswith(b"{") else {"detail": content.decode()}


@pytest.fixture(scope="module")
def judge():
    return Redness()


@pytest.fixture(scope="module")
def served(judge):
    scorer = Scorer(judge, batch=8, waiting=40)
    server = Served(reward_app(scorer))
    yield server
    server.stop()
    scorer.close()


def png(red: int, green: int = 0, size=(16, 16)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (red, green, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def client(name: str):
    """One of the example clients in docs/clients."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "clients" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_flow_factorys_form_gives_one_bounded_reward_an_edit_and_names_its_parts(served):
    reply = client("flow_factory_client").compute(served.url, ["make it red"] * 2, [png(255), png(51)], [png(204), png(255)])
    assert reply["rewards"] == pytest.approx([(1 * 0.8) ** 0.5, (0.2 * 1) ** 0.5])
    assert reply["scores"][0] == pytest.approx({"following": 1.0, "quality": 0.8, "following_deviation": 0.1, "overall": 0.8**0.5})
    assert (reply["judge"], reply["judge_version"]) == ("redness", "1")


def test_unirls_form_gives_the_rewards_that_were_asked_for(served):
    edits = [("make it red", png(0), png(255)), ("make it red", png(255), png(0, green=255))]
    reply = client("unirl_client").score(served.url, edits, ["following", "edit"])
    assert reply["results"][0]["following"] == {"following": 1.0}
    assert reply["results"][0]["edit"] == pytest.approx({"following": 1.0, "quality": 0.0, "following_deviation": 0.1, "overall": 0.0})
    assert reply["results"][1] == {}
    assert "green" in reply["errors"][1]["following"]
    assert reply["errors"][0] == {}
    assert served.ask("GET", "/rewards")[1]["rewards"] == ["edit", "overall", "following", "quality"]
    status, health = served.ask("GET", "/health")
    assert (status, health["status"], health["waiting"]) == (200, "ok", 0)


def test_a_picture_that_cannot_be_read_fails_its_own_request_of_a_batch_and_no_other(served):
    history = [{"text": "x", "image_b64": text(png(9))}, {"text": "x", "image_b64": text(b"no picture")}]
    good = [{"text": "x", "image_b64": text(png(9))}] * 2
    body = {"requests": [{"history": history, "required_rewards": ["overall"]}, {"history": good, "required_rewards": ["overall"]}]}
    status, reply = served.ask("POST", "/score", body)
    assert status == 200
    assert "requests[0].history[1].image_b64: not a picture" in reply["errors"][0]["overall"]
    assert reply["results"][1]["overall"]["overall"] == pytest.approx(9 / 255)


def test_an_edit_that_the_judge_cannot_score_has_no_reward_at_all(served):
    with pytest.raises(urllib.error.HTTPError, match="502") as caught:
        client("flow_factory_client").compute(served.url, ["x"], [png(0, green=255)], [png(1)])
    assert "green" in json.load(caught.value)["detail"]


def test_what_comes_in_while_the_judge_works_is_scored_together_and_each_request_gets_its_own(served, judge):
    judge.batches.clear()
    judge.gate.clear()

    def one(red):
        return client("flow_factory_client").compute(served.url, ["x"], [png(red)], [png(255)])["scores"][0]["following"]

    with ThreadPoolExecutor(12) as pool:
        first = pool.submit(one, 0)
        while not judge.batches:
            time.sleep(0.005)
        rest = [pool.submit(one, red) for red in range(1, 12)]
        while served.ask("GET", "/health")[1]["waiting"] < 12:
            time.sleep(0.005)
        judge.gate.set()
        assert [future.result() for future in (first, *rest)] == pytest.approx([red / 255 for red in range(12)])
    assert judge.batches == [1, 8, 3]


def test_more_than_may_wait_is_refused_with_503_and_what_waits_is_not_lost(judge):
    scorer = Scorer(judge, batch=2, waiting=3)
    judge.gate.clear()
    made = [scorer.submit([Ask("x", "x", Image.new("RGB", (16, 16)), Image.new("RGB", (16, 16)))]) for _ in range(3)]
    with pytest.raises(Busy, match="3 edits are waiting"):
        scorer.submit([Ask("x", "x", b"", b"")])
    judge.gate.set()
    assert all(len(future.result(10)) == 1 for future in made)
    scorer.close()


def test_a_request_that_could_never_wait_is_not_told_to_come_again(served):
    status, reply = served.ask("POST", "/compute", {"prompt": ["x"] * 41, "image": [text(png(1))] * 41,
                                                    "condition_images": [[text(png(1))]] * 41})
    assert (status, reply["detail"]) == (422, "41 edits in one request; this server takes at most 40")


def test_a_body_of_a_gigabyte_is_refused_before_it_is_sent(served):
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    connection.putrequest("POST", "/compute")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(10**9))
    connection.endheaders()
    started = time.perf_counter()
    reply = connection.getresponse()
    assert reply.status == 413
    assert time.perf_counter() - started < 2
    connection.close()


def test_a_body_that_hides_its_length_ends_at_the_limit(judge, monkeypatch):
    monkeypatch.setattr(Gate.__init__, "__defaults__", (None, 10_000, 10**6))
    scorer = Scorer(judge)
    server = Served(reward_app(scorer))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("POST", "/compute", iter([b"x" * 8000] * 3), {"Content-Type": "application/json"}, encode_chunked=True)
    reply = connection.getresponse()
    assert (reply.status, "at most 10,000 bytes" in reply.read().decode()) == (422, True)
    connection.close()
    server.stop()
    scorer.close()


def bomb(side: int = 60_000) -> bytes:
    """A PNG of a few hundred bytes whose header promises 3.6 billion pixels."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    head = side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10_000))) + chunk(b"IEND", b"")


def item(**changes) -> dict:
    return {"prompt": ["x"], "image": [text(png(1))], "condition_images": [[text(png(1))]], **changes}


@pytest.mark.parametrize(("body", "status", "said"), [
    (b"{", 422, "not JSON"),
    (b"[" * 100_000, 422, "not JSON"),
    ([], 422, "the body must be a JSON object"),
    (item(prompt=[]), 422, "prompt must hold 1 to 256, got 0"),
    (item(prompt=["x"] * 257), 422, "got 257"),
    (item(prompt=["x", "y"]), 422, "must be equally long, got 2, 1, 1"),
    (item(prompt=[" "]), 422, "prompt[0] must be an instruction"),
    (item(prompt=["x" * 5000]), 422, "at most 4000 characters"),
    (item(image=[7]), 422, "image[0] must be a picture in base64"),
    (item(image=["?!"]), 422, "image[0] is not base64"),
    (item(image=[text(bomb())]), 422, "too many pixels"),
    (item(condition_images=[[]]), 422, "condition_images[0] must hold 1 to 256"),
    (item(condition_images=[[text(png(1))] * 2]), 422, "must hold one picture, the original of the edit"),
    ({"prompt": ["x"], "image": [text(png(1))]}, 422, "condition_images must be a list")])
def test_a_body_that_is_not_what_it_should_be_is_refused_with_its_place(served, body, status, said):
    found, reply = served.ask("POST", "/compute", body)
    assert (found, said in reply["detail"]) == (status, True), reply


def test_strangers_are_refused(judge):
    """Another site's page in a browser on this machine, a request without the key, and routes that are not there."""
    scorer = Scorer(judge)
    server = Served(reward_app(scorer, key=KEY))
    right = {"Authorization": f"Bearer {KEY}"}
    assert server.ask("GET", "/health")[0] == 401
    assert server.ask("GET", "/health", Authorization="Bearer of bad news")[0] == 401
    assert server.ask("GET", "/health", **right)[0] == 200
    assert server.ask("GET", "/health", Host="evil.example", **right)[0] == 400
    assert server.ask("POST", "/compute", item(), Content_Type="text/plain", **right)[0] == 415
    assert server.ask("POST", "/compute", item(), **right)[0] == 200
    assert server.ask("GET", "/docs", **right)[0] == 404
    server.stop()
    scorer.close()


def test_a_judge_that_measures_serves_too():
    scorer = Scorer(make_judge("measured").judge)
    server = Served(reward_app(scorer, "min"))
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    reply = client("flow_factory_client").compute(server.url, ["x"], [buffer.getvalue()], [buffer.getvalue()])
    assert reply["rewards"] == [1.0]
    assert set(reply["scores"][0]) == {"preserving", "overall"}
    server.stop()
    scorer.close()


@pytest.mark.parametrize(("flags", "said"), [
    (("--host", "0.0.0.0"), "lets others in; give --require-key-file"),
    (("--require-key-file", "nowhere"), "the key cannot be read"),
    (("--require-key-file", "short.key"), "at least 16 printable characters"),
    (("--judge", "oracle"), "judges synthetic scenes only"),
    (("--judge", "gpt-4o-2024-08-06"), "a server does not ask before it spends"),
    (("--batch-size", "0"), "--batch-size must be 1 or more")])
def test_a_server_that_must_not_start_says_why_in_one_line(tmp_path, capsys, monkeypatch, flags, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    (tmp_path / "short.key").write_text("1234\n")
    assert main(["serve-rewards", "--judge", "measured", *flags]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
