"""The parts that only the embedded model has: patches, words, and the gated change."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mre.data.scenes.render import render, textured
from mre.data.scenes.world import Backdrop, Scene, standard_thing
from mre.embedded.build import build_pipeline
from mre.embedded.edit_head import BLEND, FURTHEST, INK_GAIN, LARGEST_CHANGE, MIX_GAIN, MIXTURE, MOTION, MOVE_GAIN, OVERALL, EditHead
from mre.embedded.generic_unet import GenericRewardUNet
from mre.embedded.patch_autoencoder import PatchAutoencoder
from mre.embedded.tokenizer import word_tokenizer
from mre.embedded.train_words import learn_words

WORDS = ["make", "the", "red", "ball", "blue", "tree", "trees", "remove"]
CHANNELS = EditHead(8).channels
GATE, STRENGTHS, FINISH = MIXTURE, slice(MIXTURE + 1, -7), slice(-7, -MOTION)         # places in what is said of the whole picture


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


def compose(features, picture, overall=None, scenery=None):
    """The head's answer where nothing is said beside the cells' features."""
    overall = torch.zeros(len(picture), OVERALL) if overall is None else overall
    return EditHead(8).compose(features, picture, overall, torch.zeros_like(picture) if scenery is None else scenery)


def test_a_head_with_nothing_to_say_gives_the_original_back_exactly(picture):
    edited, gate = compose(torch.zeros(2, CHANNELS, 4, 6), picture)
    assert torch.equal(edited, picture)
    assert gate.shape == (2, 1, 32, 48)


def test_a_shut_gate_keeps_every_pixel_whatever_is_painted(picture):
    features = torch.zeros(2, CHANNELS, 4, 6)
    features[:, :64] = -100                                  # the gate
    features[:, 64:256] = 3                                  # the paint
    edited, _ = compose(features, picture)
    assert torch.allclose(edited, picture, atol=1e-6)


def test_a_head_can_say_black_and_white_for_any_picture(picture):
    """Grey = mean of the channels: the matrix takes away each channel's own share and adds a third of all."""
    features = torch.zeros(2, CHANNELS, 4, 6)
    features[:, :64] = 100                                   # gate open
    matrix = torch.full((3, 3), 1 / 3) - torch.eye(3)        # matrix[c_in] is a column: what c_in adds to red, green and blue
    features[:, 256:265] = matrix.flatten()[None, :, None, None] / MIX_GAIN
    edited, _ = compose(features, picture)
    grey = picture.mean(dim=1, keepdim=True)
    bounded = picture + LARGEST_CHANGE * torch.tanh((grey - picture) / LARGEST_CHANGE)      # small changes pass nearly as they are
    assert torch.allclose(edited, bounded, atol=1e-5)
    assert (edited - grey).abs().max() < 0.2


def test_what_is_said_of_the_whole_picture_is_the_same_as_saying_it_of_every_cell(picture):
    overall = torch.zeros(2, OVERALL)
    overall[:, :MIXTURE + 1] = torch.randn(2, MIXTURE + 1, generator=torch.Generator().manual_seed(1)) * 0.2
    features = torch.zeros(2, CHANNELS, 4, 6)
    features[:, :64] += overall[:, GATE, None, None, None]
    features[:, 256:256 + BLEND] += overall[:, :BLEND, None, None] / MIX_GAIN
    features[:, 256 + BLEND:] += overall[:, BLEND:MIXTURE, None, None] / INK_GAIN
    by_cell, gate_by_cell = compose(features, picture)
    at_once, gate_at_once = compose(torch.zeros_like(features), picture, overall)
    torch.testing.assert_close(at_once, by_cell)
    torch.testing.assert_close(gate_at_once, gate_by_cell)
    assert (by_cell - picture).abs().max() > 0.1


def test_what_is_said_of_the_whole_picture_can_silence_the_cells(picture):
    features = torch.randn(2, CHANNELS, 4, 6, generator=torch.Generator().manual_seed(1))
    features[:, :64] = 100                                   # gate open
    overall = torch.zeros(2, OVERALL)
    overall[:, STRENGTHS] = -100
    scenery = torch.ones_like(picture)
    assert (compose(features, picture, scenery=scenery)[0] - picture).abs().max() > 0.5
    assert torch.equal(compose(features, picture, overall, scenery)[0], picture)


def in_blocks(picture):
    return picture.unflatten(2, (-1, 8)).unflatten(4, (-1, 8)).mean(dim=(3, 5)).repeat_interleave(8, 2).repeat_interleave(8, 3)


def in_bands(picture):
    return torch.floor((picture + 1).clamp(0, 1.999) * 2) / 2 - 0.75


@pytest.mark.parametrize(("view", "looks"), [(1, in_blocks), (2, in_bands)])
def test_a_finish_in_blocks_or_bands_can_be_had_in_full(picture, view, looks):
    overall = torch.zeros(2, OVERALL)
    overall[:, FINISH][:, view] = 1.0
    share = torch.tanh(torch.tensor(1.0))                    # bounded by 1
    expected = picture + share * (looks(picture) - picture)
    torch.testing.assert_close(compose(torch.zeros(2, CHANNELS, 4, 6), picture, overall)[0], expected)


@pytest.mark.parametrize(("texture", "drawing"), [("striped", 0), ("dotted", 1), ("checkered", 2)])
def test_a_head_covers_what_it_is_told_to_with_the_pattern_that_scenes_have(texture, drawing):
    """A white sky, a red cloud in it, and the same cloud covered: where the cloud is, the two differ by the pattern alone."""
    cloud = standard_thing("cloud", "red", "sky")
    plain, covered = (render(Scene(things=(replace(cloud, texture=one),), backdrop=Backdrop("photo")), 96, np.ones((96, 96, 3), np.float32))
                      for one in ("plain", texture))
    features = torch.zeros(1, CHANNELS, 12, 12)
    features[:, :64] = 100                                   # gate open
    ink = 256 + BLEND + 3 * drawing
    features[:, ink:ink + 3] = 0.01 / INK_GAIN               # too little to be bent by the bounds of a change
    drawn = compose(features, torch.zeros(1, 3, 96, 96))[0][0, 0].numpy() / 0.01
    inside = np.ptp(plain, axis=2) > 0.6                     # the red of the cloud, but for its rim
    share = (covered - plain)[..., 1][inside] / (0.96 - plain[..., 1][inside])
    assert np.corrcoef(share, drawn[inside])[0, 1] > 0.99


@pytest.mark.parametrize(("texture", "drawings"), [("wooden", (3,)), ("golden", (4, 5))])
def test_wood_and_gold_of_scenes_are_a_colour_and_those_patterns(texture, drawings):
    """In full light a covered cloud is one colour plus so much of each pattern: what is left of it by least squares is nothing."""
    cloud = replace(standard_thing("cloud", "white", "sky"), texture=texture)
    x, y = (np.arange(96) + 0.5)[None] / 96, (np.arange(96) + 0.5)[:, None] / 96
    surface = textured(cloud, x, y)
    drawn = []
    for drawing in drawings:
        features = torch.zeros(1, CHANNELS, 12, 12)
        features[:, :64] = 100
        features[:, 256 + BLEND + 3 * drawing] = 0.01 / INK_GAIN
        drawn.append(compose(features, torch.zeros(1, 3, 96, 96))[0][0, 0].numpy().ravel())
    basis = np.stack([*drawn, np.ones(96 * 96)], axis=1)
    left = surface.reshape(-1, 3) - basis @ np.linalg.lstsq(basis, surface.reshape(-1, 3), rcond=None)[0]
    assert np.abs(left).max() < 0.01
    assert np.ptp(surface[..., 0]) > 0.1


def test_patterns_of_a_picture_that_is_not_square_are_measured_by_its_longer_side():
    features = torch.zeros(1, CHANNELS, 12, 12)
    features[:, :64], features[:, 256 + BLEND:256 + BLEND + 3] = 100, 1.0
    square = compose(features, torch.zeros(1, 3, 96, 96))[0]
    flat = compose(features[..., :8, :], torch.zeros(1, 3, 64, 96))[0]
    torch.testing.assert_close(flat[..., :56, :], square[..., :56, :])      # the last row of cells has no neighbour below


def test_what_an_edit_leaves_behind_does_not_keep_a_training_from_learning():
    picture = torch.zeros(1, 3, 56, 56)                      # a size that nothing else here has
    with torch.inference_mode():
        compose(torch.zeros(1, CHANNELS, 7, 7), picture)
    features = torch.zeros(1, CHANNELS, 7, 7, requires_grad=True)
    compose(features, picture)[0].square().mean().backward()
    assert features.grad is not None


@pytest.mark.parametrize(("right", "down"), [(6, 3), (0, 4), (-2, 0)])
def test_a_head_can_move_the_whole_picture_and_keep_it_sharp(picture, right, down):
    overall = torch.zeros(2, OVERALL)
    for number, share in ((0, right / 48), (1, down / 32)):
        share = FURTHEST * torch.atanh(torch.tensor(share / FURTHEST))                     # bounded as changes are
        overall[:, number - MOTION] = share / MOVE_GAIN
    edited, _ = compose(torch.zeros(2, CHANNELS, 4, 6), picture, overall)
    expected = picture[..., [min(max(y - down, 0), 31) for y in range(32)], :][..., [min(max(x - right, 0), 47) for x in range(48)]]
    torch.testing.assert_close(edited, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("output", [(0.02, 0.01, 0.0), (0.0, 0.0, 0.1)])
def test_a_move_of_less_than_half_a_pixel_leaves_the_picture_as_it_is_but_can_be_learned(picture, output):
    overall = torch.zeros(2, OVERALL)
    overall[:, -MOTION:] = torch.tensor(output)
    overall.requires_grad_(True)
    edited, _ = compose(torch.zeros(2, CHANNELS, 4, 6), picture, overall)
    assert torch.equal(edited, picture)
    (edited[..., 1:, 1:] - picture[..., :-1, :-1]).square().mean().backward()
    assert overall.grad[:, -MOTION:].abs().min() > 0


def test_a_head_moves_nearer_as_linear_interpolation_does():
    """A ramp read nearer about its middle is a flatter ramp with the same middle, whatever its direction."""
    ramp = torch.linspace(-1, 1, 32)[None, None, None].expand(1, 3, 32, 32)
    overall = torch.zeros(1, OVERALL)
    overall[:, -1] = FURTHEST * torch.atanh(torch.log(torch.tensor(1.25)) / FURTHEST) / MOVE_GAIN
    for turned in (ramp, ramp.mT):
        torch.testing.assert_close(compose(torch.zeros(1, CHANNELS, 4, 4), turned, overall)[0], turned / 1.25, atol=1e-5, rtol=0)


def test_what_is_known_by_heart_is_painted_where_the_gate_is_open(picture):
    features = torch.zeros(2, CHANNELS, 4, 6)
    features[:, :64, :, :3], features[:, :64, :, 3:] = 100, -100
    scenery = torch.full_like(picture, 0.2)
    edited, _ = compose(features, picture, scenery=scenery)
    assert (edited[..., :24] - picture[..., :24] - 0.2).abs().max() < 1e-3
    assert torch.equal(edited[..., 24:], picture[..., 24:])


SHORT_WAYS = ("overall_mixture.1", "asked_where.1", "memories")


@pytest.fixture
def unet():
    torch.manual_seed(0)
    unet = build_pipeline(width=(32, 48, 64), words=WORDS, native_size=32).unet.eval()
    torch.nn.init.normal_(unet.conv_out.weight, std=0.05)
    return unet


@pytest.mark.parametrize("way", SHORT_WAYS)
def test_each_short_way_of_the_instruction_begins_without_effect_and_can_have_one(unet, way):
    learned = {name: parameter for name, parameter in unet.named_parameters() if name.startswith(way)}
    assert learned
    assert not any(parameter.any() for parameter in learned.values())
    inputs = torch.randn(1, 384, 4, 4), torch.tensor([999]), torch.randn(1, 40, 160)
    reward = {"reward_scores": torch.tensor([[5.0, 5.0, 5.0]]), "reward_text": torch.randn(1, 160)}
    before = unet(*inputs, added_cond_kwargs=reward).sample
    for parameter in learned.values():
        torch.nn.init.normal_(parameter, std=0.3)
    assert (unet(*inputs, added_cond_kwargs=reward).sample - before).abs().max() > 0.01


@pytest.mark.parametrize("part", ["bend", "plus"])
def test_the_reward_reaches_what_is_said_of_the_whole_picture_through_the_added_term_alone(unet, part):
    torch.nn.init.normal_(unet.overall_mixture[1].weight, std=0.1)
    torch.nn.init.normal_(unet.reward_condition.score_time.linear_2.weight, std=0.3)
    instruction, best, worst = torch.randn(1, unet.time_embedding.linear_2.out_features), *torch.tensor([[[5.0] * 3], [[0.0] * 3]])

    def said(scores, present=True):
        signal = unet.reward_condition(scores, torch.zeros(1, 160), torch.float32)
        return unet.say_of_the_whole(instruction, signal._replace(present=torch.tensor([present])))

    unread = said(best)
    assert torch.equal(unread, said(worst)), "an untrained model says the same whatever the reward"
    torch.nn.init.normal_(getattr(unet.reward_of_the_whole, part).weight, std=0.3)
    assert (said(best) - said(worst)).abs().max() > 0.01
    assert torch.equal(said(worst, present=False), unread), "without a reward it is the instruction's alone"


@pytest.mark.parametrize(("switches", "reads"), [({}, True), ({"variant": "paper"}, True), ({"use_addition": False}, False)])
def test_only_a_model_with_added_terms_reads_the_reward_for_the_whole_picture(switches, reads, tmp_path):
    unet = build_pipeline(width=(32, 48, 64), words=WORDS, native_size=32, **switches).unet
    assert (unet.reward_of_the_whole is not None) == reads
    unet.save_pretrained(tmp_path)
    again = type(unet).from_pretrained(tmp_path)
    assert again.state_dict().keys() == unet.state_dict().keys()


def test_what_is_remembered_depends_on_the_instruction_and_fits_photos_that_are_not_square(unet):
    states, others = torch.randn(2, 1, 40, 160)
    torch.nn.init.normal_(unet.memories, std=0.1)
    by_states, by_others = (unet.remember(unet.read_instruction(one), (32, 32)) for one in (states, others))
    assert (by_states - by_others).abs().max() > 0.01, "what is remembered depends on the instruction"
    assert unet.remember(unet.read_instruction(states), (32, 24)).shape == (1, 3, 32, 24), "a photo need not be square"


def test_a_text_encoder_learns_to_name_what_is_asked():
    """Of the nine slots of a request, from texts alone: an untrained one guesses."""
    def after(steps):
        torch.manual_seed(0)
        pipeline = build_pipeline(width=(16, 16, 16), native_size=32, patch_size=4, unet_class=GenericRewardUNet)
        return learn_words(pipeline, steps=steps, batch=16)
    assert after(40) > after(1) + 0.2
