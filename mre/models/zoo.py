"""Names -> weights: the embedded models, the public ones, any folder, any hub id. Importing this loads no torch.

Nothing is fetched unless a public model is asked for by its name or hub id and is not on this machine yet.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mre.editors.capabilities import Capabilities
from mre.errors import DataError, ModelError
from mre.files import read_json

if TYPE_CHECKING:
    import torch

    from mre.pipeline import RewardEditPipeline

ASSETS = Path(__file__).resolve().parent.parent / "assets"
UNTRAINED, UNTRAINED_SEED = {"native_size": 64}, 0
LEARNED = "Trained on synthetic scenes and on photos with synthetic edits, in English."
MAX_STEPS = 200
SCHEDULERS = {"default": None, "ddim": "DDIMScheduler", "dpm-solver": "DPMSolverMultistepScheduler", "unipc": "UniPCMultistepScheduler",
              "euler": "EulerDiscreteScheduler", "euler-ancestral": "EulerAncestralDiscreteScheduler"}
# A latent diffusion model with guidance, such as InstructPix2Pix.
FULL_SIZE = Capabilities(reward=True, reward_text=True, negative_reward=True, seed=True, steps=range(1, MAX_STEPS + 1), guidance_scale=True,
                         image_guidance_scale=True, schedulers=tuple(SCHEDULERS)[1:], mask=False, preview=True, batch=1,
                         open_vocabulary=True)
# It predicts the picture itself, in one step, unguided: `python -m tests.bench.controls` shows what the others would do. More steps trade
# following for quality where no reward does.
EMBEDDED = Capabilities(reward=True, reward_text=True, negative_reward=False, seed=False, steps=None, guidance_scale=False,
                        image_guidance_scale=False, schedulers=(), mask=False, preview=False, batch=1, open_vocabulary=False)
EMBEDDED_STEPS = range(1, 21)
ANY_PHOTO = "Made for photographs of any kind, at 512 pixels; its safety checker is not loaded."


@dataclass(frozen=True)
class Known:
    """Where a short name leads, and what to say of it."""

    title: str
    limits: str
    folder: str = ""            # of the embedded models, in the assets
    hub_id: str = ""
    subfolder: str | None = None
    sure_looks: tuple[str, ...] = ()     # of mre.data.scenes.looks, which it does well on any picture: tests run them


# What both embedded models do well, and so, it may be hoped, another of their kind.
SURE_LOOKS = ("sunset", "winter", "night", "foggy", "darker", "vintage", "negative")
KNOWN = {
    "tiny": Known("MRE tiny (embedded)", LEARNED + " It changes light, weather, season, colours and style of any photo. It can add, "
                  "remove or recolour simple objects (balls, stars, houses), often blurry and sometimes misplaced. It does not know what "
                  "is in your photo.", folder="tiny",
                  sure_looks=(
                      "sunset", "black_and_white", "winter", "sketch", "night", "sepia", "foggy", "watercolour", "vintage", "warmer",
                      "cooler", "darker", "brighter", "vivid", "negative", "poster")),
    "tiny-baseline": Known("MRE tiny without reward (embedded)", LEARNED + " Trained like tiny, but blind to rewards: the sliders have no "
                           "effect.", folder="tiny-baseline", sure_looks=SURE_LOOKS),
    "tiny-untrained": Known("Untrained (for tests)", "Random weights: what it makes means nothing."),
    "insp2p": Known("InstructPix2Pix", ANY_PHOTO + " It knows no rewards: the sliders have no effect.",
                    hub_id="timbrooks/instruct-pix2pix"),
    "reward-insp2p": Known("Reward-InstructPix2Pix", ANY_PHOTO,
                           hub_id="Gstar666/Reward-InsPix2Pix", subfolder="stage2_reward_instruct_pix2pix"),
}


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model without loading it."""

    name: str                       # without the folders that lead to it
    title: str
    native_size: int                # pixels
    size_rule: str                  # see mre.imaging.fit_size
    steps: int                      # this and the next three: its defaults
    guidance_scale: float
    image_guidance_scale: float
    conditioned: bool               # whether it reads rewards
    capabilities: Capabilities
    limits: str                     # what it can edit, and what not
    digest: str | None              # of its weights; none while they are not on this machine

    def is_guided(self, guidance_scale: float | None = None, image_guidance_scale: float | None = None) -> bool:
        """Whether an edit with these scales, or its defaults in their place, is guided at all: else no scale changes anything."""
        text = self.guidance_scale if guidance_scale is None else guidance_scale
        image = self.image_guidance_scale if image_guidance_scale is None else image_guidance_scale
        return text > 1 and image >= 1


def load_pipeline(name: str, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> RewardEditPipeline:
    """The model behind a short name, a folder or a hub id, in float32 unless told otherwise, on `device` (a GPU where there is one).

    Raises ModelError in one line that names what is missing or wrong.
    """
    from mre.models.quiet import quiet_libraries

    with quiet_libraries():
        import torch

        pipeline = _untrained_pipeline() if name == "tiny-untrained" else _read(name, dtype)
        return pipeline.to(device or ("cuda" if torch.cuda.is_available() else "cpu"), dtype or torch.float32)


def load_starting_pipeline(name: str, **condition: Any) -> RewardEditPipeline:
    """What a fine-tuning starts from: an editor, or a Stable Diffusion model, whose U-Net is given this reward condition.

    `condition` holds settings of RewardUNet2DConditionModel. A U-Net that has a reward condition already must have the same switches.
    """
    from mre.models.quiet import quiet_libraries

    with quiet_libraries():
        return _read(name, None, widen=True, condition=condition)


def is_embedded(name: str) -> bool:
    """Whether the name, or folder, is that of a model which knows the words and things of drawn scenes only."""
    if name in KNOWN:
        return not KNOWN[name].hub_id
    config = Path(name).expanduser() / "unet" / "config.json"
    try:
        return read_json(config)["_class_name"] == "GatedRewardUNet"
    except (DataError, LookupError, TypeError):
        return False


def capabilities_of(name: str) -> Capabilities:
    """What a model can use, as far as its folder's settings tell without loading torch; of public weights that are not here yet, what is
    published of them."""
    if name == "tiny-untrained":
        return replace(FULL_SIZE, open_vocabulary=False)        # as it was before any training
    folder = ASSETS / KNOWN[name].folder if name in KNOWN and KNOWN[name].folder else Path(name).expanduser()
    try:
        config = read_json(folder / "unet" / "config.json")
    except DataError:
        config = {}
    return _capabilities(config if isinstance(config, dict) else {}, name != "insp2p")


def _capabilities(config: dict[str, Any], conditioned: bool) -> Capabilities:
    """What a U-Net of these settings can use; `conditioned` where they do not say whether it reads rewards."""
    base = EMBEDDED if config.get("_class_name") == "GatedRewardUNet" else FULL_SIZE
    scores = texts = conditioned
    if "variant" in config:
        reads = config.get("use_attention", True) or config.get("use_addition", True)
        scores, texts = bool(reads and config.get("use_score", True)), bool(reads and config.get("use_text", True))
    return replace(base, reward=scores, reward_text=texts, negative_reward=base.negative_reward and (scores or texts),
                   steps=base.steps if base is FULL_SIZE or scores or texts else EMBEDDED_STEPS)


def sure_looks(name: str) -> tuple[str, ...]:
    """Looks, of mre.data.scenes.looks, that a model does well on any picture; none where that is not known."""
    if name in KNOWN:
        return KNOWN[name].sure_looks
    return SURE_LOOKS if is_embedded(name) else ()


def describe(name: str) -> ModelInfo:
    """What is known of a model: its defaults and limits, and the digest of its weights. Loads nothing, fetches nothing.

    Raises ModelError for a name that leads nowhere; public weights that are not here yet are described by what is published of them.
    """
    known = KNOWN.get(name)
    if name == "tiny-untrained":
        from mre.embedded.build import SETTINGS

        return _info(name, known, SETTINGS | UNTRAINED, True, capabilities_of(name), f"untrained-{UNTRAINED_SEED}")
    folder = _local_folder(name)
    if folder is None:
        return _info(name, known, {}, name != "insp2p", capabilities_of(name), None)
    from mre.models.folders import reads_rewards
    from mre.models.weight_files import INDEX, read_json

    try:
        conditioned = reads_rewards(folder / "unet")
        capabilities = _capabilities(read_json(folder / "unet" / "config.json"), conditioned)
        return _info(name, known, read_json(folder / INDEX), conditioned, capabilities, weight_digest(folder))
    except ModelError as error:
        raise _shortened(error, folder, name) from None


def weight_digest(folder: Path) -> str:
    """SHA-256 of all safetensors files of a model folder, in the order of their names."""
    files = sorted(folder.glob("*/*.safetensors"))
    return _digest(tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files))


@lru_cache(maxsize=32)
def _digest(files: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, _, size in files:
        digest.update(f"{Path(path).parent.name}/{Path(path).name} {size}\n".encode())
        with open(path, "rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def _read(name: str, dtype: torch.dtype | None, **start: Any) -> RewardEditPipeline:
    from diffusers import EulerAncestralDiscreteScheduler

    from mre.models.folders import load_pipeline
    from mre.models.hub import find_folder
    from mre.models.weight_files import AVAILABLE, INDEX, read_json
    from mre.pipeline import RewardEditPipeline

    known = KNOWN.get(name, Known(name, ""))
    folder = _embedded_folder(name) if known.folder else find_folder(known.hub_id or name, subfolder=known.subfolder, variant=AVAILABLE)
    try:
        pipeline = load_pipeline(RewardEditPipeline, folder, dtype=dtype, variant=AVAILABLE, **start)
        foreign = read_json(folder / INDEX)["_class_name"] != RewardEditPipeline.__name__
    except ModelError as error:
        raise _shortened(error, folder, name) from error.__cause__
    if foreign and not start:        # saved by others: the sampler of the released evaluation, from the settings that the weights bring
        pipeline.scheduler = EulerAncestralDiscreteScheduler.from_config(pipeline.scheduler.config)
    return pipeline


def _embedded_folder(name: str) -> Path:
    folder = ASSETS / KNOWN[name].folder
    if not folder.is_dir():
        raise ModelError(f"the embedded model {name} is not in this copy of the program")
    return folder


def _local_folder(name: str) -> Path | None:
    """The folder of a model that is on this machine; none for public weights that are not."""
    from mre.models.hub import find_folder
    from mre.models.weight_files import AVAILABLE

    known = KNOWN.get(name)
    if known is not None and known.folder:
        return _embedded_folder(name)
    try:
        return find_folder(known.hub_id if known else name, subfolder=known.subfolder if known else None, variant=AVAILABLE,
                           local_files_only=True)
    except ModelError:
        if known is None:
            raise
        return None


def _shortened(error: ModelError, folder: Path, name: str) -> ModelError:
    """The same error with the model's name in place of the folder's whole path, which must not be exposed."""
    return ModelError((Path(name).name or name) + str(error).removeprefix(str(folder))) if str(error).startswith(str(folder)) else error


def _untrained_pipeline() -> RewardEditPipeline:
    """A small embedded editor with random weights, the same each time, in which instruction, reward and seed all leave a trace."""
    import torch

    from mre.embedded.build import build_pipeline

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(UNTRAINED_SEED)
        pipeline = build_pipeline(width=(32, 48, 64), reward_init="released", **UNTRAINED)
        torch.nn.init.normal_(pipeline.unet.conv_out.weight, std=0.05)       # zero otherwise: it would give every picture back
    pipeline.unet.eval(), pipeline.text_encoder.eval(), pipeline.vae.eval()
    return pipeline


def _info(name: str, known: Known | None, index: dict[str, Any], conditioned: bool, capabilities: Capabilities,
          digest: str | None) -> ModelInfo:
    return ModelInfo(
        name=name if known else Path(name).name, title=known.title if known else Path(name).name,
        native_size=index.get("native_size", 512), size_rule=index.get("size_rule", "released"), steps=index.get("default_steps", 30),
        guidance_scale=index.get("default_guidance_scale", 7.5), image_guidance_scale=index.get("default_image_guidance_scale", 1.5),
        conditioned=conditioned, capabilities=capabilities, limits=known.limits if known else "", digest=digest)
