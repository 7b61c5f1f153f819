"""Replies: a whole verdict, or an error that keeps the reply."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mre.errors import JudgeReplyError
from mre.judge.replies import parse_evaluation, parse_reward


@pytest.mark.parametrize("raw", [
    "{'following': 'yes', 'score': 4}",             # a whole number: the released pattern wanted 4.0 and lost the sample
    "{'following': 'yes', 'score': 4.0}",
    '{"following": "yes", "score": 4}',             # JSON quotes
    '{"score":4.0,"following":"Yes"}',
    "```python\n{'following': 'yes', 'score': 4.0}\n```",
    "```json\n{\"following\": \"yes\", \"score\": 4.0}\n```",
    "Sure! Here is the result:\n{'following': 'yes', 'score': 4.0}\nLet me know.",
    "\"{'following': 'yes', 'score': 4.0}\"",
    "{'following': 'yes',\n 'score': 4.0,\n}",
    "{'following': 'yes', 'score': 4} {'following': 'yes', 'score': 4.0}"])
def test_forms_of_the_same_verdict(raw):
    reply = parse_evaluation(raw, "following")
    assert (reply.accepted, reply.score) == (True, 4.0)


@pytest.mark.parametrize("raw", [
    "", "   ", "yes", "4", "I'm sorry, I can't assist with that.",
    "Yes, the edit follows the instruction. 'score': 4.0",
    "{'following': 'no', 'score': 5.5}", "{'following': 'no', 'score': -1}", "{'following': 'no', 'score': 'high'}",
    "{'following': 'no', 'score': True}", '{"following": "no", "score": NaN}', '{"following": "no", "score": Infinity}',
    f"{{'following': 'no', 'score': {10**400}}}",
    "{'following': 'no', 'score': 1e999}", "{'following': 'no'}", "{'score': 4.0}", "{'following': 'maybe', 'score': 4.0}",
    "{'following': ['yes'], 'score': 4.0}", "{'consistent': 'yes', 'score': 4.0}", "{'following': 'yes', 'score': 4.0",
    "{'following': 'yes', 'score': 4.0} or {'following': 'no', 'score': 1.0}",
    '{"following": "yes", "following": "no", "score": 4}', "{'following': 'yes', 'score': 1, 'score': 5}",
    "{'following': 'yes', 'score': __import__('os').getpid()}", "[" * 5000, "{" * 5000, "{'a': " * 3000])
def test_what_is_no_verdict_is_an_error_that_keeps_the_reply(raw):
    with pytest.raises(JudgeReplyError) as error:
        parse_evaluation(raw, "following")
    assert error.value.raw == raw


def test_yes_elsewhere_in_the_text_counts_for_nothing():
    reply = parse_evaluation("Yes, yes! Well: {'clear': 'no', 'score': 2.5} (yes)", "clear")
    assert (reply.accepted, reply.score) == (False, 2.5)


@pytest.mark.parametrize(("raw", "score", "text"), [
    ("{'score': 4, 'bad': 'The sky is flat.'}", 4, "The sky is flat."),
    ("{'score': 4.0, 'bad': 'The sky is flat.'}", 4, "The sky is flat."),
    ('{"score": 0, "bad": "It says \\"no\\"."}', 0, 'It says "no".'),
    ("{'score': 3, 'bad': 'The dog's ear isn't there.'}", 3, "The dog's ear isn't there."),
    ("```\n{\"score\": 2, \"bad\": \"The sign reads \"STOP\" now.\"}\n```", 2, 'The sign reads "STOP" now.'),
    ("{'score': 5, 'bad': 'None'}", 5, "None"), ("{'score': 5, 'bad': ''}", 5, "None"), ("{'score': 5, 'bad': None}", 5, "None"),
    ("{'score': 1, 'bad': 'two\\nlines'}", 1, "two lines")])
def test_rewards_are_read_with_their_texts(raw, score, text):
    reply = parse_reward(raw)
    assert (reply.score, reply.text) == (score, text)


@pytest.mark.parametrize("raw", [
    "{'score': 3.5, 'bad': 'x'}", "{'score': 6, 'bad': 'x'}", "{'score': 3}", "{'bad': 'x'}", "{'score': 3, 'bad': 7}",
    "{'score': 3, 'bad': '" + "x" * 501 + "'}",
    "{'score': 3, 'bad': 'it's {'score': 5, 'bad': 'None'}'}"])
def test_what_is_no_reward_is_an_error(raw):
    with pytest.raises(JudgeReplyError):
        parse_reward(raw)


@given(st.text(max_size=200))
def test_no_text_at_all_makes_the_reader_fail_otherwise(raw):
    for read in (parse_reward, lambda text: parse_evaluation(text, "following")):
        with pytest.raises(JudgeReplyError) as error:
            read(raw)
        assert error.value.raw == raw


@given(st.sampled_from(["yes", "no"]), st.floats(0, 5), st.booleans(),
       st.text(alphabet=st.characters(exclude_characters="{}"), max_size=40))
def test_every_verdict_in_a_form_that_the_prompt_asks_for_is_read(answer, score, as_json, around):
    import json
    data = {"clear": answer, "score": score}
    reply = parse_evaluation(around + (json.dumps(data) if as_json else repr(data)) + around, "clear")
    assert (reply.accepted, reply.score) == (answer == "yes", score)
