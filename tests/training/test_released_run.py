"""The whole trainer beside the released code: loss, gradients, weights and their average, on its batch and weights."""

import functools
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers import DDPMScheduler
from safetensors.torch import load_file

from mre.models.instruction import EditCondition
from mre.models.released import released_name
from mre.rewards import Reward
from mre.training import loop
from mre.training.checkpoints import checkpoints as whole_checkpoints
from mre.training.config import TrainConfig
from mre.training.draws import Draws
from mre.training.encoding import Latents
from mre.training.examples import TrainingExample
from tests.golden import Golden
from tests.training.conftest import log_of, state_of

STEPS = {"float32_no_clipping": 1, "float32_clip_norm_1": 2}          # that no gradient is cut shows in the first


class GoldenBatch:
    """The reference's training batch, as a source of triplets, an instruction encoder and a reader of reward texts."""

    def __init__(self, golden: Golden) -> None:
        self.tensors = {name.removeprefix("train/"): value for name, value in load_file(golden.folder / "train_case.safetensors").items()}

    def identity(self) -> tuple[int, str]:
        return 4, "golden"

    def row(self, sample: int) -> int:
        return sample % 4

    def example(self, row: int) -> TrainingExample:
        edited = self.tensors["latents"][row]
        latents = Latents(self.tensors["original_image_latents"][row], edited, torch.zeros_like(edited))
        return TrainingExample("", Reward(*self.tensors["reward_scores"][row].tolist()), latents=latents)

    def encode(self, read, images=None) -> EditCondition | dict[str, torch.Tensor]:
        if isinstance(read[0], Reward):
            return {"reward_text": self.tensors["negative_embeds"]}
        return EditCondition(self.tensors["encoder_hidden_states"], self.tensors["null_hidden_states"])

    def draws(self) -> Draws:
        noise, ones = self.tensors["noise"], torch.ones(4)
        return Draws(self.tensors["timesteps"], self.tensors["random_p"], ones, ones, noise, torch.zeros_like(noise))


@pytest.fixture(params=["float32_no_clipping", "float32_clip_norm_1"])
def golden_run(request, shared, monkeypatch, train, tmp_path):
    """The first steps of the whole trainer on the reference's batch and weights; and what the reference says of them."""
    golden = Golden(shared / "parity")
    said = golden.numbers["train"][request.param]
    batch = GoldenBatch(golden)
    unet = golden.unet
    for module in unet.modules():                       # the reference's dropout inside was set to 0
        if hasattr(module, "dropout") and isinstance(module.dropout, float):
            module.dropout = 0.0
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    vae = torch.nn.Module()
    vae.dtype, vae.config = torch.float32, SimpleNamespace(scaling_factor=1.0, latent_channels=4)
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    pipeline = SimpleNamespace(unet=unet, vae=vae, text_encoder=torch.nn.Module(), tokenizer=None, scheduler=scheduler, vae_scale_factor=8,
                               instruction_encoder=batch, reward_text_encoder=batch, trainable_parts=lambda *_: {"unet": unet},
                               components={"unet": unet, "vae": vae}, load_readers=lambda: None)
    monkeypatch.setattr(loop, "starting_pipeline", lambda *args: pipeline)
    monkeypatch.setattr(loop, "open_examples", lambda config: batch)
    monkeypatch.setattr(loop.Draws, "of", classmethod(lambda *args: batch.draws()))
    monkeypatch.setattr(loop, "save_editor", lambda pipeline, folder, config: None)
    norms: dict[str, float] = {}

    def note(parameter, name):
        norms.setdefault(name, parameter.grad.double().norm().item())       # of the first step

    for name, parameter in unet.named_parameters():
        parameter.register_post_accumulate_grad_hook(functools.partial(note, name=released_name(name)))
    before = {released_name(name): value.detach().clone() for name, value in unet.named_parameters()}
    config = TrainConfig(out=tmp_path / "run", init_from="given", data="pix2pix", data_dir="given", rewards="given", resolution=64,
                         max_steps=STEPS[request.param], batch_size=4, accumulation=1, decay_all=True,
                         max_grad_norm=1.0 if "clip_norm_1" in request.param else 1e9,
                         log_every=1, checkpoint_every=1, checkpoint_limit=0, validation_every=0)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)        # float32 sums hang on their number, and Adam's first step on the sign of the tiniest gradients
    try:
        train(config)
    finally:
        torch.set_num_threads(threads)
    return SimpleNamespace(said=said, steps=STEPS[request.param], out=config.out, norms=norms, before=before, tensors=batch.tensors)


def test_loss_gradients_weights_and_average_are_those_of_the_released_code(golden_run):
    said, rows = golden_run.said, log_of(golden_run.out)
    assert len(rows) == golden_run.steps
    assert [float(row["loss"]) for row in rows] == pytest.approx(said["losses"][:len(rows)], rel=1e-5)
    assert [float(row["grad_norm"]) for row in rows] == pytest.approx(said["total_grad_norm"][:len(rows)], rel=1e-4)
    for name, norm in said["grad_norms"].items():               # one of them is a ten-thousandth of the whole: float32 rounds it coarser
        assert golden_run.norms[name] == pytest.approx(norm, rel=1e-4, abs=2e-7), name
    first = whole_checkpoints(Path(golden_run.out))[0]
    after, average = ({released_name(name.removeprefix("unet.")): value for name, value in load_file(first / file).items()}
                      for file in ("model.safetensors", "ema.safetensors"))
    for name, expected in said["after_step_1"].items():
        value = after[name].double()
        # Adam's first step is nearly the gradient's sign, so float32 noise in the tiniest of a million gradients moves their sum by 1e-3
        close = 2e-3 if value.numel() > 900_000 else 1e-3
        assert value.sum().item() == pytest.approx(expected["sum"], abs=close), name
        assert value.abs().sum().item() == pytest.approx(expected["abs_sum"], abs=1e-3), name
        assert (value - golden_run.before[name].double()).norm().item() == pytest.approx(expected["delta_l2"], rel=5e-3), name
        assert average[name].double().sum().item() == pytest.approx(expected["ema_sum"], abs=close), name
    torch.testing.assert_close(after["conv_out.weight"], golden_run.tensors["out.conv_out.weight.after_1"], atol=2e-5, rtol=0)
    assert state_of(first)["ema_updates"] == 1
