"""`from_pretrained` with its usual arguments, from folders and from a hub."""

import inspect
import shutil

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file

from mre import Reward
from mre.editors import pipeline_info, weights
from mre.editors.kinds import make_editor
from mre.editors.load_options import LoadOptions
from mre.errors import ModelError
from mre.models import zoo
from mre.models.hub import HUB_SETTINGS
from mre.models.known import KNOWN
from mre.models.unet import RewardUNet2DConditionModel
from mre.pipeline import RewardEditPipeline
from tests.models.fake_hub import hub_for
from tests.models.test_layouts import edited
from tests.tiny_models import pipeline, reward_unet

UNET = "unet/diffusion_pytorch_model"


@pytest.fixture(scope="module")
def editor():
    return pipeline()


@pytest.fixture(scope="module")
def ours(editor, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ours") / "model"
    editor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """Weights in half precision alone, under the names that the libraries give to such."""
    folder = tmp_path_factory.mktemp("half") / "model"
    pipeline().to(torch.float16).save_pretrained(folder, variant="fp16")
    return folder


# -------------------------------------------------------------------------------------------------- what we write we read

@pytest.mark.parametrize("saving", [{}, {"variant": "fp16"}, {"max_shard_size": "60KB"}, {"variant": "fp16", "max_shard_size": "60KB"},
                                    {"variant": "non_ema"}], ids=str)
def test_what_is_saved_with_the_usual_arguments_is_read_with_them(editor, tmp_path, saving):
    editor.save_pretrained(tmp_path, **saving)
    names = [path.name for path in tmp_path.rglob("*.safetensors")]
    assert ("fp16" in saving.values()) == any(".fp16" in name for name in names)
    assert ("max_shard_size" in saving) == any("-of-" in name for name in names)
    variant = saving.get("variant")
    again = RewardEditPipeline.from_pretrained(tmp_path, variant=variant)
    assert torch.equal(edited(again, Reward(1, 0, 2)), edited(editor, Reward(1, 0, 2)))
    unet = RewardUNet2DConditionModel.from_pretrained(tmp_path, subfolder="unet", variant=variant)
    assert all(torch.equal(value, editor.unet.state_dict()[name]) for name, value in unet.state_dict().items())


def test_weights_with_the_variant_put_last_as_older_versions_did_are_read(editor, tmp_path):
    editor.save_pretrained(tmp_path, variant="fp16", max_shard_size="60KB")
    index = tmp_path / f"{UNET}.safetensors.index.fp16.json"
    text = index.read_text()
    for path in (tmp_path / "unet").glob("*.fp16-*.safetensors"):
        older = path.name.replace(".fp16", "").replace(".safetensors", ".fp16.safetensors")
        text = text.replace(path.name, older)
        path.rename(path.with_name(older))
    index.write_text(text)
    assert torch.equal(edited(RewardEditPipeline.from_pretrained(tmp_path, variant="fp16")), edited(editor))
    index.unlink()
    assert torch.equal(edited(RewardEditPipeline.from_pretrained(tmp_path, variant="fp16")), edited(editor)), "an index is not needed"


def test_pickles_are_not_written_since_they_are_not_read(editor, tmp_path):
    for model in (editor, editor.unet):
        with pytest.raises(ValueError, match="safe_serialization must be true"):
            model.save_pretrained(tmp_path / "model", safe_serialization=False)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("variant", ["released", "paper"])
def test_the_variant_of_the_files_and_the_variant_of_the_condition_do_not_clash(variant, tmp_path):
    unet = reward_unet(variant=variant).half()
    unet.save_pretrained(tmp_path, variant="fp16")
    again = RewardUNet2DConditionModel.from_pretrained(tmp_path, variant="fp16")
    assert again.config.variant == variant
    assert all(torch.equal(value, unet.state_dict()[name].float()) for name, value in again.state_dict().items())
    shutil.copy(tmp_path / "diffusion_pytorch_model.fp16.safetensors", tmp_path / "diffusion_pytorch_model.safetensors")
    assert RewardUNet2DConditionModel.from_pretrained(tmp_path, variant=variant).config.variant == variant
    with pytest.raises(ModelError, match=f"trained with variant {variant}; it cannot be given"):
        RewardUNet2DConditionModel.from_pretrained(tmp_path, variant={"released": "paper", "paper": "released"}[variant])


# --------------------------------------------------------------------------------------------------------- the arguments

@pytest.mark.parametrize("arguments", [
    {"use_safetensors": True}, {"use_safetensors": None}, {"low_cpu_mem_usage": True}, {"low_cpu_mem_usage": False},
    {"local_files_only": True}, {"device_map": "cpu"}, {"device_map": {"": "cpu"}}, {"device_map": torch.device("cpu")},
    {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}, {"token": "hf_x"}, {"revision": "main"},
    {"torch_dtype": torch.float32, "variant": None}, {"dtype": "float32"}, {"torch_dtype": "auto"},
], ids=str)
def test_usual_arguments_are_taken(editor, ours, arguments):
    assert torch.equal(edited(RewardEditPipeline.from_pretrained(ours, **arguments)), edited(editor))


@pytest.mark.parametrize(("arguments", "formats"), [
    ({"torch_dtype": torch.bfloat16}, ("bfloat16",) * 3), ({"dtype": torch.float16}, ("float16",) * 3), ({}, ("float32",) * 3),
    ({"dtype": "auto"}, ("float16",) * 3), ({"dtype": "torch.float64"}, ("float64",) * 3),
    ({"torch_dtype": {"unet": torch.float16, "default": torch.bfloat16}}, ("float16", "bfloat16", "bfloat16")),
    ({"torch_dtype": {"vae": "bfloat16"}}, ("float32", "bfloat16", "float32")),
], ids=str)
def test_the_number_format_is_the_one_asked_for(half, arguments, formats):
    again = RewardEditPipeline.from_pretrained(half, variant="fp16", **arguments)
    assert tuple(str(part.dtype).removeprefix("torch.") for part in (again.unet, again.vae, again.text_encoder)) == formats
    unet = RewardUNet2DConditionModel.from_pretrained(half / "unet", variant="fp16", **arguments)
    assert str(unet.dtype) == f"torch.{formats[0]}"


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"use_magic": 1}, TypeError, "no argument 'use_magic'"), ({"torch_dtyp": torch.half}, TypeError, "did you mean 'torch_dtype'"),
    ({"custom_pipeline": "x/y"}, TypeError, "no argument 'custom_pipeline'"), ({"use_safetensors": False}, ModelError, "use_safetensors"),
    ({"torch_dtype": torch.int8}, ModelError, "dtype must be a floating"), ({"dtype": "half precision"}, ModelError, "dtype must be"),
    ({"dtype": torch.half, "torch_dtype": torch.float32}, ModelError, "dtype and torch_dtype are one thing"),
    ({"dtype": {"unett": torch.half}}, ModelError, "'unett' is no part"), ({"variant": "../fp16"}, ModelError, "variant must be"),
    ({"low_cpu_mem_usage": "yes"}, ModelError, "low_cpu_mem_usage"),
    ({"device_map": "gpu"}, ModelError, "'gpu' is no device of this machine"),
    ({"device_map": 3.5}, ModelError, "device_map must be"), ({"max_memory": {0: "1GB"}}, ModelError, "need a device_map"),
    ({"device_map": "balanced"}, ModelError, "device_map of a pipeline must be one device"),
    ({"device_map": {"unet": "cpu"}}, ModelError, "device_map of a pipeline must be one device"),
], ids=str)
def test_an_argument_that_cannot_be_is_named_before_anything_is_read(tmp_path, monkeypatch, arguments, error, message):
    """There is nothing to read at all: had anything been looked for, that would be the error."""
    with pytest.raises(error, match=message) as caught:
        RewardEditPipeline.from_pretrained(tmp_path / "nowhere", **arguments)
    assert "\n" not in str(caught.value)
    if "of a pipeline" not in message:
        with pytest.raises(error, match=message):
            RewardUNet2DConditionModel.from_pretrained(tmp_path / "nowhere", **arguments)


@pytest.mark.parametrize("places", ["auto", "balanced", "sequential", {"": "disk"},
                                    {"conv_in": "disk", "": "cpu"}, "cpu", {"": "cpu"}], ids=str)
def test_a_unet_by_itself_goes_where_a_device_map_wants_it(editor, ours, tmp_path, places):
    unet = RewardUNet2DConditionModel.from_pretrained(ours / "unet", device_map=places, offload_folder=tmp_path)
    assert unet.conv_in.weight.is_meta == ("disk" in str(places))
    assert torch.equal(edited(pipeline(unet)), edited(editor))


def test_a_folder_that_holds_another_models_weights_is_written_anew(editor, ours, tmp_path):
    settings = {"device_map": {"": "disk"}, "offload_folder": tmp_path / "offload"}
    reward_unet(seed=5).save_pretrained(tmp_path / "other")
    RewardUNet2DConditionModel.from_pretrained(tmp_path / "other", **settings)
    unet = RewardUNet2DConditionModel.from_pretrained(ours / "unet", **settings)
    assert torch.equal(edited(pipeline(unet)), edited(editor))


def test_what_does_not_fit_in_memory_goes_to_disk(editor, ours, tmp_path):
    limits = {"device_map": "sequential", "max_memory": {"cpu": "1200KB"}}
    unet = RewardUNet2DConditionModel.from_pretrained(ours / "unet", offload_folder=tmp_path, **limits)
    assert {parameter.is_meta for parameter in unet.parameters()} == {True, False}
    assert torch.equal(edited(pipeline(unet)), edited(editor))
    with pytest.raises(ModelError, match="which needs an offload_folder"):
        RewardUNet2DConditionModel.from_pretrained(ours / "unet", **limits)
    with pytest.raises(ModelError, match="device_map: "):
        RewardUNet2DConditionModel.from_pretrained(ours / "unet", device_map={"conv_in": "cpu"})


def test_parts_that_are_given_are_not_looked_for(editor, ours, tmp_path):
    folder = shutil.copytree(ours, tmp_path / "model")
    shutil.rmtree(folder / "unet")
    shutil.rmtree(folder / "scheduler")
    again = RewardEditPipeline.from_pretrained(folder, unet=editor.unet, scheduler=editor.scheduler, default_steps=3)
    assert again.unet is editor.unet
    assert again.config.default_steps == 3


# ------------------------------------------------------------------------------------------------------ what is not there

@pytest.mark.parametrize(("variant", "change", "message"), [
    (None, lambda m: None, r'model.safetensors is missing; there are weights in half precision \(variant="fp16"\)'),
    ("bf16", lambda m: None, r'model.bf16.safetensors is missing; there are weights in half precision \(variant="fp16"\)'),
    ("fp16", lambda m: (m / f"{UNET}.fp16.safetensors").rename(m / f"{UNET}.fp16.bin"), "fp16.bin is not read, since it may hold code"),
    ("fp16", lambda m: (m / f"{UNET}.fp16.safetensors").unlink(), r"diffusion_pytorch_model.fp16.safetensors is missing$"),
])
def test_weights_of_another_variant_or_kind_are_said_to_be_there(half, tmp_path, variant, change, message):
    folder = shutil.copytree(half, tmp_path / "model")
    change(folder)
    for load in (lambda: RewardEditPipeline.from_pretrained(folder, variant=variant),
                 lambda: RewardUNet2DConditionModel.from_pretrained(folder / "unet", variant=variant)):
        with pytest.raises(ModelError, match=message) as caught:
            load()
        assert "\n" not in str(caught.value)


def test_a_variant_that_no_part_has_is_refused_and_one_that_some_have_is_taken_where_it_is(editor, ours, half, tmp_path):
    with pytest.raises(ModelError, match="has no weights of the variant 'fp16', only weights without a variant"):
        RewardEditPipeline.from_pretrained(ours, variant="fp16")
    folder = shutil.copytree(ours, tmp_path / "model")
    shutil.copy(half / f"{UNET}.fp16.safetensors", folder / "unet")
    stored = RewardEditPipeline.from_pretrained(folder, variant="fp16", dtype="auto")
    assert (stored.unet.dtype, stored.vae.dtype) == (torch.float16, torch.float32)


def test_a_name_reads_half_precision_where_there_is_nothing_else(half):
    assert zoo.load_pipeline(str(half), device="cpu").unet.dtype == torch.float32
    assert pipeline_info.describe(str(half)).conditioned


def test_a_whole_editor_is_no_unet(ours):
    with pytest.raises(ModelError, match='is a whole editor; its U-Net alone is read with subfolder="unet"'):
        RewardUNet2DConditionModel.from_pretrained(ours)


# ----------------------------------------------------------------------------------------------------------------- a hub

@pytest.fixture
def hub(monkeypatch, tmp_path):
    with hub_for(monkeypatch, tmp_path / "cache") as hub:
        yield hub


def test_a_model_is_fetched_from_the_hub_once(editor, ours, hub, tmp_path):
    (tmp_path / "repository").mkdir()
    folder = shutil.copytree(ours, tmp_path / "repository" / "stage2")
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    (folder / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"not wanted")
    hub.repositories["someone/weights"] = tmp_path / "repository"
    for _ in range(2):
        again = RewardEditPipeline.from_pretrained("someone/weights", subfolder="stage2", token=False)
        assert torch.equal(edited(again), edited(editor))
    fetched = [path for path in hub.asked if "/resolve/" in path]
    assert any(path.endswith(f"stage2/{UNET}.safetensors") for path in fetched)
    assert not any(path.endswith((".bin", ".fp16.safetensors")) for path in fetched)
    before = len(hub.asked)
    RewardEditPipeline.from_pretrained("someone/weights", subfolder="stage2", local_files_only=True)
    assert len(hub.asked) == before
    RewardEditPipeline.from_pretrained("someone/weights", subfolder="stage2", force_download=True, token=False)
    assert len(hub.asked) > before
    unet = RewardUNet2DConditionModel.from_pretrained("someone/weights", subfolder="stage2/unet", cache_dir=tmp_path / "other", token=False)
    assert torch.equal(edited(pipeline(unet)), edited(editor))


@pytest.mark.parametrize("name", ["someone/weights", "reward-insp2p"])
def test_weights_of_ours_larger_than_the_memory_are_refused_before_any_is_fetched(ours, hub, tmp_path, monkeypatch, name):
    there = hub.repositories["someone/weights"] = hub.repositories["Gstar666/Reward-InsPix2Pix"] = tmp_path / "there"
    folder = shutil.copytree(ours, there / (KNOWN[name].subfolder if name in KNOWN else "."))
    (folder / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"not wanted")
    numbers = sum(value.numel() for file in ours.glob("*/*.safetensors") for value in load_file(file).values())
    monkeypatch.setattr("mre.editors.memory.free_memory", lambda device: 2 * numbers + 40_000)     # for half of it, and what are no floats
    monkeypatch.setattr(weights, "computed_dtypes", lambda device: ("bfloat16", "float32"))
    editor = make_editor(name, device="cpu", loading=LoadOptions(dtype="float32"))
    with pytest.raises(ModelError, match=rf"^the model {name} has {numbers / 1e9:.3g} billion weights, \S+ GB as float32, and \S+ GB of "
                                         r"memory are free on cpu; what would fit: --dtype bfloat16$"):
        editor.prepare()
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    if name not in KNOWN:
        monkeypatch.setattr("mre.editors.memory.free_memory", lambda device: 10**9)
        editor.prepare()
        monkeypatch.setattr("mre.editors.memory.free_memory", lambda device: 10_000)
        with pytest.raises(ModelError, match="nothing makes it fit here"):
            make_editor(name, device="cpu").prepare()       # of files that are here, which nobody is asked about


def test_a_variant_is_fetched_by_its_files_alone(half, hub):
    hub.repositories["someone/half"] = half
    again = RewardEditPipeline.from_pretrained("someone/half", variant="fp16", token=False)
    assert again.unet.dtype == torch.float32
    assert zoo.load_pipeline("someone/half", device="cpu").unet.dtype == torch.float32


def pickled(folder):
    for path in folder.rglob("*.safetensors"):
        path.rename(path.with_suffix(".bin"))


@pytest.mark.parametrize(("repository", "arguments", "message"), [
    ("gated", {}, r"someone/weights is gated: accept its terms at http://127.0.0.1:\d+/someone/weights, then log in"),
    ("absent", {}, "the hub has no model someone/weights, or it is private"),
    ("bad token", {"token": "hf_wrong"}, r"the hub refuses the token that was given for someone/weights \(401\)"),
    ("disabled", {}, "someone/weights has been disabled"), ("busy", {}, "the hub answered 429: too many requests"),
    ("broken", {}, "is not on this machine, and the hub answered 500"),
    (lambda folder: None, {"revision": "v2"}, "someone/weights has no revision v2"),
    (lambda folder: None, {"subfolder": "stage2"}, "someone/weights has no folder stage2"),
    (lambda folder: None, {"variant": "fp16"}, "has no weights of the variant 'fp16', only weights without a variant"),
    (lambda folder: (folder / f"{UNET}.safetensors").rename(folder / f"{UNET}.fp16.safetensors"), {},
     r'someone/weights/unet/.*safetensors is missing; there are weights in half precision \(variant="fp16"\)'),
    (pickled, {}, "bin is not read, since it may hold code: convert it to safetensors"),
    (lambda folder: shutil.move(shutil.move(folder, folder.with_name("x")), folder / "stage2"), {},
     "someone/weights holds no model: model_index.json is missing; there are some in its folders stage2"),
    (lambda folder: [path.unlink() for path in folder.rglob("*.*")], {}, "someone/weights holds no model: model_index.json is missing$"),
])
def test_the_hubs_answer_is_told(ours, hub, tmp_path, repository, arguments, message):
    """Before anything large is fetched."""
    if callable(repository):
        folder = tmp_path / "repository" / "model"
        shutil.copytree(ours, folder)
        repository(folder)
        repository = folder
    hub.repositories["someone/weights"] = repository
    with pytest.raises(ModelError, match=message) as caught:
        RewardEditPipeline.from_pretrained("someone/weights", **{"token": False, **arguments})
    assert "\n" not in str(caught.value)
    assert not any("/resolve/" in path for path in hub.asked)


def test_a_hub_that_cannot_be_reached_or_may_not_be_asked_is_told_and_what_is_here_is_used(editor, ours, hub, monkeypatch, tmp_path):
    hub.repositories["someone/weights"] = ours
    RewardEditPipeline.from_pretrained("someone/weights", token=False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert torch.equal(edited(RewardEditPipeline.from_pretrained("someone/weights", token=False)), edited(editor))
    with pytest.raises(ModelError, match=r"someone/other is not on this machine, and the hub at http://127.0.0.1:9 is not reachable"):
        RewardEditPipeline.from_pretrained("someone/other", token=False)
    [cached] = (tmp_path / "cache").glob(f"models--someone--weights/snapshots/*/{UNET}.safetensors")
    cached.unlink()
    with pytest.raises(ModelError, match=rf"someone/weights is not whole on this machine \({UNET}.safetensors is missing\), and the hub"):
        RewardEditPipeline.from_pretrained("someone/weights", token=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"not whole on this machine .*, and HF_HUB_OFFLINE forbids asking the hub"):
        RewardEditPipeline.from_pretrained("someone/weights", token=False)
    with pytest.raises(ModelError, match=r"not whole on this machine .*, and nothing is fetched here"):
        RewardEditPipeline.from_pretrained("someone/weights", local_files_only=True)


def test_a_login_that_is_asked_for_and_not_there_is_told(hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.utils._headers.get_token", lambda: None)
    with pytest.raises(ModelError, match="no token is stored on this machine"):
        RewardEditPipeline.from_pretrained("someone/weights", token=True)


def test_a_full_disk_is_told(ours, hub, monkeypatch):
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    hub.repositories["someone/weights"] = ours
    monkeypatch.setattr("huggingface_hub._snapshot_download.hf_hub_download", full)
    with pytest.raises(ModelError, match="someone/weights could not be stored on this machine: No space left on device"):
        RewardEditPipeline.from_pretrained("someone/weights", token=False)


def test_settings_of_the_hub_are_those_of_its_library():
    from huggingface_hub import snapshot_download

    assert set(HUB_SETTINGS) <= set(inspect.signature(snapshot_download).parameters)
