"""The parts that only the embedded model has: patches, words, and the gated change."""

import pytest
import torch

from mre.models.edit_head import LARGEST_CHANGE, MIX_GAIN, OVERALL, EditHead
from mre.models.embedded import build_pipeline
from mre.models.patch_autoencoder import PatchAutoencoder
from mre.models.words import word_tokenizer

WORDS = ["make", "the", "red", "ball", "blue", "tree", "trees", "remove"]


@pytest.fixture
def picture():
    return torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_patches_give_the_picture_back_without_loss(picture, tmp_path):
    autoencoder = PatchAutoencoder(patch_size=8)
    latents = autoencoder.encode(picture).latent_dist.mode()
    assert latents.shape == (2, 192, 4, 6)
    assert torch.equal(autoencoder.decode(latents).sample, picture)
    autoencoder.save_pretrained(tmp_path)
    again = PatchAutoencoder.from_pretrained(tmp_path)
    assert torch.equal(again.encode(picture).latent_dist.sample(), latents)
    assert 2 ** (len(again.config.block_out_channels) - 1) == 8, "the stock pipeline reads the factor from here"


def test_each_known_word_is_one_token_and_no_text_reads_as_its_own_end():
    tokenizer = word_tokenizer(WORDS, max_length=16)
    assert len(tokenizer.tokenize("Make the red ball blue")) == 5
    for text in ("dragons", "把球变成蓝色", "étoile № 5 🎈", "trees!?"):
        inside = tokenizer(text).input_ids[1:-1]
        assert inside
        assert tokenizer.eos_token_id not in inside, text
    assert len(tokenizer("red " * 50, truncation=True).input_ids) == 16


def test_a_head_with_nothing_to_say_gives_the_original_back_exactly(picture):
    head = EditHead(8)
    edited, gate = head.compose(torch.zeros(2, head.channels, 4, 6), picture)
    assert torch.equal(edited, picture)
    assert gate.shape == (2, 1, 32, 48)


def test_a_shut_gate_keeps_every_pixel_whatever_is_painted(picture):
    head = EditHead(8)
    features = torch.zeros(2, head.channels, 4, 6)
    features[:, :64] = -100                                  # the gate
    features[:, 64:256] = 3                                  # the paint
    edited, _ = head.compose(features, picture)
    assert torch.allclose(edited, picture, atol=1e-6)


def test_a_head_can_say_black_and_white_for_any_picture(picture):
    """Grey = mean of the channels: the matrix takes away each channel's own share and adds a third of all."""
    head = EditHead(8)
    features = torch.zeros(2, head.channels, 4, 6)
    features[:, :64] = 100                                   # gate open
    matrix = torch.full((3, 3), 1 / 3) - torch.eye(3)        # matrix[c_in] is a column: what c_in adds to red, green and blue
    features[:, 256:265] = matrix.flatten()[None, :, None, None] / MIX_GAIN
    edited, _ = head.compose(features, picture)
    grey = picture.mean(dim=1, keepdim=True)
    bounded = picture + LARGEST_CHANGE * torch.tanh((grey - picture) / LARGEST_CHANGE)      # small changes pass nearly as they are
    assert torch.allclose(edited, bounded, atol=1e-5)
    assert (edited - grey).abs().max() < 0.2


def test_what_is_said_of_the_whole_picture_is_the_same_as_saying_it_of_every_cell(picture):
    head = EditHead(8)
    overall = torch.randn(2, OVERALL, generator=torch.Generator().manual_seed(1)) * 0.2
    features = torch.zeros(2, head.channels, 4, 6)
    features[:, :64] += overall[:, -1:, None, None]
    features[:, 256:] += overall[:, :-1, None, None] / MIX_GAIN
    by_cell, gate_by_cell = head.compose(features, picture)
    at_once, gate_at_once = head.compose(torch.zeros_like(features), picture, overall)
    torch.testing.assert_close(at_once, by_cell)
    torch.testing.assert_close(gate_at_once, gate_by_cell)
    assert (by_cell - picture).abs().max() > 0.1


def test_a_model_that_is_given_the_short_ways_edits_as_before_until_they_are_trained():
    torch.manual_seed(0)
    unet = build_pipeline(width=(32, 48, 64), words=WORDS, native_size=32).unet.eval()
    torch.nn.init.normal_(unet.conv_out.weight, std=0.05)
    old = type(unet).from_config({**unet.config, "short_ways": False}).eval()
    short_ways = ("overall_mixture.", "asked_where.")
    old.load_state_dict({name: value for name, value in unet.state_dict().items() if not name.startswith(short_ways)})
    inputs = torch.randn(1, 384, 4, 4), torch.tensor([999]), torch.randn(1, 40, 160)
    reward = {"reward_scores": torch.tensor([[5.0, 5.0, 5.0]]), "reward_text": torch.randn(1, 160)}
    before = old(*inputs, added_cond_kwargs=reward).sample
    old.add_short_ways()
    assert old.config.short_ways
    assert torch.equal(old(*inputs, added_cond_kwargs=reward).sample, before)
    for last in (old.overall_mixture[1], old.asked_where[1]):
        torch.nn.init.constant_(last.bias, 0.3)
        assert (old(*inputs, added_cond_kwargs=reward).sample - before).abs().max() > 0.01
        torch.nn.init.zeros_(last.bias)
