"""One edit as everybody calls it: its bytes repeat, it can be stopped, and those who wait are served in order."""

import threading
import time

import numpy as np
import pytest
from PIL import Image

from mre.editors.device_queue import BusyError, DeviceQueue
from mre.editors.editor import Editor
from mre.editors.kinds import make_editor
from mre.editors.settings import EditSettings
from mre.errors import EditStopped, ModelError, RewardError, SettingsError
from mre.recipes import read_recipe
from mre.rewards import Reward
from tests.fake_editing import fake_editor


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    pixels = np.random.default_rng(3).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((180, 120), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def untrained() -> Editor:
    """A real pipeline of the real classes, with random weights."""
    import torch
    torch.set_num_threads(1)
    return make_editor("tiny-untrained", device="cpu")


def test_the_same_recipe_gives_the_same_bytes_and_another_seed_does_not(untrained, photo):
    settings = EditSettings("make it blue", seed=5, steps=2)
    first = untrained.edit(photo, settings).png()
    assert untrained.edit(photo, settings).png() == first
    again = EditSettings.from_recipe(read_recipe(first))
    assert make_editor("tiny-untrained", device="cpu").edit(photo, again).png() == first, "a fresh copy of the model agrees"
    other = untrained.edit(photo, EditSettings("make it blue", seed=6, steps=2))
    assert other.image.tobytes() != untrained.edit(photo, settings).image.tobytes()


def test_the_result_has_the_photos_size_and_tells_what_the_model_saw(untrained, photo):
    result = untrained.edit(photo, EditSettings("make it blue", steps=1))
    assert result.image.size == photo.size
    assert result.seen.size == result.made.size == result.fit.seen
    assert max(result.seen.size) == untrained.info.native_size
    assert result.recipe.made_with["size"] == f"{result.seen.width}x{result.seen.height}"
    assert result.recipe.steps == 1


def test_steps_are_told_one_by_one_with_a_picture_on_the_way(untrained, photo):
    untrained.edit(photo, EditSettings("make it blue", steps=1))
    steps, pictures, pace = [], [], untrained.pace
    untrained.edit(photo, EditSettings("make it blue", steps=3), on_step=lambda step: (steps.append(step), pictures.append(step.preview())))
    assert [(step.index, step.total) for step in steps] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert steps[0].seconds_left == 3 * pace
    assert steps[3].seconds_left == 0
    assert [picture and picture.size for picture in pictures[1:]] == [untrained.edit(photo, EditSettings("x", steps=1)).seen.size] * 3


def test_another_scheduler_serves_one_run_only(untrained, photo):
    own = untrained.pipeline().scheduler
    ddim = untrained.edit(photo, EditSettings("make it blue", steps=2, scheduler="ddim"))
    assert untrained.pipeline().scheduler is own
    assert ddim.recipe.scheduler == "ddim"


def test_after_stop_no_further_step_begins():
    editor = fake_editor(seconds=0.02)
    seen = []
    with pytest.raises(EditStopped, match="after step 2"):
        editor.edit(Image.new("RGB", (64, 64)), EditSettings("x", steps=50), on_step=lambda step: seen.append(step.index),
                    should_stop=lambda: len(seen) >= 2)
    assert editor.fake.steps_begun == 2
    assert len(editor.queue) == 0, "the device is free"


def test_the_way_back_is_told_and_can_be_stopped(photo):
    editor, shares = fake_editor(), []
    editor.edit(photo, EditSettings("x"), on_restore=shares.append)
    assert shares[0] == 0
    assert shares[-1] == 1
    with pytest.raises(EditStopped, match="after the last step"):
        editor.edit(photo, EditSettings("x"), on_restore=shares.append, should_stop=lambda: len(shares) > 2)
    assert len(editor.queue) == 0


def test_the_next_edit_has_the_device_while_a_photo_gets_its_detail_back(photo):
    editor, begun, ended = fake_editor(), threading.Event(), threading.Event()

    def follow() -> None:
        editor.edit(photo, EditSettings("y"), on_step=lambda step: begun.set())
        ended.set()

    def on_restore(share: float) -> None:
        if share and not begun.is_set():         # its turn to get its detail back has come
            threading.Thread(target=follow).start()
            assert begun.wait(10)
            assert not ended.wait(0.05), "its own detail comes after that of the photo before it"
    editor.edit(photo, EditSettings("x"), on_restore=on_restore)
    assert ended.wait(10)
    assert editor.fake.most_running == 1


def test_twenty_at_once_are_served_one_at_a_time_in_order_each_with_their_own():
    editor = fake_editor(seconds=0.002)
    ends, results, gates = [], {}, [threading.Event() for _ in range(20)]

    def visitor(number: int) -> None:
        picture = Image.new("RGB", (64, 64), (number * 10, 0, 0))
        results[number] = editor.edit(picture, EditSettings("y" * (number + 1), seed=number), on_wait=lambda _: gates[number].set(),
                                      on_step=lambda step: ends.append(number) if step.index == step.total else None)
    blocker = editor.queue.join()
    threads = [threading.Thread(target=visitor, args=(number,)) for number in range(20)]
    for thread, gate in zip(threads, gates, strict=True):
        thread.start()
        assert gate.wait(5)                          # it stands in line before the next one comes
    blocker.leave()
    for thread in threads:
        thread.join(20)
    assert ends == list(range(20))
    assert editor.fake.most_running == 1
    assert all(results[number].settings.seed == number for number in range(20))
    assert all(abs(int(results[number].image.getpixel((5, 5))[0]) - number * 10) < 20 for number in range(20))


def test_a_full_line_refuses_and_stopping_while_waiting_leaves_it():
    queue = DeviceQueue(most_waiting=1)
    editor = fake_editor(queue=queue)
    with queue.join(), queue.join(), pytest.raises(BusyError, match="1 edits are waiting"):
        editor.edit(Image.new("RGB", (64, 64)), EditSettings("x"))
    with queue.join():
        with pytest.raises(EditStopped):
            editor.edit(Image.new("RGB", (64, 64)), EditSettings("x"), should_stop=lambda: True)
        assert len(queue) == 1


def test_a_model_that_is_not_there_is_one_clear_error_and_asking_again_tries_again(tmp_path):
    editor = make_editor(str(tmp_path / "gone"))
    editor.warm()
    for _ in range(100):
        if editor.status == "failed":
            break
        time.sleep(0.1)
    assert editor.status == "failed"
    assert "gone" in editor.failure
    with pytest.raises(ModelError, match="gone"):
        editor.edit(Image.new("RGB", (64, 64)), EditSettings("x"))


def test_a_loaded_model_goes_on_when_its_folder_is_deleted(untrained, photo, tmp_path):
    import shutil
    untrained.pipeline().save_pretrained(tmp_path / "model")
    editor = make_editor(str(tmp_path / "model"), device="cpu")
    before = editor.edit(photo, EditSettings("make it blue", steps=1)).image.tobytes()
    shutil.rmtree(tmp_path / "model")
    assert editor.edit(photo, EditSettings("make it blue", steps=1)).image.tobytes() == before
    editor.unload()
    with pytest.raises(ModelError):
        editor.edit(photo, EditSettings("make it blue", steps=1))


@pytest.mark.parametrize(("fields", "reason"), [
    ({"instruction": "  "}, "instruction is empty"), ({"instruction": "x" * 1001}, "1001 characters"),
    ({"seed": 1.5}, "seed must be a whole"), ({"seed": -1}, "seed must be"), ({"steps": 0}, "steps must be"),
    ({"steps": 201}, "steps must be"), ({"guidance_scale": "nan"}, "guidance scale"),
    ({"image_guidance_scale": 31}, "image guidance scale"),
    ({"scheduler": "magic"}, "scheduler must be one of"), ({"way_back": "x"}, "restore must be")])
def test_settings_refuse_bad_values_by_name(fields, reason):
    with pytest.raises(SettingsError, match=reason):
        EditSettings(**{"instruction": "make it blue", **fields})


@pytest.mark.parametrize("score", [float("nan"), 6, -1, "5;5;5", True])
def test_scores_that_are_none_are_refused_by_name(score):
    with pytest.raises(RewardError, match="preserving"):
        EditSettings("make it blue", Reward(5, score, 5))


def test_tokens_beyond_what_the_model_reads_are_named(untrained):
    count, most, rest = untrained.count_tokens("make it blue")
    assert (count, rest) == (5, "")
    count, most, rest = untrained.count_tokens("make it blue " + "red " * 100 + "end")
    assert count > most
    assert rest.endswith("red end")
