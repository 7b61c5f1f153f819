"""Names -> weights of our pipelines: those of the families, the public ones, any folder or hub id. Importing this loads no torch.

Nothing is fetched unless a public model is asked for by its name or hub id and is not on this machine yet.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mre.errors import ModelError
from mre.families import Known, known_models, named

if TYPE_CHECKING:
    import torch

    from mre.pipeline import RewardEditPipeline

ASSETS = Path(__file__).resolve().parent.parent / "assets"


ANY_PHOTO = "Made for photographs of any kind, at 512 pixels; its safety checker is not loaded."
KNOWN = {
    **known_models(),
    "insp2p": Known("InstructPix2Pix", ANY_PHOTO + " It knows no rewards: the sliders have no effect.",
                    hub_id="timbrooks/instruct-pix2pix"),
    "reward-insp2p": Known("Reward-InstructPix2Pix", ANY_PHOTO, hub_id="Gstar666/Reward-InsPix2Pix",
                           subfolder="stage2_reward_instruct_pix2pix"),
}


def default_names() -> tuple[str, ...]:
    """What a page opens that is told no model: those that ship, else what can be made without weights; none where there is neither."""
    ships = tuple(name for name, known in KNOWN.items() if known.folder and (ASSETS / known.folder / "model_index.json").is_file())
    return ships or tuple(filter(is_built, KNOWN))


def load_pipeline(name: str, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> RewardEditPipeline:
    """The model behind a short name, a folder or a hub id, in float32 unless told otherwise, on `device` (a GPU where there is one).

    Raises ModelError in one line that names what is missing or wrong.
    """
    from mre.models.quiet import quiet_libraries

    with quiet_libraries():
        import torch

        pipeline = named(KNOWN[name].build)() if is_built(name) else _read(name, dtype)
        return pipeline.to(device or ("cuda" if torch.cuda.is_available() else "cpu"), dtype or torch.float32)


def is_built(name: str) -> bool:
    """Whether the model of this name has no weights of its own: it is made with random ones."""
    return name in KNOWN and bool(KNOWN[name].build)


def load_starting_pipeline(name: str, **condition: Any) -> RewardEditPipeline:
    """What a fine-tuning starts from: an editor, or a Stable Diffusion model, whose U-Net is given this reward condition.

    `condition` holds settings of RewardUNet2DConditionModel. A U-Net that has a reward condition already must have the same switches.
    """
    from mre.models.quiet import quiet_libraries

    with quiet_libraries():
        return _read(name, None, widen=True, condition=condition)


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
    folder = _shipped_folder(name) if known.folder else find_folder(known.hub_id or name, subfolder=known.subfolder, variant=AVAILABLE)
    try:
        pipeline = load_pipeline(RewardEditPipeline, folder, dtype=dtype, variant=AVAILABLE, **start)
        foreign = read_json(folder / INDEX)["_class_name"] != RewardEditPipeline.__name__
    except ModelError as error:
        raise shortened(error, folder, name) from error.__cause__
    if foreign and not start:        # saved by others: the sampler of the released evaluation, from the settings that the weights bring
        pipeline.scheduler = EulerAncestralDiscreteScheduler.from_config(pipeline.scheduler.config)
    return pipeline


def _shipped_folder(name: str) -> Path:
    folder = ASSETS / KNOWN[name].folder
    if not folder.is_dir():
        raise ModelError(f"the embedded model {name} is not in this copy of the program")
    return folder


def local_folder(name: str) -> Path | None:
    """The folder of a model that is on this machine; none for public weights that are not."""
    from mre.models.hub import find_folder
    from mre.models.weight_files import AVAILABLE

    known = KNOWN.get(name)
    if known is not None and known.folder:
        return _shipped_folder(name)
    try:
        return find_folder(known.hub_id if known else name, subfolder=known.subfolder if known else None, variant=AVAILABLE,
                           local_files_only=True)
    except ModelError:
        if known is None:
            raise
        return None


def shortened(error: ModelError, folder: Path, name: str) -> ModelError:
    """The same error with the model's name in place of the folder's whole path, which must not be exposed."""
    return ModelError((Path(name).name or name) + str(error).removeprefix(str(folder))) if str(error).startswith(str(folder)) else error
