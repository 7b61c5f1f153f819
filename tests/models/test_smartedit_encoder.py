"""What SmartEdit reads: the same for the same picture however it comes, once for each instruction of it, and nothing it cannot read."""

import numpy as np
import pytest
import torch
from PIL import Image

from mre.editors.kinds import make_editor
from mre.editors.settings import EditSettings
from mre.errors import SettingsError
from mre.models.smartedit.instruction import as_pictures
from mre.models.zoo import load_pipeline
from mre.rewards import Reward


@pytest.fixture(scope="module")
def pipeline(smartedit_released):
    made = load_pipeline(str(smartedit_released), "cpu")
    made.language_model.float()
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture(scope="module")
def encoder(pipeline):
    return pipeline.instruction_encoder.encoder


def photo(seed=0, size=(40, 24)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8))


def test_two_of_different_lengths_together_are_each_what_they_are_alone(encoder):
    texts, photos = ["add 2 bicycles", "remove the small cat that sits in the mirror"], [photo(0), photo(1)]
    together = encoder.encode(texts, photos)
    assert together.context.shape == (2, 77, 64)
    assert together.null_context.shape == (1, 77, 64)
    assert together.residual.shape == (2, 32, 4, 4)
    for row in range(2):
        alone = encoder.encode(texts[row:row + 1], photos[row:row + 1])
        assert torch.allclose(together.context[row], alone.context[0], atol=1e-5)
        assert torch.allclose(together.residual[row], alone.residual[0], atol=1e-5)
    assert not torch.allclose(together.context[0], together.context[1], atol=1e-2)


def test_the_condition_depends_on_instruction_and_picture_alone(encoder):
    read = encoder.encode(["add 2 bicycles"], [photo()])
    assert torch.equal(encoder.encode(["add 2 bicycles"], [photo()]).context, read.context)
    for text, picture in (("add 3 bicycles", photo()), ("add 2 bicycles", photo(1))):
        assert not torch.equal(encoder.encode([text], [picture]).context, read.context)
        assert encoder.key(text, picture) != encoder.key("add 2 bicycles", photo())


def test_a_picture_is_the_same_turned_by_its_file_or_upright_and_in_any_form():
    upright, exif = photo(), Image.Exif()
    exif[0x0112] = 6                                            # turned left in the file; a viewer turns it right
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    turned.info["exif"] = exif.tobytes()
    pixels = np.asarray(upright)
    forms = [turned, pixels, pixels / 255, torch.from_numpy(pixels.copy()).permute(2, 0, 1),
             torch.from_numpy(pixels / 255).permute(2, 0, 1)[None], [upright], upright.convert("RGBA")]
    for form in forms:
        [picture] = as_pictures(form)
        assert np.array_equal(np.asarray(picture), pixels)


@pytest.mark.parametrize(("text", "message"), [("turn <img_3> red", "holds <img_3>"), ("end</s>", "holds </s>"),
                                               ("cat " * 500, "has about 500 tokens, and this model reads 64; shorten it")])
def test_an_instruction_that_cannot_be_read_is_refused_in_one_line(encoder, text, message):
    with pytest.raises(SettingsError, match=message) as raised:
        encoder.encode([text], [photo()])
    assert "\n" not in str(raised.value)


def test_rewards_seeds_and_steps_never_ask_the_language_model_again(smartedit_converted, calls):
    editor = make_editor(str(smartedit_converted), device="cpu")
    settings = EditSettings("add 2 bicycles", steps=1)
    first = editor.edit(photo(), settings)
    assert first.image.size == (40, 24)
    assert first.made.size == (64, 64)
    assert calls == [1]
    for seed in range(2):
        editor.edit(photo(), EditSettings("add 2 bicycles", Reward(seed, 3, 4), seed=seed, steps=1))
    assert calls == [1]
    editor.edit(photo(), EditSettings("remove the cat", steps=1))
    assert calls == [1, 1]


def test_kept_conditions_are_what_is_read_anew_and_the_oldest_go_first(pipeline, calls):
    kept = pipeline.instruction_encoder
    kept.clear()
    kept.most = 2
    texts, photos = ["one", "two"], [photo(), photo()]
    read = kept.encode(texts, photos)
    again = kept.encode([texts[1], texts[0]], photos)
    assert torch.equal(again.context, read.context.flip(0))
    assert torch.equal(again.residual, read.residual.flip(0))
    assert calls == [2]
    kept.encode(["three"], [photo()])
    assert calls == [2, 1]
    assert len(kept) == 2
    kept.encode(["two"], [photo()])                             # the one that was not asked for last is gone
    assert calls == [2, 1, 1]
    kept.most = 1000
