"""Python programs in processes of their own, as `subprocess` starts them, that begin with everything imported.

A program that imports torch and diffusers takes six seconds of a CPU before it does anything. Here each is forked from a process that was
itself forked when the tests had been collected, and so everything imported, but nothing had run: no thread of torch's, which a fork would
lose. What a new interpreter alone shows, such as which modules an import loads, is still tested with `subprocess`.
"""

from __future__ import annotations

import atexit
import faulthandler
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
import warnings
from pathlib import Path

MOST_BYTES = 200_000         # of a message: arguments and environment
OWN = ("mre", "ui", "app", "train")           # imported anew where a program runs in another folder
_forge: tuple[int, socket.socket] | None = None          # the process that programs are forked from, and the way to it


def open_forge() -> None:
    """Fork the process that later programs are forked from."""
    global _forge
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if (pid := os.fork()) == 0:
        ours.close()
        _fork_programs(theirs)
        os._exit(0)
    theirs.close()
    _forge = pid, ours


def forge_is_open() -> bool:
    """Whether programs can be started: while tests run."""
    return _forge is not None


def close_forge() -> None:
    """End that process; programs that run go on."""
    global _forge
    if _forge is not None:
        (pid, ours), _forge = _forge, None
        ours.close()
        os.waitpid(pid, 0)


class Program:
    """`python ARGUMENTS...`, with the methods of `subprocess.Popen` that tests use. `stdout` is a pipe, `stderr` a file or the same pipe.

    arguments: `-m MODULE`, `-c CODE` or a file of the working folder, and what follows it
    env, cwd: as for `subprocess.Popen`
    """

    def __init__(self, *arguments: object, cwd: Path | str | None = None, env: dict[str, str] | None = None, both: bool = False) -> None:
        self.args, self.returncode = [str(argument) for argument in arguments], None
        reading, writing = os.pipe()
        self.stdout = os.fdopen(reading, encoding="utf-8")
        self.stderr = os.fdopen(os.memfd_create("stderr"), "w+", encoding="utf-8")
        self._status, status = os.pipe()
        os.umask(umask := os.umask(0))                  # there is no other way to ask for it
        wanted = json.dumps([self.args, str(cwd or Path.cwd()), dict(os.environ if env is None else env), umask]).encode()
        assert _forge is not None, "programs are started while tests run"
        socket.send_fds(_forge[1], [wanted], [writing, writing if both else self.stderr.fileno(), status])
        for end in (writing, status):
            os.close(end)
        self.pid = int.from_bytes(self._told(None), "little")

    def _told(self, seconds: float | None) -> bytes:
        """The next number that the forge tells of this program; nothing when it has not come in time."""
        return os.read(self._status, 4) if select.select([self._status], [], [], seconds)[0] else b""

    def poll(self) -> int | None:
        if self.returncode is None and (told := self._told(0)):
            self.returncode = int.from_bytes(told, "little", signed=True)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not (told := self._told(timeout)):
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int.from_bytes(told, "little", signed=True)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """All that it says on both channels until it ends."""
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.append(self.stdout.read()), daemon=True)
        reader.start()
        self.wait(timeout)
        reader.join(timeout)
        self.stderr.seek(0)
        return said[0], self.stderr.read()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_error: object) -> None:
        self.kill()
        self.wait(30)


def run_program(*arguments: object, cwd: Path | str | None = None, env: dict[str, str] | None = None, timeout: float = 250) -> str:
    """What the program says on its standard output. Raises AssertionError with what it says on the other when it fails."""
    with Program(*arguments, cwd=cwd, env=env) as program:
        said, errors = program.communicate(timeout)
    assert program.returncode == 0, errors[-3000:]
    return said


# --------------------------------------------------------------------------------------------------------- in the forked process

def _fork_programs(way: socket.socket) -> None:
    """For each message fork a process that forks the program, tells its id, waits for it and tells its exit code; until the way closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        message, descriptors, _, _ = socket.recv_fds(way, MOST_BYTES, 3)
        if not message:
            break
        if os.fork() == 0:
            way.close()
            output, errors, status = descriptors
            if (pid := os.fork()) == 0:
                os.close(status)
                _become(output, errors, *json.loads(message))
            os.close(output)
            os.close(errors)
            os.write(status, pid.to_bytes(4, "little"))
            os.write(status, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]).to_bytes(4, "little", signed=True))
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)
        _reap(os.WNOHANG)
    _reap(0)


def _reap(options: int) -> None:
    try:
        while os.waitpid(-1, options)[0]:
            pass
    except ChildProcessError:
        pass


def _become(output: int, errors: int, arguments: list[str], folder: str, environment: dict[str, str], umask: int) -> None:
    """Run the program in this process, as the interpreter would, and end it."""
    code = 1
    try:
        for number, descriptor in enumerate((os.open(os.devnull, os.O_RDONLY), output, errors)):
            os.dup2(descriptor, number)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, "w" if number else "r", encoding="utf-8") for number in range(3))
        sys.stdout.reconfigure(line_buffering=bool(environment.get("PYTHONUNBUFFERED")))
        sys.stderr.reconfigure(line_buffering=True)
        os.umask(umask)
        faulthandler.disable()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        atexit._clear()                                 # what the tests' process would do at its end
        os.environ.clear()
        os.environ.update(environment)
        if Path(folder) != Path.cwd():
            os.chdir(folder)
            sys.path.insert(0, folder)
            for name in [name for name in sys.modules if name.partition(".")[0] in OWN]:
                del sys.modules[name]
        if "torch" in sys.modules and "OMP_NUM_THREADS" in environment:
            sys.modules["torch"].set_num_threads(int(environment["OMP_NUM_THREADS"]))
        _run(*arguments)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()           # waits for its threads  # pyright: ignore[reportAttributeAccessIssue]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(code)


def _run(first: str, *more: str) -> None:
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="runpy")          # the module is imported already
    if first == "-c":
        sys.argv = ["-c", *more[1:]]
        exec(compile(more[0], "<string>", "exec"), {"__name__": "__main__"})
    elif first == "-m":
        sys.argv = list(more)
        runpy.run_module(more[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [first, *more]
        runpy.run_path(first, run_name="__main__")
