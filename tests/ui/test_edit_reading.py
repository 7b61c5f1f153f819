"""What the page says of how an instruction was read, in both languages."""

import pytest

from mre.editors.reading import FAULTS, Reading
from ui.edit.reading import reading_html, reading_text, with_reading
from ui.edit.words import words_html


class Reads:
    """What `words_html` asks of an editor that reads instructions."""

    status = "ready"
    vocabulary = None

    def __init__(self, reading):
        self.reading = reading

    def read(self, instruction):
        return self.reading

    def count_tokens(self, text):
        return 3, 40, ""


UNKNOWN = Reading("blur <b> it", fault="unknown", nearest=("make it foggy",))


def test_an_understood_request_is_said_in_the_models_own_words_and_no_tokens_are_counted():
    said = words_html(Reads(Reading("fog pls", "make it foggy")), "fog pls", "en")
    assert "Understood: make it foggy" in said
    assert "tokens" not in said


def test_what_is_not_in_the_photo_is_named_in_both_languages():
    absent = Reading("remove the ball", fault="absent", absent="ball")
    assert with_reading("Done", absent, "en").count("Found no ball such as it knows in the photo, which stays as it is.") == 1
    assert "（ball）" in with_reading("完成", absent, "zh")


def test_what_is_not_understood_is_quoted_safely_and_what_comes_nearest_is_offered():
    said = words_html(Reads(UNKNOWN), "blur <b> it", "en")
    assert "Did not understand “blur &lt;b&gt; it”" in said
    assert "<b>" not in said
    assert "Nearest that it knows" in said
    assert "make it foggy" in said
    assert "没有理解" in words_html(Reads(UNKNOWN), "blur <b> it", "zh")


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_its_own_line_in_both_languages(fault):
    reading = Reading("x", fault=fault)
    assert reading_text(reading, "en") != reading_text(reading, "zh")
    assert 'class="notice warn"' in reading_html(reading, "en")


def test_an_edit_that_was_left_out_does_not_say_done():
    assert "Done" not in with_reading("Done in 1 s", UNKNOWN, "en")
    assert "Done in 1 s · Understood: make it foggy" in with_reading("Done in 1 s", Reading("fog", "make it foggy"), "en")
    assert "Done in 1 s" in with_reading("Done in 1 s", None, "en")


def test_before_the_model_is_loaded_nothing_is_read():
    editor = Reads(UNKNOWN)
    editor.status = "cold"
    assert "understand" not in words_html(editor, "blur it", "en")
