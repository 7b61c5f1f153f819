"""The network without the bench in it: what it imports, what untrained it does, what its chance decides, and the score it learns by."""

import ast

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from mre.embedded.build import build_pipeline
from mre.embedded.energy import WINDOW, EnergyScore, WindowNorms, distance
from mre.embedded.generic_unet import CHANCE, GenericRewardUNet
from mre.embedded.vocabulary import vocabulary
from mre.training.config import PRESETS, TrainConfig
from mre.training.loop import Run
from mre.training.scene_examples import SyntheticExamples
from tests.bench.structure import Module, imported
from tests.conftest import ROOT

NETWORKS = ("generic_unet", "generic_head", "placed", "patch_autoencoder", "reader", "request", "words")
SIDE, PATCH = 32, 4


def test_no_network_imports_what_draws_the_scenes():
    """Directly or through others."""
    files = {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
             for file in (ROOT / "mre").rglob("*.py")}
    reached, open_ends = set(), [f"mre.embedded.{name}" for name in NETWORKS]
    while open_ends:
        if (name := open_ends.pop()) not in reached:
            reached.add(name)
            text = files[name].read_text(encoding="utf-8")
            open_ends += imported(Module(name, text, ast.parse(text)), set(files))
    assert len(reached) > len(NETWORKS)
    assert not [name for name in reached if name.startswith("mre.data")]


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    pipeline = build_pipeline(width=(32, 32, 32), native_size=SIDE, patch_size=PATCH, unet_class=GenericRewardUNet, reward_init="released")
    return pipeline.unet.eval()


def inputs(unet, scores, seed=0):
    """Noise, and everything else the same at every seed."""
    fixed = torch.Generator().manual_seed(5)
    original = torch.rand(len(scores), 3 * PATCH**2, SIDE // PATCH, SIDE // PATCH, generator=fixed) * 2 - 1
    text = torch.randn(len(scores), 6, unet.config.cross_attention_dim, generator=fixed)
    noise = torch.randn(original.shape, generator=torch.Generator().manual_seed(seed))
    reward_text = torch.randn(len(scores), unet.config.reward_text_dim, generator=fixed)
    conditions = {"reward_scores": torch.tensor(scores), "reward_text": reward_text}
    return noise, original, (999, text), conditions


def said(unet, scores, noise_of=None, seed=0):
    noise, original, rest, conditions = inputs(unet, scores, seed)
    noise = noise if noise_of is None else noise_of(noise)
    with torch.no_grad():
        return unet(torch.cat([noise, original], dim=1), *rest, added_cond_kwargs=conditions).sample, original


def test_an_untrained_network_gives_the_original_back(unet):
    sample, original = said(unet, [[1.0, 5.0, 2.0]])
    assert torch.allclose(sample, original * unet.config.latent_scale, atol=1e-5)


@pytest.fixture
def trained(unet):
    """The same with a last layer that says something."""
    kept = unet.conv_out.weight.detach().clone()
    torch.nn.init.normal_(unet.conv_out.weight, std=0.3, generator=torch.Generator().manual_seed(1))
    yield unet
    unet.conv_out.weight.data.copy_(kept)


def test_chance_counts_the_more_the_lower_the_lowest_score_is(trained):
    """In proportion to how far it is from the best, whichever perspective's it is."""
    one, two = (inputs(trained, [[0.0] * 3], seed)[0] for seed in (1, 2))
    two.flatten(1)[:, CHANCE:] = one.flatten(1)[:, CHANCE:]                 # the numbers that are always read are the same

    def apart(*scores):
        return (trained.drawn(one, torch.tensor([scores])) - trained.drawn(two, torch.tensor([scores]))).norm().item()
    worst = apart(0.0, 5.0, 5.0)
    assert worst > 0.1
    assert apart(5.0, 5.0, 2.5) == pytest.approx(worst / 2, rel=1e-4)
    assert apart(4.0, 5.0, 4.0) == pytest.approx(worst / 5, rel=1e-4)
    assert apart(5.0, 5.0, 5.0) == pytest.approx(0, abs=1e-6)


def test_at_the_best_scores_only_the_narrow_vector_of_chance_is_read(trained):
    def other_numbers(noise):
        changed = noise.clone()
        changed.flatten(1)[:, :CHANCE] += 1
        return changed
    best, same = (said(trained, [[5.0, 5.0, 5.0]], change)[0] for change in (None, other_numbers))
    assert torch.equal(best, same)
    low, other = (said(trained, [[5.0, 5.0, 4.0]], change)[0] for change in (None, other_numbers))
    assert not torch.equal(low, other)


def flat(*levels):
    """Pictures of one level each, (B, 3, 2 windows a side)."""
    return torch.tensor(levels)[:, None, None, None].expand(-1, 3, 2 * WINDOW, 2 * WINDOW)


def test_the_distance_of_flat_pictures_is_twice_their_difference():
    """Once at full size and once at half; flat pictures have no gradient."""
    assert distance(flat(0.5), flat(0.2)).item() == pytest.approx(0.6, abs=1e-2)
    assert distance(flat(0.5), flat(0.5)).item() == pytest.approx(0, abs=5e-3)


def test_draws_spread_as_the_targets_are_score_better_than_their_mean():
    """Targets 0 and 1, equally likely: the mean of both always costs half the range; draws from the targets cost a quarter."""
    def energy(pairs):
        return sum((distance(flat(a), flat(y)) + distance(flat(b), flat(y)) - distance(flat(a), flat(b))).item() / 2
                   for a, b in pairs for y in (0.0, 1.0)) / (2 * len(pairs))
    spread, mean, fixed = (energy(pairs) for pairs in ([(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)], [(0.5, 0.5)], [(0.0, 0.0)]))
    assert spread == pytest.approx(0.5, abs=2e-2)
    assert mean == pytest.approx(1.0, abs=2e-2)
    assert spread < mean
    assert spread < fixed


def test_one_draw_is_scored_by_its_distance_and_two_by_the_energy_score():
    """Worked out on flat pictures: draws at 0.5 and 0.3, a target at 0.2; the distance is twice the difference."""
    sampler, half = DDIMScheduler(prediction_type="sample"), {"mask": torch.zeros(1, 2, 2 * WINDOW, 2 * WINDOW)}
    half["mask"][:, 1, :, WINDOW:] = 1          # of what a flawless edit changes
    for weight, weighed in ((0.0, 1), (2.0, (1 + 5) / 2)):          # in the changed half 1 + 2 / (1 / 2), in the other 1
        config = TrainConfig(**PRESETS["tiny-lab"] | {"mask_weight": weight})
        assert WindowNorms(sampler, config).score(flat(0.5), flat(0.2), half).item() == pytest.approx(0.6 * weighed, abs=2e-2)
        two = EnergyScore(sampler, config).score(flat(0.5, 0.3), flat(0.2), half)
        assert two.item() == pytest.approx((0.6 + 0.2 - 0.4) / 2 * weighed, abs=2e-2)


def test_requests_are_asked_in_the_plainest_words_and_some_have_no_answer_but_the_photo():
    config = TrainConfig(**PRESETS["tiny-lab-start"] | {"resolution": SIDE})
    examples = [SyntheticExamples(config).training(sample) for sample in range(60)]
    untouched = [np.array_equal(*one.pictures) for one in examples]
    assert 0 < sum(untouched) < 12, "6 % of them"
    words = set(" ".join(one.instruction for one in examples).split())
    assert words <= vocabulary()
    assert not words & {"please", "could", "can", "want"}


def test_it_is_trained_by_the_same_trainer_and_goes_on_from_its_folder(tmp_path):
    settings = {**PRESETS["tiny-lab"], "init_from": "embedded-generic", "resolution": SIDE, "width": (32, 32, 32), "batch_size": 2,
                "validation_every": 0, "log_every": 1, "mixed_precision": "no", "half": False}
    folder = Run(TrainConfig(**settings | {"max_steps": 2, "out": str(tmp_path / "first")})).train()
    again = Run(TrainConfig(**settings | {"max_steps": 1, "out": str(tmp_path / "second"), "init_from": str(folder),
                                       "objective": "norms"})).train()
    assert (again / "unet" / "diffusion_pytorch_model.safetensors").is_file()
    header, *rows = (tmp_path / "first" / "log.csv").read_text().splitlines()
    assert "energy" in header
    assert len(rows) == 2
