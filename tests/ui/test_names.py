"""What the pages call things."""

from mre.editors import pipeline_info
from mre.models.known import KNOWN
from ui.names import limits_of


def test_what_a_named_model_can_edit_is_said_in_both_languages_and_of_other_models_as_they_say_it():
    for name in KNOWN:
        model = pipeline_info.describe(name)
        assert limits_of(model, "en") == model.limits
        chinese = any("\u4e00" <= letter <= "\u9fff" for letter in limits_of(model, "zh"))
        assert chinese, name
