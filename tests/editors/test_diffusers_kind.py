"""Pipelines of diffusers as editors: built at a tiny size, saved, and edited with through the door, the command and the API."""

import inspect
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import diffusers
import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mre.__main__ import main
from mre.editors import repository
from mre.editors.diffusers_kind import DiffusersEditor
from mre.editors.forms import FORMS, capabilities_of, form_of
from mre.editors.kinds import make_editor
from mre.editors.pipeline_editor import PipelineEditor
from mre.editors.repository import about_licence
from mre.editors.settings import EditSettings
from mre.errors import EditRefused, EditStopped, ModelError
from mre.machine import free_memory
from mre.masks import Mask
from mre.recipes import read_recipe
from tests import tiny_models
from tests.editors import tiny_diffusers
from tests.editors.tiny_diffusers_more import MORE
from tests.models.fake_hub import hub_for
from tests.ui.serving import served
from tests.ui.test_edit_api import call, edit, fetched
from ui.app import build_app
from ui.studio import StudioSettings

# Classes that differ from all others: whose chats lie beside their processor, whose processor cannot be had, whose instruction is JSON,
# whose autoencoder has a number format of its own, which looks at the photo only where it makes frames, whose processor is ours, and whose
# libraries do not agree.
ALONE = ["QwenImage21Pipeline", "Flux2Pipeline", "BriaFiboEditPipeline", "ZImageOmniPipeline", "Cosmos3OmniPipeline", "OmniGenPipeline",
         "GlmImagePipeline"]


@pytest.fixture(autouse=True)
def small_conditions(monkeypatch):
    tiny_diffusers.see_small_conditions(monkeypatch)
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: tiny_diffusers.save(kind, tmp_path_factory.mktemp("diffusers") / kind) for kind in tiny_diffusers.BUILDERS}


@pytest.fixture(scope="module")
def kontext(folders) -> str:
    return str(folders["FluxKontextPipeline"])


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 72, 3), dtype=np.uint8))


@pytest.mark.parametrize("kind", tiny_diffusers.BUILDERS)
def test_each_class_edits_and_what_it_is_said_to_use_moves_its_picture(kind, folders, photo):
    editor = make_editor(str(folders[kind]), device="cpu")
    assert isinstance(editor, DiffusersEditor)
    steps: list[tuple[int, int]] = []
    asked = {"instruction": "make it red", "steps": 2, "seed": 1}
    first = editor.edit(photo, EditSettings(**asked), on_step=lambda step: steps.append((step.index, step.total)))
    assert steps == [(0, 2), (1, 2), (2, 2)]
    assert first.image.size == photo.size
    assert first.made.size == first.seen.size
    assert editor.edit(photo, EditSettings(**asked)).png() == first.png()
    others = [{"seed": 2}, {"instruction": "a blue cat"}, {"steps": 1}]
    others += [{"guidance_scale": 9}] if editor.capabilities.guidance_scale else []
    others += [{"image_guidance_scale": 4}] if editor.capabilities.image_guidance_scale else []
    for other in others:
        assert editor.edit(photo, EditSettings(**asked | other)).image.tobytes() != first.image.tobytes(), other


@pytest.mark.parametrize("kind", ["FluxKontextInpaintPipeline", *tiny_diffusers.MASKED])
def test_a_class_that_takes_masks_is_given_the_mask_and_works_inside_it(kind, folders, photo, tmp_path):
    editor = make_editor(str(folders.get(kind) or tiny_diffusers.save(kind, tmp_path / kind, native=64)), device="cpu")
    assert editor.capabilities.mask
    steps, told = [], 5 - int(5 - 5 * FORMS[kind].strength)
    asked = {"instruction": "make it red", "steps": 5}
    left, right = np.arange(72) < 36, np.arange(72) >= 36
    results = [editor.edit(photo, EditSettings(**asked, mask=Mask.of(np.broadcast_to(side, (48, 72)))),
                           on_step=lambda step: steps.append((step.index, step.total))) for side in (left, right)]
    assert steps[-1] == (told, told)
    made, other = (np.asarray(result.made, float) for result in results)
    assert np.abs(made - other).mean() > 0.1, "another mask, another picture"
    for result, outside in zip(results, (slice(48, None), slice(None, 24)), strict=True):
        assert np.array_equal(np.asarray(result.image)[:, outside], np.asarray(photo)[:, outside])
    if kind == "FluxFillPipeline":
        with pytest.raises(EditRefused, match=r"^the model FluxFillPipeline paints inside a mask only; say with a mask what may change$"):
            editor.edit(photo, EditSettings(**asked))
    elif kind == "FluxKontextInpaintPipeline":
        assert editor.edit(photo, EditSettings(**asked)).image.size == photo.size


@pytest.mark.parametrize("kind", ALONE)
def test_a_class_with_needs_of_its_own_edits_by_the_command_and_looks_at_photo_and_instruction(kind, photo, tmp_path, capsys):
    folder = tiny_diffusers.save(kind, tmp_path / kind, native=96, build=MORE[kind])
    photo.save(tmp_path / "photo.png")
    Image.new("RGB", photo.size, "red").save(tmp_path / "other.png")
    (tmp_path / "jobs.csv").write_text("image,instruction,out\nphoto.png,make it red,a.png\nother.png,make it red,b.png\n"
                                       "photo.png,a blue cat,c.png\nphoto.png,make it red,d.png\n")
    command = ["edit", str(tmp_path / "jobs.csv"), "--model", str(folder), "--device", "cpu", "--steps", "1"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0, capsys.readouterr().err
    made = [Image.open(tmp_path / "out" / name) for name in ("a.png", "b.png", "c.png", "d.png")]
    assert {each.size for each in made} == {photo.size}
    assert len({each.tobytes() for each in made}) == 3
    assert made[0].tobytes() == made[3].tobytes(), "the same seed, whatever it draws beside the generator"


def test_the_pixels_are_those_of_calling_the_pipeline_oneself(kontext, photo):
    result = make_editor(kontext, device="cpu").edit(photo, EditSettings("make it red", steps=2, seed=5))
    pipeline = diffusers.FluxKontextPipeline.from_pretrained(kontext)
    seen = photo.resize((160, 112), Image.Resampling.LANCZOS)       # the area of 128 x 128, sides multiples of 16
    assert result.seen.tobytes() == seen.tobytes()
    own = pipeline(image=seen, prompt="make it red", num_inference_steps=2, guidance_scale=3.5, width=160, height=112, max_area=160 * 112,
                   _auto_resize=False, generator=torch.Generator().manual_seed(5)).images[0]
    assert result.made.tobytes() == own.tobytes()


def test_an_edit_leaves_the_random_numbers_of_others_alone(kontext, photo):
    before = torch.get_rng_state()
    make_editor(kontext, device="cpu").edit(photo, EditSettings("make it red", steps=1, seed=5))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", ["FluxKontextPipeline", "StableDiffusionXLInstructPix2PixPipeline"])
def test_an_edit_stops_after_the_step_with_a_callback_and_without(kind, folders, photo):
    editor, seen = make_editor(str(folders[kind]), device="cpu"), []
    with pytest.raises(EditStopped, match="after step 2 of 9"):
        editor.edit(photo, EditSettings("make it red", steps=9), on_step=lambda step: seen.append(step.index),
                    should_stop=lambda: len(seen) >= 2)
    assert len(editor.queue) == 0
    assert editor.edit(photo, EditSettings("make it red", steps=1)).image.size == photo.size, "it edits again"


def test_the_command_edits_and_what_the_pipeline_lacks_is_refused(kontext, photo, tmp_path, capsys):
    photo.save(tmp_path / "photo.png")
    command = ["edit", str(tmp_path / "photo.png"), "make it red", "--model", kontext, "--device", "cpu", "--steps", "1"]
    assert main([*command, "--out", str(tmp_path / "out.png")]) == 0
    assert read_recipe(tmp_path / "out.png").guidance_scale == 3.5
    again = ["edit", str(tmp_path / "photo.png"), "--model", kontext, "--device", "cpu", "--recipe", str(tmp_path / "out.png")]
    assert main([*again, "--out", str(tmp_path / "again.png")]) == 0
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "out.png").read_bytes()
    capsys.readouterr()
    assert main([*command, "--scores", "5,0,5", "--out", str(tmp_path / "no.png")]) == 1
    assert capsys.readouterr().err == "error: --scores 5,0,5: the model FluxKontextPipeline reads no scores; leave it out\n"


def test_the_api_edits_with_a_pipeline_and_tells_what_it_has(kontext, photo, tmp_path):
    photo.save(tmp_path / "photo.png")
    with (served(build_app(StudioSettings(models=(kontext,), data=tmp_path / "data"))) as url,
          httpx.Client(base_url=url, timeout=60) as client):
        told = call(client, "models", [])[1][0]
        assert [(one["model"], one["capabilities"]["reward"], one["capabilities"]["seed"]) for one in told] == [
            ("FluxKontextPipeline", False, True)]
        outcome, answer = edit(client, (tmp_path / "photo.png").read_bytes(), "make it red", model="FluxKontextPipeline")
        assert outcome == "complete", answer
        assert read_recipe(fetched(client, answer)).steps == 28


@pytest.mark.parametrize("kind", FORMS)
def test_the_table_says_what_the_installed_diffusers_takes(kind):
    form, takes = FORMS[kind], inspect.signature(getattr(diffusers, kind).__call__).parameters
    assert {"prompt", form.image, "num_inference_steps", "generator", *form.extra} <= takes.keys()
    assert takes["num_inference_steps"].default == form.steps
    for name, value in ((form.guidance, form.scale), (form.image_guidance, form.image_scale)):
        assert not name or takes[name].default == value, name
    assert form.blank is None or "negative_prompt" in takes
    assert form.sized == ({"height", "width"} <= takes.keys())
    assert form.mask in ("", "mask", "mask_image")
    assert bool(form.mask) == bool({"mask", "mask_image"} & takes.keys())
    assert form.strength == 1 or takes["strength"].default == form.strength
    assert None not in form.extra.values()


def test_a_class_that_is_not_in_the_table_is_asked_for_its_signature(monkeypatch):
    known = FORMS["QwenImageEditPipeline"]
    monkeypatch.delitem(FORMS, "QwenImageEditPipeline")
    asked = form_of("QwenImageEditPipeline", "mine")
    assert (asked.image, asked.guidance, asked.scale, asked.blank, asked.steps) == ("image", "true_cfg_scale", 4.0, " ", 50)
    assert capabilities_of(asked) == capabilities_of(known)


@pytest.mark.parametrize(("kind", "message"), [
    ("FluxPipeline", "holds a FluxPipeline, which takes no picture"),
    ("StableDiffusionImg2ImgPipeline", "holds a StableDiffusionImg2ImgPipeline, which repaints a picture"),
    ("StableDiffusionControlNetInpaintPipeline", "holds a StableDiffusionControlNetInpaintPipeline, which asks for control_image"),
    ("WanImageToVideoPipeline", "holds a WanImageToVideoPipeline, which makes a video: it is no editor"),
    ("StableDiffusionUpscalePipeline", "holds a StableDiffusionUpscalePipeline, which enlarges or varies a picture: it is no editor"),
    ("QwenImageLayeredPipeline", "holds a QwenImageLayeredPipeline, which takes a picture apart: it is no editor"),
    ("NoSuchPipeline", r"holds a NoSuchPipeline, which diffusers [\d.]+ does not have"),
    ("__class__", "does not have"), (["os", "system"], "holds no pipeline")])
def test_what_is_no_editor_is_refused_in_one_line(kind, message, tmp_path, photo):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model_index.json").write_text(json.dumps({"_class_name": kind}))
    editor = make_editor(str(tmp_path / "mine"))
    assert not editor.capabilities.seed
    with pytest.raises(ModelError, match=message) as caught:
        editor.edit(photo, EditSettings("make it red"))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_folder_that_is_not_whole_or_not_safe_is_refused_in_one_line(kontext, photo, tmp_path):
    for number, (change, message) in enumerate([
            (lambda folder: (folder / "transformer" / "diffusion_pytorch_model.safetensors").unlink(), "cannot be loaded: .*transformer"),
            (lambda folder: (folder / "vae" / "config.json").write_text("{"), "cannot be loaded"),
            (lambda folder: change_index(folder, scheduler=["os", "system"]), "scheduler is of os, and only diffusers and transformers"),
            (lambda folder: change_index(folder, scheduler=["json", "loads"]), "scheduler is of json, and only diffusers and transformers"),
            (lambda folder: change_index(folder, native_size=True), "native_size must be a whole number")]):
        folder = shutil.copytree(kontext, tmp_path / str(number) / "mine")
        change(folder)
        with pytest.raises(ModelError, match=message) as caught:
            make_editor(str(folder), device="cpu").edit(photo, EditSettings("make it red", steps=1))
        assert "\n" not in str(caught.value)
        assert str(tmp_path) not in str(caught.value)


def test_weights_larger_than_the_memory_are_refused_before_they_are_read(kontext, photo, monkeypatch):
    monkeypatch.setattr("mre.editors.memory.free_memory", lambda device: 50_000)
    numbers = sum(value.numel() for file in Path(kontext).glob("*/*.safetensors") for value in load_file(file).values())
    with pytest.raises(ModelError, match=rf"has {numbers / 1e9:.3g} billion weights, {numbers * 4 / 1e9:.3g} GB as float32, and 5e-05 GB "
                                         r"of memory are free on cpu; nothing makes it fit here: take a smaller model"):
        make_editor(kontext, device="cpu").edit(photo, EditSettings("make it red", steps=1))


@pytest.fixture
def hub(kontext, tmp_path, monkeypatch):
    """A hub with a pipeline whose licence forbids commerce, and the cache of this machine, which is empty."""
    there = shutil.copytree(kontext, tmp_path / "there")
    (there / "README.md").write_text("---\nlicense: other\nlicense_name: flux-1-dev-non-commercial-license\n---\n")
    (there / "transformer" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    repository.index_from_hub.cache_clear()
    with hub_for(monkeypatch, tmp_path / "cache") as hub:
        hub.repositories["someone/kontext"] = there
        yield hub
    repository.index_from_hub.cache_clear()


def weights_in(folder) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.suffix in (".safetensors", ".bin"))


def test_a_pipeline_of_the_hub_is_fetched_and_its_licence_and_size_are_said_before(hub, photo, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("mre.editors.download.ENOUGH", 1000)
    editor = make_editor("someone/kontext", device="cpu")
    size = sum(path.stat().st_size for path in (tmp_path / "there").glob("*/*.safetensors"))
    real = diffusers.FluxKontextPipeline.from_pretrained
    said = []
    monkeypatch.setattr(diffusers.FluxKontextPipeline, "from_pretrained", lambda *args, **more: (
        said.extend(record.getMessage() for record in caplog.records), real(*args, **more))[1])
    assert editor.edit(photo, EditSettings("make it red", steps=1)).image.size == photo.size
    assert said == [f"someone/kontext: {size / 1e9:.3g} GB of weights are fetched from the hub, once",
                    "the weights of someone/kontext may not be used commercially: their licence is flux-1-dev-non-commercial-license"]
    assert weights_in(tmp_path / "cache") == weights_in(Path(hub.repositories["someone/kontext"]))[1:], "all but the pickle"


@pytest.mark.parametrize(("change", "message"), [
    (lambda hub, patch: patch.setattr("mre.editors.memory.free_memory", lambda device: 50_000),
     r"^the model someone/kontext has [\d.e-]+ billion weights, .* 5e-05 GB of memory are free on cpu; nothing makes it fit here"),
    (lambda hub, patch: patch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000)),
     r"^the model someone/kontext is not fetched: [\d.e-]+ GB of weights are to come, and 1e-06 GB are free on the disk"),
    (lambda hub, patch: (hub.repositories["someone/kontext"] / "vae" / "diffusion_pytorch_model.safetensors").rename(
        hub.repositories["someone/kontext"] / "vae" / "diffusion_pytorch_model.bin"),
     r"^the model someone/kontext is not fetched: vae has no safetensors weights, and others may hold code$"),
    (lambda hub, patch: (hub.repositories["someone/kontext"] / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"x" * 99),
     r"^the model someone/kontext is not fetched: its weights are damaged on the hub$"),
    (lambda hub, patch: hub.repositories.update({"someone/kontext": "gated"}),
     r"^someone/kontext is gated: accept its terms at http://127.0.0.1:\d+/someone/kontext, then log in"),
    (lambda hub, patch: hub.repositories.update({"someone/kontext": "broken"}),
     r"^someone/kontext is not whole on this machine, and the hub answered 500$")])
def test_what_cannot_be_used_is_told_before_any_weights_are_fetched(hub, photo, tmp_path, monkeypatch, change, message):
    editor = make_editor("someone/kontext", device="cpu")       # reads the index
    change(hub, monkeypatch)
    with pytest.raises(ModelError, match=message) as caught:
        editor.edit(photo, EditSettings("make it red", steps=1))
    assert "\n" not in str(caught.value)
    assert weights_in(tmp_path / "cache") == []


@pytest.mark.parametrize(("repository", "message"), [
    ("gated", r"^x/y is gated: accept its terms at http://127.0.0.1:\d+/x/y, then log in"),
    ("absent", "^the hub has no model x/y, or it is private"),
    ({}, "^x/y holds no model of ours or of diffusers: model_index.json or unet/config.json is missing$")])
def test_what_the_hub_says_of_a_repository_whose_index_it_does_not_give_is_told(hub, tmp_path, repository, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text("{}")
    hub.repositories["x/y"] = repository or tmp_path / "empty"
    for ask in (lambda editor: editor.info, lambda editor: editor.prepare()):
        with pytest.raises(ModelError, match=message) as caught:
            ask(make_editor("x/y", device="cpu"))
        assert "\n" not in str(caught.value)


def test_a_repository_of_instruct_pix2pix_is_described_by_its_settings_and_fetched_when_it_edits(hub, photo, tmp_path):
    tiny_models.pipeline(tiny_models.plain_unet(), diffusers.StableDiffusionInstructPix2PixPipeline).save_pretrained(tmp_path / "plain")
    change_index(tmp_path / "plain", native_size=32)
    hub.repositories["x/plain"] = tmp_path / "plain"
    editor = make_editor("x/plain", device="cpu")
    assert isinstance(editor, PipelineEditor)
    assert not editor.info.capabilities.reward
    assert weights_in(tmp_path / "cache") == []
    result = editor.edit(photo, EditSettings("make it red", steps=1))
    assert weights_in(tmp_path / "cache") == ["diffusion_pytorch_model.safetensors"] * 2 + ["model.safetensors"]
    assert result.recipe.made_with["weights"] == make_editor(str(tmp_path / "plain")).info.digest


def test_a_repository_that_makes_pictures_of_words_alone_is_refused_before_its_weights_are_fetched(hub, tmp_path):
    tiny_models.pipeline(tiny_models.plain_unet(in_channels=4), diffusers.StableDiffusionPipeline).save_pretrained(tmp_path / "plain")
    hub.repositories["x/words"] = tmp_path / "plain"
    for ask in (lambda editor: editor.info, lambda editor: editor.prepare()):
        with pytest.raises(ModelError, match=r"^x/words edits no pictures: the U-Net of an editor has 8 input channels, this one has 4$"):
            ask(make_editor("x/words", device="cpu"))
    assert weights_in(tmp_path / "cache") == []


def test_where_the_hub_cannot_be_asked_a_hub_id_is_taken_for_one_of_ours_and_loading_says_why(monkeypatch):
    def unreachable(*_, **__):
        raise httpx.ConnectError("no route")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", unreachable)
    editor = make_editor("some/one")
    assert not isinstance(editor, DiffusersEditor)
    with pytest.raises(ModelError, match="some/one is not on this machine"):
        editor.prepare()


def test_free_memory_is_told_in_bytes():
    assert 1e7 < free_memory("cpu") < 1e15


def test_chrono_edit_reads_prompts_with_a_package_and_says_so_where_that_is_not_installed(photo, tmp_path, monkeypatch):
    folder = tiny_diffusers.save("ChronoEditPipeline", tmp_path / "mine", native=64, build=MORE["ChronoEditPipeline"])
    editor, asked = make_editor(str(folder), device="cpu"), EditSettings("make it red", steps=1)
    assert editor.edit(photo, asked).image.size == photo.size, "the last of its frames"
    monkeypatch.delattr("diffusers.pipelines.chronoedit.pipeline_chronoedit.ftfy")
    with pytest.raises(ModelError, match=r"^the model mine needs the package ftfy, which is not installed$"):
        editor.edit(photo, asked)


def test_omnigen_is_given_the_photo_as_with_torchvision():
    from mre.editors.omnigen import PictureProcessor

    pixels = np.random.default_rng(0).integers(0, 256, (20, 41, 3), dtype=np.uint8)
    given = PictureProcessor(None).process_image(Image.fromarray(pixels))
    inside = pixels[2:18, 4:36].astype(np.float64)          # sides are cut to multiples of 16, around the middle
    assert np.allclose(given.numpy(), (inside / 127.5 - 1).transpose(2, 0, 1), atol=1e-6)


def test_what_a_pipeline_asserts_of_an_instruction_is_one_line(photo, tmp_path):
    editor = make_editor(str(tiny_diffusers.save("OmniGenPipeline", tmp_path / "mine", native=64, build=MORE["OmniGenPipeline"])))
    with pytest.raises(ModelError, match=r"^the model mine: total images must be the same as the number of image tags, got 2 image tags"):
        editor.edit(photo, EditSettings("make <|image_2|> red", steps=1))


def change_index(folder, **values) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | values))


def test_the_licence_of_the_weights_is_said_and_that_it_forbids_commerce(kontext, tmp_path, caplog):
    folder = shutil.copytree(kontext, tmp_path / "mine")
    (folder / "README.md").write_text("---\nlicense: other\nlicense_name: flux-1-dev-non-commercial-license\n---\n# Mine\n")
    with caplog.at_level("WARNING", "mre.editors"):
        editor = make_editor(str(folder), device="cpu")
        editor.prepare()
    assert [record.getMessage() for record in caplog.records] == [
        "the weights of mine may not be used commercially: their licence is flux-1-dev-non-commercial-license"]
    info = editor.info
    assert info.licence == "flux-1-dev-non-commercial-license"
    assert "Licence of its weights: flux-1-dev-non-commercial-license, which forbids commercial use." in info.limits


@pytest.mark.parametrize(("licence", "said"), [
    ("cc-by-nc-4.0", True), ("flux-non-commercial-license", True), ("qwen-research", True), ("fair-noncommercial-research-license", True),
    ("apache-2.0", False), ("mit", False), ("creativeml-openrail-m", False), ("launch-nc2", False), ("", False)])
def test_which_licences_forbid_commerce(licence, said):
    assert ("forbids commercial use" in about_licence(licence)) == said


def test_a_folder_that_holds_no_model_says_so_and_names_the_folders_inside_that_do(kontext, photo, tmp_path):
    (tmp_path / "photos").mkdir()
    photo.save(tmp_path / "photos" / "a.png")
    with pytest.raises(ModelError, match=r"^photos holds no model: model_index.json is missing$"):
        make_editor(str(tmp_path / "photos")).edit(photo, EditSettings("make it red"))
    shutil.copytree(kontext, tmp_path / "photos" / "inner")
    with pytest.raises(ModelError, match=r"^photos holds no model: model_index.json is missing; there are some in its folders inner$"):
        make_editor(str(tmp_path / "photos")).prepare()


def test_a_half_fetched_repository_says_what_is_missing(kontext, photo, tmp_path, monkeypatch):
    there = shutil.copytree(kontext, tmp_path / "models--some--one" / "snapshots" / "0123abcd")
    shutil.rmtree(there / "vae")
    monkeypatch.setattr("mre.editors.repository.index_from_hub", lambda name: there / "model_index.json")
    monkeypatch.setattr("mre.editors.diffusers_kind.index_from_hub", lambda name: there / "model_index.json")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"^the model some/one cannot be loaded: it is not whole on this machine \(vae is missing\)") as no:
        make_editor("some/one", device="cpu").edit(photo, EditSettings("make it red", steps=1))
    assert "\n" not in str(no.value)
    assert str(tmp_path) not in str(no.value)
