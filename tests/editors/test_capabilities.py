"""What a model can use is known before it is loaded, true of the one that ships, and what it cannot is refused by name."""

import json

import numpy as np
import pytest

from mre.editors import pipeline_info
from mre.editors.capabilities import limited, refuse_unused, unused
from mre.editors.kinds import make_editor
from mre.editors.settings import EditSettings
from mre.embedded.names import EMBEDDED
from mre.errors import SettingsError
from mre.imaging import open_image
from mre.models import known
from mre.rewards import Reward

ASKED = {"seed": {"seed": 7}, "steps": {"steps": 20}, "guidance_scale": {"guidance_scale": 7.5},
         "image_guidance_scale": {"image_guidance_scale": 1.5}, "scheduler": {"scheduler": "ddim"},
         "negative_reward": {"negative_reward": Reward(0, 0, 0)}, "scores": {"reward": Reward(5, 3, 5)},
         "reward_text": {"reward": Reward(texts=("None", "too dark", "None"))}, "fast": {"fast": True}}
LACKS = {"tiny": {"seed", "steps", "guidance_scale", "image_guidance_scale", "scheduler", "negative_reward", "fast"},
         "tiny-baseline": set(ASKED) - {"steps"}, "insp2p": {"negative_reward", "scores", "reward_text"}, "reward-insp2p": set(),
         "tiny-untrained": set()}


@pytest.mark.parametrize("name", LACKS)
def test_a_control_that_a_model_lacks_is_refused_in_one_line_with_flag_and_model(name):
    info = pipeline_info.describe(name)
    for control, asked in ASKED.items():
        settings = EditSettings("make it darker", **asked)
        if control not in LACKS[name]:
            refuse_unused(settings, info)
            assert limited(settings, info) == settings
            continue
        with pytest.raises(SettingsError, match=rf"^--{control}[^\n]*: the model {name} [^\n]*; leave it out$"):
            refuse_unused(settings, info, lambda field: f"--{field}")
        assert unused(limited(settings, info), info).keys() <= {"scores", "reward_text"}, "which a model that reads none does not mind"


def test_a_model_that_was_always_told_three_scores_refuses_two_and_is_asked_for_the_best_instead():
    info, wishless = pipeline_info.describe("tiny"), EditSettings("x", Reward(None, 2, 5))
    with pytest.raises(SettingsError, match="no_wish none,2,5: the model tiny needs a score of each perspective; leave it out"):
        refuse_unused(wishless, info)
    assert limited(wishless, info).reward == Reward(5, 2, 5)
    knows = pipeline_info.describe("tiny-untrained")
    assert knows.capabilities.as_json()["no_wish"]
    assert limited(wishless, knows) == wishless


@pytest.mark.parametrize(("unet", "reads_scores", "seed"), [
    ("GenericRewardUNet", True, True), ("GenericRewardUNet", False, False), ("GatedRewardUNet", True, False)])
def test_an_embedded_model_has_a_seed_where_its_network_leaves_the_faults_of_low_scores_to_it(tmp_path, unet, reads_scores, seed):
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text(json.dumps({"_class_name": unet, "variant": "released", "use_score": reads_scores}))
    assert pipeline_info.capabilities_of(str(tmp_path)).seed == seed


def test_the_models_own_values_ask_for_nothing():
    """As in every recipe, which has all of them."""
    info = pipeline_info.describe("tiny")
    assert unused(EditSettings("x", reward=Reward(1, 2, 3), steps=1, guidance_scale=1.0, image_guidance_scale=1.0, seed=42), info) == {}
    assert unused(EditSettings("x").resolved(info), info) == {}


def test_steps_beyond_the_models_range_are_refused():
    info = pipeline_info.describe("reward-insp2p")
    assert info.capabilities.steps == range(1, 201)
    refuse_unused(EditSettings("x", steps=200), info)
    with pytest.raises(SettingsError, match="steps 30: the model tiny-baseline takes 1 to 20 steps; leave it out"):
        refuse_unused(EditSettings("x", steps=30), pipeline_info.describe("tiny-baseline"))


def test_what_a_recipe_asks_for_passes_as_it_is():
    info, old = pipeline_info.describe("tiny"), EditSettings("x", seed=7, guidance_scale=1.5)
    refuse_unused(old, info, accepted=unused(old, info))
    with pytest.raises(SettingsError, match="seed 8"):
        refuse_unused(EditSettings("x", seed=8, guidance_scale=1.5), info, accepted=unused(old, info))


def test_for_programs_everything_is_plain_json():
    assert pipeline_info.FULL_SIZE.as_json()["steps"] == [1, 200]
    assert EMBEDDED.as_json()["steps"] is None
    assert [has.as_json()["fast"] for has in (pipeline_info.FULL_SIZE, EMBEDDED)] == [True, False]
    assert pipeline_info.FULL_SIZE.as_json()["schedulers"] == ["ddim", "dpm-solver", "unipc", "euler", "euler-ancestral"]


@pytest.fixture(scope="module", params=["tiny", "tiny-baseline"])
def embedded(request):
    import torch
    torch.set_num_threads(1)
    return make_editor(request.param, device="cpu")


def moved(editor, base=None, **asked) -> float:
    """How far a control moves the picture, by how far the edit itself moves it (both as root mean squares); the median of three photos."""
    shares = []
    for photo, words in (("cat.jpg", "turn it into a pencil sketch"), ("coffee.jpg", "make it darker"), ("rocket.jpg", "make it sunset")):
        picture = open_image(known.ASSETS / "photos" / photo)
        plain, other = (editor.edit(picture, EditSettings(words, **{**(base or {}), **settings})) for settings in ({}, asked))
        away = [np.asarray(a, float) - np.asarray(b, float) for a, b in ((other.made, plain.made), (plain.made, plain.seen))]
        shares.append(float(np.sqrt((away[0] ** 2).mean() / (away[1] ** 2).mean())))
    return float(np.median(shares))


def test_what_the_embedded_models_are_said_to_use_is_what_moves_their_pictures(embedded):
    has = embedded.info.capabilities
    low, tinted = Reward(5, 3, 5), Reward(5, 3, 5, ("None", "the colours outside the edit are strongly greenish", "None"))
    assert (moved(embedded, reward=Reward(0, 0, 0)) > 0.5) == has.reward
    assert (moved(embedded, {"reward": low}, reward=tinted) > 0.05) == has.reward_text
    assert moved(embedded, seed=7) < 0.2, "traces"
    assert moved(embedded, image_guidance_scale=1.5) < 0.01
    assert moved(embedded, scheduler="ddim") < 0.01
    assert moved(embedded, guidance_scale=7.5) > 0.8, "spoils the picture"
    assert [has.seed, has.guided, has.schedulers] == [False, False, ()]
    assert (moved(embedded, steps=5) > 0.3) == (has.steps is not None)
