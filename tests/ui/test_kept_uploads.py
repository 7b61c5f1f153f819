"""Uploads as they are kept: under safe names, within bounds, and no longer than anybody needs them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.conftest import ROOT
from ui.site.uploads import Caller, NotUploaded, Uploads, safe_name

NAMES = ("../../etc/passwd", "..", ".", ".bashrc", "a\\b\\c.png", "a\r\nSet-Cookie: x.png", "x" * 5000 + ".png", "名前 фото é.png",
         "-rf.png", "a\u202egnp.exe", "con.png", "a?b#c%2e%2e%2fd.png", "a:b|c<d>.png", '"q".png', "~", "a/b.png", ".png", "a.tar.gz",
         "a. ", "\udcff.png")


@pytest.mark.parametrize("name", NAMES)
def test_a_strange_file_name_is_only_a_name(name):
    safe = safe_name(name)
    assert re.fullmatch(r"[^/\\\x00-\x1f<>:\"|?*]+", safe)
    assert not safe.startswith((".", "-", "~", " "))
    assert len(safe.encode()) <= 120
    assert safe_name(safe) == safe
    uploads = Uploads()
    kept = uploads.put(b"data", name, Caller(visit="v"))
    assert kept.file.parent.parent == uploads.folder
    assert uploads.find(kept.address, Caller(visit="v")).file.read_bytes() == b"data"
    assert uploads.find("http://host/gradio_api/file=" + quote(kept.address), Caller(visit="v")) is kept


def test_a_name_as_long_as_a_request_is_made_safe_at_once():
    begun = time.process_time()
    assert safe_name("é" * 400_000 + ".png") == "é" * 50 + ".png"       # sign by sign this took half a minute
    assert time.process_time() - begun < 5


def test_an_owner_who_fills_the_space_loses_their_own_oldest_only():
    uploads, mine, theirs = Uploads(max_bytes=4000), Caller(visit="mine"), Caller(visit="theirs")
    first = uploads.put(bytes(600), "a.png", theirs)
    tokens = [uploads.put(bytes(400), f"{number}.png", mine) for number in range(5)]
    assert [uploads.at(str(kept.file)) is not None for kept in tokens] == [False, False, False, True, True]
    assert uploads.find(first.address, theirs).size == 600
    assert uploads.bytes_used == 1400
    assert len(list(uploads.folder.iterdir())) == 3


def test_uploads_go_with_their_session_and_when_nobody_uses_them():
    uploads, mine = Uploads(), Caller(visit="v", session="one")
    used, unused = uploads.put(b"1", "a.png", mine), uploads.put(b"2", "b.png", Caller(visit="v"))
    uploads.drop_session("two")
    uploads.drop_session(None)
    assert used.file.exists()
    uploads.drop_session("one")
    assert not used.file.exists()
    unused.until = time.monotonic() - 1
    with pytest.raises(NotUploaded):
        uploads.find(unused.address, mine)
    (uploads.folder / "coming-x").mkdir()
    os.utime(uploads.folder / "coming-x", (0, 0))
    uploads.expire()
    assert list(uploads.folder.iterdir()) == []
    uploads.forget(str(Path(__file__)))
    assert Path(__file__).exists(), "what is no upload is left alone"


def test_folders_that_a_killed_process_left_are_gone_when_the_next_one_starts(tmp_path):
    code = ("import os, signal, sys; from ui.site.uploads import own_folder, Uploads, Caller\n"
            "uploads = Uploads(); kept = uploads.put(b'secret', 'a.png', Caller()); print(kept.file, flush=True); {end}")
    env = {**os.environ, "GRADIO_TEMP_DIR": str(tmp_path)}

    def run(end: str) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-c", code.format(end=end)], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True,
                                stdin=subprocess.PIPE)
    killed, living = run("os.kill(os.getpid(), signal.SIGKILL)"), run("sys.stdin.read()")
    left, kept = Path(killed.stdout.readline().strip()), Path(living.stdout.readline().strip())
    killed.wait()
    assert left.is_relative_to(tmp_path)
    run("0").communicate()
    assert not left.exists()
    assert kept.exists(), "one that is in use stays"
    living.communicate()
    assert not kept.exists(), "and is gone when its process ends"
    assert list(tmp_path.iterdir()) == []
