"""What SmartEdit reads: the same for the same picture however it comes, once for each instruction of it, and nothing it cannot read."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from mre.editors.kinds import make_editor
from mre.editors.load_options import LoadOptions
from mre.editors.settings import EditSettings
from mre.errors import ModelError, SettingsError
from mre.models.smartedit.assembly import ReadersSource
from mre.models.smartedit.connector import LanguageHead
from mre.models.smartedit.instruction import LlavaInstructionEncoder, as_pictures
from mre.models.smartedit.prompt import BARRED, IMAGE_TOKENS, encode, question
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


def head_that_says(pipeline, *said):
    """A head under which the language model, asked about `photo()`, answers with these ids: each row is fitted to the state before it."""
    encoder, tokenizer = pipeline.instruction_encoder.encoder, pipeline.llm_tokenizer
    asked = tokenizer.encode(question("add 2 bicycles"))
    features = encoder.look(encoder.pixels([photo()]))
    states = encoder.read([[*asked, *said]], features)[0][-len(said) - 1:-1]                  # (N, W): each tells the next
    head = LanguageHead(states.shape[1], len(tokenizer))
    head.linear.weight.data = torch.zeros(len(tokenizer), len(said)).index_put(
        (torch.tensor(said), torch.arange(len(said))), torch.tensor(1.0)) @ torch.linalg.pinv(states.T)
    return head


def greedy(pipeline, head):
    return LlavaInstructionEncoder(pipeline.readers, pipeline.instruction_encoder.encoder.null, head=head)


def test_a_language_model_that_answers_as_it_was_trained_to_reads_the_same_with_its_answer_given_or_decoded(pipeline, encoder):
    ids = encode("add 2 bicycles", pipeline.llm_tokenizer)
    asked = pipeline.llm_tokenizer.encode(question("add 2 bicycles"))
    assert ids[:len(asked)] == asked
    decoding = greedy(pipeline, head_that_says(pipeline, *ids[len(asked):-32]))
    assert decoding.answered("add 2 bicycles", decoding.look(decoding.pixels([photo()]))) == ids
    given, decoded = (one.encode(["add 2 bicycles"], [photo()]) for one in (encoder, decoding))
    assert torch.equal(decoded.context, given.context)
    assert torch.equal(decoded.residual, given.residual)
    assert decoding.key("add 2 bicycles", photo()) != encoder.key("add 2 bicycles", photo())


def test_an_answer_is_decoded_token_by_token_as_by_reading_all_anew_and_its_32_tokens_follow_in_order(pipeline, encoder):
    tokenizer = pipeline.llm_tokenizer
    number, features = tokenizer.convert_tokens_to_ids, encoder.look(encoder.pixels([photo()]))
    asked, shown = tokenizer.encode(question("add 2 bicycles")), number(list(IMAGE_TOKENS))
    torch.manual_seed(3)
    head = LanguageHead(pipeline.language_model.config.hidden_size, len(tokenizer))
    allowed = [token for token in range(len(tokenizer)) if tokenizer.convert_ids_to_tokens(token) not in BARRED]
    said = []
    while len(said) < 64:
        logits = head(encoder.read([[*asked, *said]], features)[0, -1]).detach()
        said.append(max(allowed, key=lambda token: float(logits[token])))
        if said[-1] in (*shown, number("</s>")):
            said.pop()
            break
    assert len(set(said)) > 2
    assert greedy(pipeline, head).answered("add 2 bicycles", features) == [*asked, *said, *shown, number("</s>")]


@pytest.mark.parametrize(("likeliest", "words"), [("<img_7>", 0), ("</s>", 0), ("bicycles", 64), ("<im_start>", 64)])
def test_an_answer_that_begins_ends_or_goes_on_wrongly_still_holds_the_32_tokens(pipeline, encoder, likeliest, words):
    tokenizer = pipeline.llm_tokenizer
    features, word = encoder.look(encoder.pixels([photo()])), tokenizer.encode("bicycles")[-1]
    logits = torch.zeros(len(tokenizer))
    logits[word] = 0.5
    logits[word if likeliest == "bicycles" else tokenizer.convert_tokens_to_ids(likeliest)] = 1.0
    decoding = greedy(pipeline, lambda state: logits.clone())
    ids, asked = decoding.answered("add 2 bicycles", features), tokenizer.encode(question("add 2 bicycles"))
    assert ids == [*asked, *[word] * words, *tokenizer.convert_tokens_to_ids([*IMAGE_TOKENS, "</s>"])]
    assert decoding.encode(["add 2 bicycles"], [photo()]).context.isfinite().all()


def test_a_flag_has_the_answer_decoded_in_either_layout_once_for_each_instruction_and_the_recipe_says_so(
        smartedit_released, smartedit_converted, calls):
    editor = make_editor(str(smartedit_converted), device="cpu", loading=LoadOptions(answer="greedy"))
    result = editor.edit(photo(), EditSettings("add 2 bicycles", steps=1))
    assert len(calls) > 2
    assert result.recipe.made_with["answer"] == "greedy"
    calls.clear()
    editor.edit(photo(), EditSettings("add 2 bicycles", steps=1, seed=3))
    assert calls == []
    converted, released = (each.instruction_encoder.encode(["add 2 bicycles"], [photo()]).context
                           for each in (editor.pipeline(), load_pipeline(str(smartedit_released), "cpu", answer="greedy")))
    assert torch.equal(released, converted)
    pipeline = editor.pipeline()
    pipeline.drop_readers()
    assert torch.equal(pipeline.instruction_encoder.encode(["add 2 bicycles"], [photo()]).context, converted), "what was read is kept"
    pipeline.load_readers()
    assert pipeline.language_head is not None


def test_an_answer_cannot_be_decoded_without_a_head_of_its_own_or_a_language_model(smartedit_released, smartedit_converted, tmp_path):
    folder = shutil.copytree(smartedit_converted, tmp_path / "old", ignore=shutil.ignore_patterns("language_head"))
    with pytest.raises(ModelError, match="holds no language model's head"):
        load_pipeline(str(folder), "cpu", answer="greedy")
    with pytest.raises(SettingsError, match="--answer greedy is for the language model of a SmartEdit"):
        load_pipeline("tiny-untrained", "cpu", answer="greedy")
    other = shutil.copytree(smartedit_released, tmp_path / "other")
    small = next((other / "embeddings_qformer").iterdir())
    torch.save({**torch.load(small), "lm_head.weight": torch.zeros(7, 32)}, small)
    with pytest.raises(ModelError, match=r"lm_head.weight must be \(595, 32\), it is \(7, 32\)"):
        ReadersSource(other).read_head()
    with pytest.raises(SettingsError, match="--answer must be one of forced, greedy"):
        LoadOptions(answer="free")
