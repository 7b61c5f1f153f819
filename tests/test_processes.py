"""Programs that are forked behave as those that the interpreter starts."""

import os
import signal
import subprocess
import sys

import pytest

from tests.processes import Program, run_program

SAYS = "import atexit, os, sys; atexit.register(print, 'last'); print(sys.argv, os.environ['COLOUR']); print('bad', file=sys.stderr); {end}"


@pytest.mark.parametrize("end", ["sys.exit(3)", "sys.exit('a word')", "1 / 0", "os._exit(4)", "os.kill(os.getpid(), 9)", "pass"])
def test_a_program_says_and_returns_what_the_interpreters_own_does(end):
    arguments, environment = ["-c", SAYS.format(end=end), "one", "two"], os.environ | {"COLOUR": "green", "PYTHONUNBUFFERED": "1"}
    own = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)
    program = Program(*arguments, env=environment)
    said, errors = program.communicate(20)
    assert (program.returncode, said.splitlines()) == (own.returncode, own.stdout.splitlines())
    assert errors.splitlines()[:1] == own.stderr.splitlines()[:1]
    assert errors.splitlines()[-1:] == own.stderr.splitlines()[-1:]


def test_a_program_is_stopped_by_a_signal_and_waited_for_no_longer_than_asked():
    code = "import time; print('up', flush=True)\ntry: time.sleep(60)\nexcept KeyboardInterrupt: print('interrupted')"
    with Program("-c", code) as program:
        assert program.stdout.readline() == "up\n"
        with pytest.raises(subprocess.TimeoutExpired):
            program.wait(0.05)
        assert program.poll() is None
        program.send_signal(signal.SIGINT)
        assert program.communicate(20) == ("interrupted\n", "")
        assert program.returncode == 0


def test_a_module_runs_as_the_program_and_in_another_folder_its_own_code_is_imported(tmp_path):
    (tmp_path / "mre").mkdir()
    (tmp_path / "mre" / "__init__.py").write_text("ours = 'another'")
    (tmp_path / "mre" / "__main__.py").write_text("import mre; print(__name__, mre.ours)")
    assert run_program("-m", "mre", cwd=tmp_path) == "__main__ another\n"
    assert "usage: python -m mre" in run_program("-m", "mre", "--help")
    with pytest.raises(AssertionError, match="no-such-room"):
        run_program("-m", "mre", "no-such-room")
