"""train.py as people start it: from nothing to an editor, stage 2 on RewardEdit data, and faults in one line."""

import dataclasses
import subprocess
import sys

import pytest
from accelerate.state import AcceleratorState

from mre.editors.pipeline_info import describe
from mre.training.config import TrainConfig
from tests.conftest import ROOT
from tests.training.conftest import log_of
from train import main

SMALL = ["--resolution", "32", "--batch-size", "4", "--accumulation", "1", "--mixed-precision", "no", "--log-every", "2",
         "--checkpoint-every", "2", "--validation-every", "4", "--validation-samples", "2"]


@pytest.fixture
def program(capsys):
    """train.py with some flags: exit code, standard output and standard error."""
    def run(*flags: object) -> tuple[int, str, str]:
        AcceleratorState._reset_state(reset_partial_state=True)
        code = main([str(flag) for flag in flags])
        return code, *capsys.readouterr()

    yield run
    AcceleratorState._reset_state(reset_partial_state=True)


def test_from_nothing_to_an_embedded_editor_and_on_to_stage_two(program, tree, tmp_path):
    code, output, errors = program("--preset", "tiny-baseline", "--width", "32,32,32", "--max-steps", "4", *SMALL,
                                   "--out", tmp_path / "tiny")
    assert code == 0, errors
    assert f"saved {tmp_path / 'tiny' / 'pipeline'}" in output
    assert not describe(str(tmp_path / "tiny" / "pipeline")).conditioned
    assert [row["step"] for row in log_of(tmp_path / "tiny")] == ["2", "4"]
    assert (tmp_path / "tiny" / "samples" / "step-000004.png").exists()
    code, output, errors = program(
        "--preset", "reward-insp2p", "--init-from", tmp_path / "tiny" / "pipeline", "--data-dir", tree, "--rewards", tree / "rewards.json",
        "--num-workers", "0", "--max-steps", "2", "--out", tmp_path / "stage2", *SMALL)
    assert code == 0, errors
    assert describe(str(tmp_path / "stage2" / "pipeline")).conditioned


@pytest.mark.parametrize(("flags", "says"), [
    (["--config", "{folder}/no.yaml"], "no.yaml: cannot be read"),
    (["--config", "{folder}/bad.yaml"], "bad.yaml: there is no field 'learning_rates'"),
    (["--preset", "tiny", "--batch-size", "none"], "batch_size must be a whole number, got 'none'"),
    (["--preset", "reward-insp2p", "--mixed-precision", "no", "--data-dir", "{folder}", "--rewards", "{folder}/no.json"],
     "no.json is missing"),
    (["--preset", "insp2p", "--mixed-precision", "no", "--data-dir", "{folder}/nowhere"], "nowhere: no such folder of triplets"),
    (["--preset", "tiny", "--mixed-precision", "no", "--init-from", "{folder}/no-model"], "no-model"),
])
def test_what_cannot_be_used_is_one_line_on_standard_error(program, tmp_path, flags, says):
    (tmp_path / "bad.yaml").write_text("learning_rates: 1\n", encoding="utf-8")
    code, _, errors = program(*(flag.format(folder=tmp_path) for flag in flags), "--out", tmp_path / "run")
    assert code == 1
    assert errors.startswith("error: ")
    assert says in errors
    assert len(errors.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_help_is_instant_and_knows_every_setting():
    done = subprocess.run([sys.executable, "train.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for one in dataclasses.fields(TrainConfig):
        assert "--" + one.name.replace("_", "-") in done.stdout
    code = "import sys, train, mre.training; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
