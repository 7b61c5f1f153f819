"""The words that the small editors can know."""

from mre.data.scenes.concepts import canonical
from mre.data.scenes.looks import LOOKS
from mre.data.scenes.triplets import draw_triplet
from mre.data.scenes.wordings import words_in
from mre.embedded.names import vocabulary_of
from mre.embedded.vocabulary import look_instructions, nouns, unknown_words, vocabulary


def test_the_vocabulary_holds_every_word_of_plain_instructions_and_texts():
    for index in range(300):
        triplet = draw_triplet(9, index, ("train", "heldout")[index % 2], 32)
        said = words_in(f"{canonical(triplet.edit.request)} {triplet.reward.text}")
        assert not set(said) - vocabulary(), triplet.instruction


def test_words_that_the_model_cannot_know_are_found_in_any_script():
    assert unknown_words("Make the ball blue, please!") == []
    assert unknown_words("put a hat on the dog's head, dog") == ["hat", "dog's", "head", "dog"]
    assert unknown_words("把球变成蓝色") == ["把球变成蓝色"]
    assert not any(unknown_words(text) for look in LOOKS for text in look_instructions(look))
    assert "ball" in nouns()
    assert "dog" not in nouns()


def test_words_of_a_model_whose_instructions_are_read_are_not_called_unknown():
    assert vocabulary_of("tiny").unknown_words("fog pls, so that it looks gloomy") == []
    assert vocabulary_of("tiny-untrained").unknown_words("fog pls") == ["pls"]
    assert vocabulary_of("tiny").read("fog pls").understood == "make it foggy"
    assert vocabulary_of("tiny-untrained").read("fog pls") is None
