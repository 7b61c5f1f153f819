"""Number by number against the paper's released code, within the tolerances measured for it."""

from collections.abc import Iterable

import pytest
import torch

from tests.golden import Difference, Golden


@pytest.fixture(scope="module")
def golden(shared):
    return Golden(shared / "parity")


def assert_all_hold(differences: Iterable[Difference], least: int) -> None:
    differences = list(differences)
    assert len(differences) >= least, "reference data that were not compared"
    assert not [one for one in differences if not one.holds]


@pytest.mark.parametrize("component", ["unet", "vae", "text_encoder"])
def test_weights_are_filled_as_the_reference_filled_them(golden, component):
    model = golden.unet if component == "unet" else golden.parts[component]
    known = golden.numbers["unet"]["fill_check"] if component == "unet" else golden.numbers["pipeline"]["fill_check"][component]
    assert sum(p.numel() for p in model.parameters()) == known["parameters"]
    assert sum(float(p.detach().double().sum()) for p in model.parameters()) == pytest.approx(known["sum"], abs=1e-3)
    assert sum(float(p.detach().double().abs().sum()) for p in model.parameters()) == pytest.approx(known["abs_sum"], abs=1e-2)


def test_every_stage_of_every_unet_case_agrees(golden):
    assert_all_hold(golden.unet_differences(), least=8 * 9)


def test_every_step_of_every_edit_agrees(golden):
    assert_all_hold(golden.pipeline_differences(), least=6 * 12)


def test_the_evaluation_sampler_follows_the_checkpoints_own_config(golden):
    assert_all_hold(golden.scheduler_differences(), least=4)


def test_the_reward_changes_the_prediction_as_much_as_in_the_reference(golden):
    from safetensors.torch import load_file

    tensors = load_file(golden.folder / "unet_cases.safetensors")
    inputs = {name: tensors[f"s555/in.{name}"] for name in ("sample", "timestep", "encoder_hidden_states")}

    def predict(*scores: float) -> torch.Tensor:
        conditions = {"reward_scores": torch.tensor([scores]), "reward_text": tensors["s555/in.negative_embeds"]}
        with torch.no_grad():
            return golden.unet(**inputs, added_cond_kwargs=conditions).sample

    for scores, known in (((0, 0, 0), "max_abs(s555-s000)"), ((3, 1, 4), "max_abs(s555-s314)")):
        effect = float((predict(5, 5, 5) - predict(*scores)).abs().max())
        assert effect == pytest.approx(golden.numbers["unet"]["reward_sensitivity"][known], abs=1e-4)


def test_tokens_are_the_references(golden):
    from safetensors.torch import load_file

    tensors = load_file(golden.folder / "pipeline_cases.safetensors")
    tokenizer, numbers = golden.parts["tokenizer"], golden.numbers["pipeline"]

    def ids(text: str) -> list[int]:
        return tokenizer(text, padding="max_length", max_length=77, truncation=True).input_ids

    assert ids(numbers["prompt"]) == tensors["text/prompt_ids"][0].tolist()
    assert ids("") == tensors["text/empty_ids"][0].tolist()
    for settings in numbers["cases"].values():
        assert ids(settings["reward_text"]) == settings["reward_text_token_ids"]
