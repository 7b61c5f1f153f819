"""Reward-SmartEdit: pictures and instructions are read once, and training goes on without the language model."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch

from mre.errors import SettingsError
from mre.models.smartedit.settings import PRESETS
from mre.models.zoo import load_pipeline
from mre.training.config import TrainConfig
from tests.training.conftest import COUNT


@pytest.fixture(scope="module")
def start(smartedit_converted, tmp_path_factory):
    """The small model, whose samples take one step."""
    folder = shutil.copytree(smartedit_converted, tmp_path_factory.mktemp("start") / "smart")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"default_steps": 1, "native_size": 32}))
    return folder


@pytest.fixture
def smart(tree, start, tmp_path):
    few = {"out": tmp_path / "run", "init_from": str(start), "data_dir": tree, "rewards": tree / "rewards.json", "resolution": 32,
           "batch_size": 2, "accumulation": 1, "max_steps": 2, "learning_rate": 1e-3, "log_every": 1, "checkpoint_every": 2,
           "validation_every": 2, "validation_samples": 2, "cache_latents": str(tmp_path / "cache")}
    return TrainConfig(**(PRESETS["reward-smartedit"] | few))


def losses(out):
    with (Path(out) / "log.csv").open(encoding="utf-8") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_what_is_read_once_serves_training_and_samples_and_is_refused_for_other_readers(smart, train, calls, start, tmp_path):
    run = train(smart)
    assert sum(calls) == COUNT                          # each triplet once, samples of held-out ones among them
    assert run.pipeline.readers is None
    assert (Path(smart.out) / "samples" / "step-000002.png").exists()
    editor = Path(smart.out) / "pipeline"
    assert not (editor / "language_model").exists()
    trained = load_pipeline(str(editor), "cpu")         # reads the language model of the model that it began from
    assert trained.conditioned
    assert trained.readers is not None
    per_triplet = (tmp_path / "cache" / "conditions").rglob("*.safetensors")
    assert sum(file.stat().st_size for file in per_triplet) == pytest.approx((COUNT + 1) * 77 * 64 * 2 + COUNT * 32 * 16 * 2, rel=0.02)

    train(smart, validation_every=0, cache_latents="", out=f"{smart.out}-plain")               # reads at every step
    assert losses(smart.out) == pytest.approx(losses(f"{smart.out}-plain"), abs=2e-3)           # kept in float16
    other = shutil.copytree(start, tmp_path / "other")
    (other / "connector" / "diffusion_pytorch_model.safetensors").write_bytes(b"others")
    with pytest.raises(SettingsError, match="was made for other readers"):
        train(smart, init_from=str(other), out=f"{smart.out}-other")


def test_both_orientations_are_read_and_a_cut_cache_is_completed(smart, train, calls, tmp_path, monkeypatch):
    monkeypatch.setattr("mre.training.cached_examples.ITEMS", 8)
    train(smart, flip=True, validation_every=0)
    assert sum(calls) == 2 * COUNT
    shutil.rmtree(tmp_path / "cache" / "conditions" / "00002")
    train(smart, flip=True, validation_every=0, out=f"{smart.out}-again")
    assert sum(calls) == 2 * COUNT + 8                  # nothing else is read, and no other run would read anything
    assert losses(f"{smart.out}-again") == losses(smart.out)


def test_numbers_too_large_to_be_kept_are_refused_with_the_triplet(smart, train, monkeypatch):
    from mre.errors import DataError
    from mre.models.smartedit.instruction import LlavaInstructionEncoder

    encode = LlavaInstructionEncoder.encode
    monkeypatch.setattr(LlavaInstructionEncoder, "encode", lambda self, *given: encode(self, *given)._replace(
        residual=torch.full((8, 32, 4, 4), 1e6)))
    with pytest.raises(DataError, match="is too large for float16"):
        train(smart)
    assert not any(Path(smart.cache_latents).rglob("conditions/*/*.safetensors"))
