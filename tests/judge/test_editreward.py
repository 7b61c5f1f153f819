"""EditReward's released networks: golden numbers of the reference on a small random model, at every step from pixels to the fused score."""

import hashlib
import json
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mre.__main__ import main
from mre.errors import ImageError, JudgeError
from mre.judge.editreward import EditRewardJudge, fit_scale, read_scale, write_scale
from mre.judge.kinds import make_judge
from mre.judge.reward_models import editreward
from mre.judge.reward_models.editreward import HEADS, cleaned, fused, load_editreward, prompts, resized, user_text
from mre.judge.verdicts import Ask, score_one


@pytest.fixture(scope="module")
def parity(shared):
    return shared / "parity_editreward"


@pytest.fixture(scope="module")
def numbers(parity):
    return {name: json.loads((parity / f"{name}.json").read_text()) for name in ("forward", "prompts", "keys", "recipe", "preprocessing")}


@pytest.fixture(scope="module")
def tensors(parity):
    return load_file(parity / "forward.safetensors")


@pytest.fixture(scope="module")
def made(numbers):
    """The reference's weights by their new names: each is drawn from its name."""
    scale, start = numbers["recipe"]["param_scale"], numbers["recipe"]["param_start"]
    weights = {}
    for key in numbers["keys"]["keys"]:
        x = np.random.default_rng(zlib.crc32(key["name"].encode(), start)).standard_normal(key["shape"])
        x = {"norm": 1 + 0.02 * x, "bias": 0.02 * x}.get(key["kind"], scale * x)
        weights[key["name"]] = torch.from_numpy(x.astype(np.float32))
    return weights


@pytest.fixture(scope="module")
def base(parity, tmp_path_factory):
    """The base model in one folder, as the hub has it."""
    folder = tmp_path_factory.mktemp("base")
    for path in (*parity.glob("*config.json"), *(parity / "tokenizer").iterdir()):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture(scope="module")
def release(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("release")
    save_file(made, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def model(release, base):
    return load_editreward(release, base)


def pictures(parity, items):
    return [[resized(Image.open(parity / item[side])) for item in items] for side in ("source", "edited")] + [
        [item["instruction"] for item in items]]


def test_prompts_are_those_of_the_weights_to_the_byte(numbers):
    for name, known in {**numbers["prompts"]["templates"], "suffix": numbers["prompts"]["suffix"]}.items():
        assert hashlib.sha256(prompts()[name].encode()).hexdigest() == known["sha256"]
        assert len(prompts()[name]) == known["characters"]


def test_a_changed_prompt_is_refused(tmp_path, monkeypatch):
    changed = editreward.PROMPTS.read_text().replace("editing", "Editing")
    (tmp_path / "p.json").write_text(changed)
    monkeypatch.setattr(editreward, "PROMPTS", tmp_path / "p.json")
    prompts.cache_clear()
    with pytest.raises(JudgeError, match="was changed"):
        prompts()
    monkeypatch.undo()
    prompts.cache_clear()


def test_sequences_are_the_references_ids(model, numbers):
    for known in numbers["prompts"]["prompts"]:
        text = user_text(known["dimension"], known["instruction"])
        assert hashlib.sha256(text.encode()).hexdigest() == known["user_text_sha256"]
        whole = model.chat_text(known["dimension"], known["instruction"])
        assert hashlib.sha256(whole.encode()).hexdigest() == known["full_text_sha256"]
        ids = model.ids(known["dimension"], known["instruction"], (1, 1))
        assert ids == known["input_ids"][:known["reward_position"] + 1]


def test_the_reward_token_is_taken_out_of_an_instruction_until_none_is_left():
    assert cleaned("a<|Re<|Reward|>ward|>b") == "ab"
    assert cleaned("make <|Reward|> it <|image_pad|>red") == "make  it red"


def test_pictures_are_resized_and_cut_as_the_reference_does(model, parity, numbers):
    stored = load_file(parity / "preprocessing.safetensors")
    for case in numbers["preprocessing"]["cases"]:
        name, picture = case["name"], resized(Image.open(parity / case["file"]).convert("RGB"))
        assert [picture.height, picture.width] == case["resized_hw"], name
        pixels = torch.from_numpy(np.array(picture))
        assert int(pixels.long().sum()) == case["resized_sum"], name
        assert torch.equal(pixels[:16, :16], stored[f"{name}.resized_corner"]), name
        patches, grid = model.patches(picture)
        assert grid.tolist() == case["grid_thw"], name
        assert torch.allclose(patches[stored[f"{name}.patch_rows"]], stored[f"{name}.patches"], atol=1e-5), name


def test_sizes_and_refused_shapes_are_the_references(numbers):
    table = numbers["preprocessing"]["size_table"]
    for row in table["rows"]:
        height, width, *expected = row
        if None in expected:
            with pytest.raises(ImageError, match="too long and thin"):
                resized(Image.new("L", (width, height)), "strip")
        elif height * width < 4_000_000:
            made = resized(Image.new("L", (width, height)))
            assert [made.height, made.width] == expected[:2], row


def test_means_and_deviations_of_every_run_are_the_references(model, parity, numbers, tensors):
    for run in numbers["forward"]["runs"]:
        name = run["name"]
        heads = model(*pictures(parity, run["items"]))
        for number, head in enumerate(HEADS):
            assert torch.allclose(heads[:, number], tensors[f"{name}.{head}.head"], atol=1e-4), (name, head)
        for pooling in ("mean", "min", "sum"):
            assert torch.allclose(fused(heads, pooling), tensors[f"{name}.fused.{pooling}"], atol=1e-4), (name, pooling)
    assert not torch.allclose(fused(heads), tensors["wrong.multimodal_positions.mean"][:len(heads)], atol=0.1)


def test_what_lies_between_is_the_references_too(model, parity, numbers, tensors):
    run = next(run for run in numbers["forward"]["runs"] if run["name"] == "one0")
    originals, editeds, instructions = pictures(parity, run["items"])
    with torch.inference_mode():
        seen = torch.cat(model.seen([*originals, *editeds]))
        hidden = model.hidden(originals, editeds, instructions)
    assert torch.allclose(seen, tensors["one0.image_embeds"], atol=1e-4)
    for number, head in enumerate(HEADS):
        assert torch.allclose(hidden[:, number], tensors[f"one0.{head}.hidden_at_reward"], atol=1e-4)


def test_an_original_that_several_edits_share_is_read_once_and_changes_nothing(model, parity, numbers, monkeypatch):
    items = numbers["forward"]["samples"][:2]
    source = resized(Image.open(parity / items[0]["source"]))
    edits = [resized(Image.open(parity / item["edited"])) for item in items] + [source]
    words = ["Make the sky purple.", "Remove the car.", "Make the sky purple."]
    read = []
    whole = model.read_on
    def counted(so_far, parts):
        read.append(sum(map(len, parts)))
        return whole(so_far, parts)
    monkeypatch.setattr(model, "read_on", counted)
    together = model([source] * 3, edits, words)
    shared, = read[:1]
    alone = torch.cat([model([source], [edit], [text]) for edit, text in zip(edits, words, strict=True)])
    assert torch.allclose(together, alone, atol=1e-4)
    assert shared == read[3]            # as many tokens of the original for three edits as for one


def old_names(made, numbers):
    return {key["old_name"]: made[key["name"]] for key in numbers["keys"]["keys"]}


@pytest.mark.parametrize("form", ["old safetensors", "old pth", "wrapped pth", "new pth"])
def test_every_layout_of_the_weights_gives_the_same_numbers(form, made, numbers, base, model, parity, tmp_path):
    given = old_names(made, numbers) if form.startswith(("old", "wrapped")) else made
    if form.endswith("safetensors"):
        save_file(given, tmp_path / "model.safetensors")
    else:
        torch.save({"model": given} if form.startswith("wrapped") else given, tmp_path / "model.pth")
    other = load_editreward(tmp_path, base)
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_weights_of_another_layout_or_size_are_refused_in_one_line(made, base, tmp_path):
    head, table = "rm_heads.head_1.5.weight", "model.language_model.embed_tokens.weight"
    cases = [({k: v for k, v in made.items() if k != head}, f"missing tensor {head}"),
             (made | {head: torch.zeros(2, 8)}, f"tensor {head} must be \\(2, 16\\), it is \\(2, 8\\)"),
             (made | {table: torch.cat([made[table], made[table][:5]])}, "is number 602; it must be the last"),
             ({k: v for k, v in made.items() if "rm_heads" not in k} | {"rm_head.0.weight": torch.zeros(1)}, "has one head"),
             ({"unet.conv.weight": torch.zeros(1)}, "not weights of EditReward"),
             (made | {"model.extra": torch.zeros(1)}, r"unexpected tensor model\.language_model\.extra")]
    for given, words in cases:
        save_file({name: value.contiguous() for name, value in given.items()}, tmp_path / "model.safetensors")
        with pytest.raises(JudgeError, match=words) as caught:
            load_editreward(tmp_path, base)
        assert "\n" not in str(caught.value)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(JudgeError, match=r"neither model\.safetensors nor model\.pth"):
        load_editreward(tmp_path, base)
    (tmp_path / "model.pth").write_bytes(b"cos\nsystem\n(S'touch /tmp/run'\ntR.")
    with pytest.raises(JudgeError, match=r"model\.pth"):
        load_editreward(tmp_path, base)
    with pytest.raises(JudgeError, match="not a whole base model"):
        load_editreward(tmp_path, tmp_path)


# -- behind the door of all judges ----------------------------------------------------------------------------------------------------

@pytest.fixture
def whole(release, base, tmp_path):
    """A release with its base model in the same folder."""
    folder = tmp_path / "whole"
    folder.mkdir()
    for path in (*base.iterdir(), *release.iterdir()):
        (folder / path.name).symlink_to(path)
    return folder


def asks_of(parity, items):
    return [Ask(item["name"], item["instruction"], parity / item["source"], parity / item["edited"]) for item in items]


def test_raw_values_have_their_own_names_and_become_scores_by_a_fitted_map_alone(whole, parity, numbers, tensors, tmp_path):
    some = [*asks_of(parity, numbers["forward"]["samples"]), Ask("gone", "x", tmp_path / "none.png", parity / "images" / "s0_source.png")]
    judge, heard = make_judge(f"editreward:{whole}"), []
    tally = judge.score_all(some, "reward", lambda ask, verdicts: heard.append(verdicts))
    assert judge.perspectives == ("following", "quality")
    assert tally.failed == 8
    for row, verdicts in enumerate(heard[:3]):
        for head in HEADS:
            raw, known = json.loads(verdicts[head].raw), tensors[f"three_right.{head}.head"][row].tolist()
            assert [raw["mean"], raw["log_deviation"]] == pytest.approx(known, abs=1e-4)
            assert raw["fused_mean"] == pytest.approx(tensors["three_right.fused.mean"][row, 0].item(), abs=1e-4)
            assert "is on no known scale" in verdicts[head].error
    assert "none.png" in heard[3].errors["quality"]
    write_scale(whole, {head: {"slope": 0.5, "intercept": 2.0, "deviation": 0.7} for head in HEADS})
    scored = score_one(make_judge(f"editreward:{whole}"), some[0], "reward")
    mean = tensors["three_right.quality.head"][0, 0].item()
    assert scored["quality"].score == pytest.approx(2 + 0.5 * mean, abs=1e-3)
    assert scored["quality"].deviation == 0.7            # of the map on held-out labels, not of the network
    assert scored.scores[1] is None                      # preserving is not guessed
    assert make_judge(f"editreward:{whole}").version != judge.version


def test_the_map_is_the_least_squares_line_with_its_error_on_what_was_held_out():
    rng = np.random.default_rng(0)
    means = rng.normal(size=(400, 2))
    scores = np.clip(2.5 + np.array([0.8, 0.4]) * means + rng.normal(scale=0.2, size=(400, 2)), 0, 5)
    scores[::7, 1] = np.nan
    held = rng.random(400) < 0.3
    made = fit_scale(means.tolist(), [[None if np.isnan(x) else x for x in row] for row in scores.tolist()], held.tolist())
    assert made["following"]["slope"] == pytest.approx(0.8, abs=0.04)
    assert made["quality"]["intercept"] == pytest.approx(2.5, abs=0.04)
    assert made["quality"]["deviation"] == pytest.approx(0.2, abs=0.03)
    rows, answers, apart = [[None if np.isnan(x) else x for x in row] for row in scores.tolist()], means.tolist(), held.tolist()
    assert fit_scale([[np.nan, np.inf], *answers[1:]], rows, apart) == fit_scale(answers[1:], rows[1:], apart[1:])
    for changed, words in ((scores * 0 + 3, "labels are the same"), (5 - scores, "turn the judge around")):
        with pytest.raises(JudgeError, match=words):
            fit_scale(means.tolist(), changed.tolist(), held.tolist())
    with pytest.raises(JudgeError, match="20 of each are needed"):
        fit_scale(means[:30].tolist(), scores[:30].tolist(), held[:30].tolist())


def test_the_command_fits_the_map_beside_the_weights(whole, parity, tmp_path, capsys, monkeypatch):
    """Labels that are a line of the network's own means, rounded: the line is found again."""
    monkeypatch.setattr("mre.judge.editreward.LEAST_LABELS", 2)
    monkeypatch.setattr("mre.judge.reward_models.editreward.PIXELS", 56 * 56)
    picture, rows = Image.open(parity / "images" / "s1_source.png"), []
    for number in range(12):
        picture.crop((number, 0, number + 60, 60)).save(tmp_path / f"{number}.png")
        edited = f"{(number * 5 + 3) % 12}.png"
        rows.append({"id": str(number), "instruction": "make it red", "original": f"{number}.png", "edited": edited})
    judge = EditRewardJudge(f"editreward:{whole}")
    means = [[head[0] for head in answer] for answer in judge.raw(
        [Ask(row["id"], row["instruction"], tmp_path / row["original"], tmp_path / row["edited"]) for row in rows])]
    low, high = np.min(means, axis=0), np.max(means, axis=0)
    for row, mean in zip(rows, means, strict=True):
        scores = np.round(1 + 3 * (np.array(mean) - low) / (high - low), 2)
        row |= {"following": {"score": scores[0]}, "preserving": {"score": 3}, "quality": {"score": scores[1]}}
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["train-judge", str(tmp_path / "labels.jsonl"), "--fit-scale", f"editreward:{whole}", "--held-out", "0.5"]) == 0
    made = json.loads((whole / "scale.json").read_text())
    for number, head in enumerate(HEADS):
        assert made[head]["slope"] == pytest.approx(3 / (high - low)[number], rel=0.02)
        assert made[head]["deviation"] < 0.02
    assert "score = " in capsys.readouterr().out


def test_names_that_find_no_weights_are_refused_in_one_line(release, tmp_path, capsys):
    for name, words in ((f"editreward:{tmp_path / 'none'}", "there is no such folder"), (f"editreward:{release}", "name it too"),
                        ("editreward:nobody/nothing", "cannot be had from the hub"), ("editreward:", "there is no such folder")):
        with pytest.raises(JudgeError, match=words):
            make_judge(name)
    assert main(["train-judge", "scenes:4"]) == 1
    assert "give --out DIR" in capsys.readouterr().err
    write_scale(tmp_path, {"following": {"slope": 1.0}})
    with pytest.raises(JudgeError, match="must give each head a slope"):
        read_scale(tmp_path)
