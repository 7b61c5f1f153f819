"""Settings of training: one place, three ways to give them, and errors that name the field."""

import dataclasses

import pytest
import yaml

from mre.errors import SettingsError
from mre.training.config import PRESETS, TrainConfig


def test_flags_win_over_the_file_and_the_file_over_the_preset(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("learning_rate: 3e-4\nbatch_size: 7\n", encoding="utf-8")
    config = TrainConfig.from_flags(["--preset", "tiny", "--config", str(path), "--batch-size", "9"])
    assert (config.batch_size, config.learning_rate, config.schedule) == (9, 3e-4, "cosine")


def test_the_defaults_are_those_of_the_released_command():
    config = TrainConfig()
    assert (config.learning_rate, config.batch_size, config.accumulation, config.max_steps) == (5e-5, 4, 4, 10_000)
    assert (config.condition_dropout, config.weight_decay, config.ema_decay) == (0.05, 1e-2, 0.9999)
    assert (config.adam_beta1, config.adam_beta2, config.adam_epsilon, config.resolution) == (0.9, 0.999, 1e-8, 256)


@pytest.mark.parametrize(("given", "value"), [(["--ema", "False"], False), (["--ema", "true"], True), (["--ema"], True), ([], True)])
def test_a_switch_that_is_given_false_is_off(given, value):
    assert TrainConfig.from_flags(given).ema is value


def test_a_preset_for_drawn_scenes_takes_other_data_too_of_which_nothing_is_scored():
    assert TrainConfig.from_flags(["--preset", "tiny"]).scored_scenes == 35
    assert TrainConfig.from_flags(["--preset", "tiny", "--validation-every", "0"]).scored_scenes == 0
    other = ["--preset", "tiny", "--data", "pix2pix", "--data-dir", "triplets", "--rewards", "rewards.json"]
    assert TrainConfig.from_flags(other).scored_scenes == 0


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_config_and_the_baseline_differs_in_rewards_alone(name):
    values = PRESETS[name] | ({"data_dir": "x", "rewards": "y"} if PRESETS[name]["data"] == "pix2pix" else {})
    config = TrainConfig(**values)
    assert config.conditioned == (name not in ("tiny-start", "tiny-baseline", "tiny-lab-baseline", "tiny-smart-start", "insp2p"))
    differ = {one.name for one in dataclasses.fields(TrainConfig)
              if getattr(TrainConfig(**PRESETS["tiny"]), one.name) != getattr(TrainConfig(**PRESETS["tiny-baseline"]), one.name)}
    assert differ == {"use_score", "use_text", "use_attention", "use_addition", "out"}


def test_what_a_run_writes_beside_its_checkpoints_is_readable_yaml_and_gives_the_same_config(tmp_path):
    odd = {"perspectives": ("quality",), "out": tmp_path / "a b: #c", "edit_type_weights": (1, 2, 3, 1, 1, 1, 0)}
    config = TrainConfig(**PRESETS["tiny"] | odd)
    path = tmp_path / "config.yaml"
    path.write_text(config.as_yaml(), encoding="utf-8")
    assert set(yaml.safe_load(path.read_text(encoding="utf-8"))) == {one.name for one in dataclasses.fields(TrainConfig)}
    assert TrainConfig.from_flags(["--config", str(path)]) == config
    assert all("#" in line for line in path.read_text(encoding="utf-8").splitlines())       # each line says what it is for


@pytest.mark.parametrize(("content", "says"), [
    ("learning_rat: 1e-4", "no field 'learning_rat'; did you mean 'learning_rate'"),
    ("learning_rate: fast", "learning_rate must be a number"),
    ("batch_size: 2.5", "batch_size must be a whole number"),
    ("ema: 3", "ema must be true or false"),
    ("variant: mine", "variant must be one of released, paper"),
    ("perspectives: [quality, beauty]", "perspectives must be one of"),
    ("condition_dropout: 0.5", "condition_dropout must be at most"),
    ("learning_rate: .nan", "learning_rate must be at least"),
    ("timestep_terminal: 0.7\ntimestep_high: 0.7", "timestep_terminal and timestep_high"),
    ("edit_type_weights: [1, 2]", "edit_type_weights must be 7 numbers"),
    ("data: pix2pix", "data_dir must name"),
    ("data: pix2pix\ndata_dir: x", "rewards must name"),
    ("cache_latents: x", "cache_latents needs frozen encoders"),
    ("- 1", "must be a list of `field: value` lines"),
    ("a: [", "cannot be read as YAML"),
])
def test_a_yaml_with_a_fault_is_refused_in_one_line_that_names_file_and_field(tmp_path, content, says):
    path = tmp_path / "run.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError, match=says) as caught:
        TrainConfig.from_flags(["--config", str(path)])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
