"""The small SmartEdit: trained end to end with what reads picture and instruction, and used like any other."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mre.data.scenes.looking import draw_looking
from mre.embedded import smart
from mre.embedded.settings import PRESETS, READERS
from mre.errors import SettingsError
from mre.models.smartedit.prompt import IMAGE_TOKENS, conversation, encode, read_tokenizer
from mre.models.zoo import load_pipeline
from mre.rewards import Reward
from mre.training.config import TrainConfig

FEW = {"resolution": 32, "width": (16, 16, 16), "batch_size": 2, "max_steps": 2, "warmup_steps": 0, "log_every": 1, "checkpoint_every": 1,
       "validation_every": 2, "validation_samples": 1, "validation_scored": 1}


@pytest.fixture(scope="module", autouse=True)
def small():
    """Smaller still, for all tests here."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"CONTEXT": 32, "VISION": 32, "VISION_LAYERS": 2, "LANGUAGE": 32, "LANGUAGE_LAYERS": 1}.items():
            patch.setattr(smart, name, value)
        yield


def numbers_of(pipeline):
    return {name: {key: value.clone() for key, value in getattr(pipeline, name).state_dict().items()} for name in (*READERS, "unet")}


def test_words_of_the_scenes_are_one_token_each_and_a_saved_tokenizer_reads_alike(tmp_path):
    tokenizer = smart.small_llama_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    kept = read_tokenizer(tmp_path)
    for text in ("paint the largest ball blue", "take away everything that can fly", "add a xylophone, 木琴"):
        assert encode(text, tokenizer, smart.BARE_TEMPLATE) == encode(text, kept, smart.BARE_TEMPLATE)
    ids = encode("paint the largest ball blue", kept, smart.BARE_TEMPLATE)
    assert len(ids) == 1 + 3 + 5 + len(IMAGE_TOKENS) + 1             # begin, the picture in its two signs, five words, 32 tokens, end
    assert "assistant" not in conversation("x", smart.BARE_TEMPLATE)


def test_readers_learn_with_the_unet_and_rewards_go_on_from_there(train, tmp_path):
    first = TrainConfig(**PRESETS["tiny-smart-start"] | FEW | {"out": str(tmp_path / "start")})
    run = train(first)
    begun = load_pipeline(str(tmp_path / "start" / "start"), "cpu")
    fresh, trained = numbers_of(begun), numbers_of(run.pipeline)
    for name in fresh:
        assert any(not torch.equal(value, trained[name][key]) for key, value in fresh[name].items()), name
    assert (tmp_path / "start" / "validation.csv").exists()

    triplet = draw_looking(0, 0, "heldout", 32, spoiled=False)
    editor: Any = load_pipeline(str(tmp_path / "start" / "pipeline"), "cpu")
    assert not editor.readers.are_trained                            # read again, it keeps what it has read
    made = [pipeline.to("cpu")(triplet.instruction, Image.fromarray(triplet.original), reward=Reward.best(),
                               generator=torch.Generator().manual_seed(0)).images[0] for pipeline in (editor, run.pipeline)]
    assert np.array_equal(np.asarray(made[0]), np.asarray(made[1]))
    assert len(editor.instruction_encoder) == 1

    second = TrainConfig(**PRESETS["tiny-smart"] | FEW | {
        "out": str(tmp_path / "reward"), "init_from": str(tmp_path / "start" / "pipeline"), "validation_every": 0, "half": False,
        "ema": False})
    train(second, max_steps=1)
    before = numbers_of(load_pipeline(str(tmp_path / "reward" / "pipeline"), "cpu"))
    again = train(second)                                            # goes on from the checkpoint of the first step
    after = numbers_of(again.pipeline)
    assert again.step == 2
    for name in READERS:
        assert any(not torch.equal(value, after[name][key]) for key, value in before[name].items()), name
    assert load_pipeline(str(tmp_path / "reward" / "pipeline"), "cpu").conditioned


def test_one_reader_alone_can_be_trained_and_keeps_the_others(train, tmp_path):
    settings = PRESETS["tiny-smart-start"] | FEW | {"out": str(tmp_path / "run"), "train_readers": ("connector",), "validation_every": 0}
    run = train(TrainConfig(**settings))
    fresh, trained = numbers_of(load_pipeline(str(tmp_path / "run" / "start"), "cpu")), numbers_of(run.pipeline)
    changed = {name for name in fresh if any(not torch.equal(value, trained[name][key]) for key, value in fresh[name].items())}
    assert changed == {"connector", "unet"}


def test_a_model_without_such_readers_is_named_and_a_cache_is_refused(train, tmp_path):
    with pytest.raises(SettingsError, match="train_readers names connector, and this model has no such part"):
        train(TrainConfig(**PRESETS["tiny-lab-start"] | FEW | {"init_from": "embedded-generic", "out": str(tmp_path / "run"),
                                                                   "train_readers": ("connector",)}))
    with pytest.raises(SettingsError, match=r"train_readers must be some of vision_tower, .* got 'ears'"):
        train(TrainConfig(**PRESETS["tiny-smart-start"] | FEW | {"out": str(tmp_path / "run"), "train_readers": ("ears",)}))
    with pytest.raises(SettingsError, match="it cannot be used with train_readers"):
        TrainConfig(data="pix2pix", data_dir="here", rewards="them", train_readers=("connector",), cache_latents="cache")


def test_the_plain_editor_has_about_as_many_parameters():
    def count(pipeline):
        return sum(parameter.numel() for part in pipeline.components.values() if isinstance(part, torch.nn.Module)
                   for parameter in part.parameters())

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"CONTEXT": 128, "VISION": 96, "VISION_LAYERS": 4, "LANGUAGE": 128, "LANGUAGE_LAYERS": 2}.items():
            patch.setattr(smart, name, value)
        config = TrainConfig(**PRESETS["tiny-smart-start"])
        sizes = [count(make(config)) for make in (smart.fresh_smart_pipeline, smart.fresh_plain_pipeline)]
    assert max(sizes) < 1.06 * min(sizes)
    assert max(sizes) * 2 < 12e6                 # bytes in half precision
