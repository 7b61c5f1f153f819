"""On a ZeroGPU Space an edit is made where a GPU is lent. The package of those Spaces is stood in for by one that records what it is asked,
and hands things over as that does: pickled."""

import pickle
import sys
from types import ModuleType, SimpleNamespace

import pytest
from PIL import Image

from mre import device
from mre.editors.kinds import make_editor
from mre.editors.settings import EditSettings
from mre.errors import EditStopped, ModelError
from mre.models.known import default_names
from tests.fake_editing import fake_editor

PHOTO, ASKED = Image.new("RGB", (96, 64), "olive"), EditSettings("make it blue", steps=3)


class Refused(Exception):
    """What the package raises, as Gradio's errors are."""

    message = "You have exceeded your ZeroGPU quota (60s requested vs. 5s left)."


@pytest.fixture
def spaces(monkeypatch):
    """The stand-in: `asked` has what was asked of the decorator and each call's arguments, `refuses` makes calls fail."""
    there = SimpleNamespace(asked=[], refuses=False)

    def gpu(duration):
        there.asked.append(duration)

        def decorate(function):
            def lent(*given):
                if there.refuses:
                    raise Refused
                there.asked.append(given)
                for one in function(*pickle.loads(pickle.dumps(given))):
                    yield pickle.loads(pickle.dumps(one))
            return lent
        return decorate
    monkeypatch.setattr(device, "_has_gpu", False)         # is set by what runs in the other process
    package, zero = ModuleType("spaces"), ModuleType("spaces.zero")
    package.GPU, zero.startup = gpu, lambda: there.asked.append("startup")
    for name, module in (("spaces", package), ("spaces.zero", zero)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    return there


def test_an_edit_is_made_where_the_gpu_is_and_its_steps_come_from_there(spaces):
    editor, moved, steps = fake_editor(), [], []
    editor.fake.to = moved.append
    result = editor.edit(PHOTO, ASKED, on_step=steps.append)
    duration, (seen, _) = spaces.asked
    assert (duration, seen.size) == (device.SECONDS, result.seen.size)
    assert moved == [device.best_device()]
    assert [step.index for step in steps] == [0, 1, 2, 3]
    assert steps[-1].preview().size == (64, 40)
    assert result.recipe.made_with["device"] == "cuda"
    device.report()
    assert spaces.asked[-1] == "startup"


def test_the_same_picture_comes_without_it_and_nothing_is_imported(spaces, monkeypatch):
    lent = fake_editor().edit(PHOTO, ASKED)
    for name in ("spaces", "spaces.zero"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delenv("SPACES_ZERO_GPU")
    device.begin()
    plain = fake_editor().edit(PHOTO, ASKED)
    device.report()
    assert "spaces" not in sys.modules
    assert plain.image.tobytes() == lent.image.tobytes()
    assert plain.recipe.made_with["device"] == "cpu"


def test_a_refused_gpu_a_failing_model_and_a_stop_are_said_in_one_line(spaces):
    editor = fake_editor()
    spaces.refuses = True
    with pytest.raises(ModelError, match=r"no GPU for the model fake: You have exceeded .* 5s left"):
        editor.edit(PHOTO, ASKED)
    spaces.refuses = False
    asked = []
    with pytest.raises(EditStopped):
        editor.edit(PHOTO, ASKED, should_stop=lambda: len(asked) > 1, on_step=asked.append)
    editor.fake.seconds = "long"
    with pytest.raises(ModelError, match="fake failed on this picture"):
        editor.edit(PHOTO, ASKED)


def test_small_editors_take_no_gpu_and_one_of_full_size_is_opened_first(spaces):
    editors = [make_editor(name) for name in default_names()]
    assert [(editor.name, editor._lent is not None) for editor in editors] == [
        ("reward-insp2p", True), ("tiny", False), ("tiny-baseline", False)]
