"""A vision-language model as a judge's body, a small random Qwen2.5-VL or Qwen3-VL: it learns by adapters alone, its folder is small."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoConfig, Qwen2_5_VLModel, Qwen3VLConfig, Qwen3VLModel

from mre.errors import JudgeError
from mre.judge.reward_models.bodies import build, sizes_of
from mre.judge.reward_models.folder import Calibration, JudgeFacts, load_network, read_facts, save_judge
from mre.rewards import PERSPECTIVES
from mre.training.judges.batches import WeightedSource
from mre.training.judges.config import JudgeTraining
from mre.training.judges.groups import GroupList, LabelledEdit, LabelledGroup
from mre.training.judges.loop import JudgeRun


@pytest.fixture(scope="module")
def base(shared, tmp_path_factory):
    folder, parity = tmp_path_factory.mktemp("qwen"), shared / "parity_editreward"
    for path in (*parity.glob("*config.json"), *(parity / "tokenizer").iterdir()):
        (folder / path.name).write_bytes(path.read_bytes())
    torch.manual_seed(0)
    Qwen2_5_VLModel(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def base3(base, tmp_path_factory):
    """A random Qwen3-VL with the tokenizer and the pictures of the other."""
    folder, other = tmp_path_factory.mktemp("qwen3"), json.loads((base / "config.json").read_text())
    for path in base.iterdir():
        if path.suffix != ".safetensors":
            (folder / path.name).write_bytes(path.read_bytes())
    ids = {name: other[name] for name in ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")}
    text = {"vocab_size": 666, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "head_dim": 8,
            "rope_scaling": {"rope_type": "default", "mrope_section": [2, 1, 1], "mrope_interleaved": True}}
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "out_hidden_size": 32, "patch_size": 14,
              "spatial_merge_size": 2, "temporal_patch_size": 2, "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]}
    torch.manual_seed(0)
    Qwen3VLModel(Qwen3VLConfig(text_config=text, vision_config=vision, **ids)).save_pretrained(folder)
    return folder


def sizes(base, **more):
    return {"base": str(base), "side": 56, "hidden": 16, **more}


def picture(seed):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 70, 3), dtype=np.uint8))


@pytest.mark.parametrize("kind", ["base", "base3"])
def test_a_batch_of_three_is_three_batches_of_one(kind, request, tmp_path):
    base = request.getfixturevalue(kind)
    network = build("vlm", sizes(base), PERSPECTIVES, tmp_path).eval()
    originals, editeds = ([network.seen(picture(seed + add)) for seed in range(3)] for add in (0, 9))
    words = ["make it red", "remove the tree that stands to the left of the house", "<|image_pad|>winter"]
    with torch.inference_mode():
        together = network(**network.inputs(originals, editeds, words))
        for row in range(3):
            alone = network(**network.inputs(originals[row:row + 1], editeds[row:row + 1], words[row:row + 1]))
            assert torch.allclose(alone.mean[0], together.mean[row], atol=1e-4)
            assert torch.allclose(alone.deviation[0], together.deviation[row], atol=1e-4)
    assert len({round(value, 5) for value in together.mean[:, 0].tolist()}) == 3


def test_adapters_and_heads_learn_the_model_does_not_and_the_folder_holds_only_them(base, tmp_path):
    groups = GroupList("p", [LabelledGroup(str(number), tuple(
        LabelledEdit("x", picture(number), picture(number + more), (float(more), 2.0, 5.0)) for more in (1, 3))) for number in range(4)])
    torch.manual_seed(1)
    network = build("vlm", sizes(base, lora_rank=2), PERSPECTIVES, tmp_path)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    config = JudgeTraining(steps=3, groups=2, validate_every=3, learning_rate=1e-2)
    JudgeRun(network, [WeightedSource(groups)], [groups], [], config, tmp_path / "run").train()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert any("lora_B" in name for name in changed)
    assert all("lora_" in name or name.startswith("heads.") for name in changed)
    facts = JudgeFacts("vlm", sizes_of(network), PERSPECTIVES, dict.fromkeys(PERSPECTIVES, Calibration()))
    save_judge(tmp_path / "judge", network, facts, half=False)
    assert all("lora_" in name or name.startswith("heads.") for name in load_file(tmp_path / "judge" / "model.safetensors"))
    again = load_network(tmp_path / "judge", read_facts(tmp_path / "judge"))
    given = network.inputs([network.seen(picture(1))], [network.seen(picture(2))], ["x"])
    with torch.inference_mode():
        assert torch.equal(network.eval()(**dict(given)).mean, again(**dict(given)).mean)


def test_a_base_that_is_no_such_model_is_refused_in_one_line(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    for where, words in ((tmp_path, "is a bert"), (tmp_path / "none", "no whole model on this machine")):
        with pytest.raises(JudgeError, match=words) as caught:
            build("vlm", {"base": str(where)}, PERSPECTIVES, tmp_path)
        assert "\n" not in str(caught.value)
