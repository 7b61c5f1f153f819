"""RewardEdit data: what is read from either form, what is written, and what is refused with the key or line that is wrong."""

import json

import pytest

from mre.data.rewardedit import read_rewards, write_released
from mre.errors import DataError
from mre.rewards import Reward

ENTRY = [{"Score": 3, "Negative Prompt": "the hat is not red"}, {"Score": 5, "Negative Prompt": "None"},
         {"Score": 1, "Negative Prompt": "blurry; noisy"}]


def released(tmp_path, content):
    path = tmp_path / "rewards.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_the_released_form_is_read_in_perspective_order(tmp_path):
    rewards = read_rewards(released(tmp_path, {"shard-00/0123456": ENTRY}))
    reward = rewards["shard-00/0123456"].reward
    assert (reward.following, reward.preserving, reward.quality) == (3, 5, 1)
    assert reward.texts == ("the hat is not red", "None", "blurry, noisy")      # a semicolon would shift the perspectives
    assert reward.text.count(";") == 2


def test_what_is_written_reads_back_the_same_and_has_whole_scores(tmp_path):
    rewards = {"shard-00/1": Reward(0, 4, 2, ("not edited", "None", "grün ist “kaputt”")), "shard-01/2": Reward.best()}
    path = tmp_path / "out.json"
    write_released(path, rewards)
    assert {key: row.reward for key, row in read_rewards(path).items()} == rewards
    assert json.loads(path.read_text(encoding="utf-8"))["shard-00/1"][0] == {"Score": 0, "Negative Prompt": "not edited"}
    assert isinstance(json.loads(path.read_text(encoding="utf-8"))["shard-01/2"][2]["Score"], int)


def test_our_working_form_is_read_by_perspective_name_whatever_their_order(tmp_path):
    row = {"id": "shard-00/7/123", "instruction": "add a hat", "quality": {"score": 2, "text": "noisy"},
           "following": {"score": 4.5, "text": "too small"}, "preserving": {"score": 5, "text": None}}
    path = tmp_path / "rewards.jsonl"
    path.write_text(json.dumps(row) + "\n\n", encoding="utf-8")
    read = read_rewards(path)["shard-00/7/123"]
    assert read.instruction == "add a hat"
    assert read.reward == Reward(4.5, 5, 2, ("too small", "None", "noisy"))


@pytest.mark.parametrize(("content", "says"), [
    ({"a/1": ENTRY[:2]}, "three entries"),
    ({"a/1": {"Score": 1}}, "three entries"),
    ({"a/1": [*ENTRY[:2], {"Negative Prompt": "x"}]}, "quality has no 'Score'"),
    ({"a/1": [{"Score": "3"}, *ENTRY[1:]]}, "following must be a number"),
    ({"a/1": [{"Score": True}, *ENTRY[1:]]}, "following must be a number"),
    ({"a/1": [ENTRY[0], {"Score": 6}, ENTRY[2]]}, "preserving must be a number between 0 and 5"),
    ({"a/1": [ENTRY[0], {"Score": -1}, ENTRY[2]]}, "preserving must be a number between 0 and 5"),
    ('{"a/1": [{"Score": NaN}, {"Score": 1}, {"Score": 1}]}', "following must be a number between 0 and 5"),
    ({"a/1": [ENTRY[0], ENTRY[1], {"Score": 1, "Negative Prompt": ["x"]}]}, "quality must be text"),
    ('{"a/1": ' + json.dumps(ENTRY) + ', "a/1": ' + json.dumps(ENTRY) + "}", "has a reward already"),
])
def test_a_fault_is_refused_with_file_key_and_perspective(tmp_path, content, says):
    path = released(tmp_path, content)
    with pytest.raises(DataError, match=says) as caught:
        read_rewards(path)
    assert str(path) in str(caught.value)
    assert "a/1" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "[]", "{", "{}", "3", "[" * 100_000])
def test_a_file_that_is_no_reward_file_is_refused(tmp_path, content):
    path = released(tmp_path, content)
    with pytest.raises(DataError, match=str(path)):
        read_rewards(path)


def test_a_bad_line_is_named_by_its_number(tmp_path):
    good = json.dumps({"id": "a", **{name: {"score": 1, "text": "x"} for name in ("following", "preserving", "quality")}})
    path = tmp_path / "rewards.jsonl"
    for bad in ("not json", json.dumps({"id": "b"}), json.dumps({"following": 3}), good):
        path.write_text(f"{good}\n{bad}\n", encoding="utf-8")
        with pytest.raises(DataError, match="row 2"):
            read_rewards(path)
