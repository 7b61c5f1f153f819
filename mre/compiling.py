"""What `torch.compile` needs of the machine, and what is said where it fails."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from mre.errors import MreError, SettingsError

_COMPILERS = {"darwin": "clang++", "win32": "cl"}       # that torch takes where CXX names none; g++ elsewhere


def check_compiler(device: str, setting: str) -> None:
    """Raises SettingsError, naming the setting that asked, where nothing compiles for this device: a C++ compiler for a CPU, Triton
    for a GPU, and one of C for what starts its programs."""
    compiler = os.environ.get("CXX") or _COMPILERS.get(sys.platform, "g++")
    if device == "cpu":
        if shutil.which(compiler) is None:
            raise SettingsError(f"{setting} needs a C++ compiler, and there is no {compiler} here; install one, or name it in CXX")
    elif find_spec("triton") is None:
        raise SettingsError(f"{setting} needs the package triton for {device}, which is not installed")
    elif not any(shutil.which(name) for name in (os.environ.get("CC", ""), "gcc", "clang") if name):
        raise SettingsError(f"{setting} needs a C compiler beside triton, and there is no gcc or clang here; name one in CC")


@contextmanager
def compiling(setting: str) -> Iterator[None]:
    """Raises MreError in one line where torch's compiler gives up inside; a network is compiled when it is first called."""
    try:
        yield
    except RuntimeError as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        why = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise MreError(f"{setting}: torch could not compile the network ({why[:200]}); leave {setting} out") from error
