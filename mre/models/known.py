"""Names of our pipelines and what is known of each without reading its weights: those of the families, and the public ones.

Nothing is fetched here, and no torch is loaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from mre.device import is_zero_gpu
from mre.errors import ModelError
from mre.families import Known, known_models

ASSETS = Path(__file__).resolve().parent.parent / "assets"
ANY_PHOTO = "Made for photographs of any kind, at 512 pixels; its safety checker is not loaded."
KNOWN = {
    **known_models(),
    "insp2p": Known("InstructPix2Pix", ANY_PHOTO + " It knows no rewards: the sliders have no effect.",
                    hub_id="timbrooks/instruct-pix2pix", reads_rewards=False),
    "reward-insp2p": Known("Reward-InstructPix2Pix", ANY_PHOTO, hub_id="Gstar666/Reward-InsPix2Pix",
                           subfolder="stage2_reward_instruct_pix2pix"),
}


def default_names() -> tuple[str, ...]:
    """What a page opens that is told no model: those that ship, else what can be made without weights; none where there is neither. On a
    ZeroGPU Space one of full size first."""
    ships = tuple(name for name, known in KNOWN.items() if known.folder and (ASSETS / known.folder / "model_index.json").is_file())
    return ("reward-insp2p",) * is_zero_gpu() + (ships or tuple(filter(is_built, KNOWN)))


def is_built(name: str) -> bool:
    """Whether the model of this name has no weights of its own: it is made with random ones."""
    return name in KNOWN and bool(KNOWN[name].build)


def shipped_folder(name: str) -> Path:
    """The folder of a model that ships. Raises ModelError where it was left out of this copy."""
    folder = ASSETS / KNOWN[name].folder
    if not folder.is_dir():
        raise ModelError(f"the embedded model {name} is not in this copy of the program")
    return folder


def weight_digest(folder: Path) -> str:
    """SHA-256 of all safetensors files of a model folder (of one that has none, of its pickles), in the order of their names."""
    return files_digest(folder, sorted(folder.glob("*/*.safetensors")) or sorted(folder.glob("*/*.bin")))


def files_digest(folder: Path, files: Iterable[Path]) -> str:
    """SHA-256 of these files in a folder: of their names, sizes and contents."""
    return _digest(folder, tuple((file.relative_to(folder), file.stat().st_mtime_ns, file.stat().st_size) for file in files))


@lru_cache(maxsize=32)
def _digest(folder: Path, files: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, _, size in files:
        digest.update(f"{path.as_posix()} {size}\n".encode())
        with open(folder / path, "rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def shortened(error: ModelError, folder: Path, name: str) -> ModelError:
    """The same error with the model's name in place of the folder's whole path, which must not be exposed."""
    return ModelError((Path(name).name or name) + str(error).removeprefix(str(folder))) if str(error).startswith(str(folder)) else error
