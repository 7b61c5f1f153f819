"""What is asked of the hub before a pipeline is fetched from it: whether we may, how much there is, and what its licence says."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from mre.editors.memory import FLOATS, WEIGHTS, Part, parts_from, parts_of, stored_in
from mre.editors.repository import folder_of
from mre.errors import ModelError

log = logging.getLogger("mre.editors")
ENOUGH = 1_000_000_000          # bytes: of less nothing is said


def check_download(name: str, index: Mapping[str, Any]) -> dict[str, Part]:
    """The models of a repository's pipeline, from the headers of their files, of which nothing else is fetched.

    Says how much is to be fetched. Raises ModelError for what the hub does not give, for weights that are not safetensors, and for more
    than there is room for on the disk. Where the hub cannot be asked, what is here is what there is.
    """
    from huggingface_hub import HfApi, constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import OfflineModeIsEnabled
    from huggingface_hub.utils import SafetensorsParsingError

    from mre.models.hub import answer

    here = folder_of(name)
    try:
        known = HfApi().model_info(name, files_metadata=True, timeout=10)
        files = {PurePosixPath(file.rfilename): file.size or 0 for file in known.siblings or ()}
        inside = {path: size for path, size in files.items() if len(path.parts) == 2 and isinstance(index.get(path.parts[0]), list)}
        wanted = {path: size for path, size in inside.items() if WEIGHTS.fullmatch(path.name)}
        pickled = {path.parts[0] for path in inside if path.suffix in (".bin", ".pt", ".ckpt")}
        for part in sorted(pickled - {path.parts[0] for path in wanted}):
            raise ModelError(f"the model {name} is not fetched: {part} has no safetensors weights, and others may hold code")
        if PurePosixPath("README.md") in files:
            hf_hub_download(name, "README.md")              # its licence
        missing = {path: size for path, size in wanted.items() if not isinstance(try_to_load_from_cache(name, str(path)), str)}
        check_disk(name, sum(missing.values()), Path(constants.HF_HUB_CACHE))
        stored = {path: counted(HfApi().parse_safetensors_file_metadata(name, str(path))) if path in missing else stored_in(here / path)
                  for path in wanted}
        return parts_from((path.parts[0], of_file) for path, of_file in stored.items())
    except SafetensorsParsingError as error:
        raise ModelError(f"the model {name} is not fetched: its weights are damaged on the hub") from error
    except ModelError:
        raise
    except Exception as error:      # what the hub's library and those below it raise has no common class
        if getattr(error, "response", None) is None or isinstance(error, OfflineModeIsEnabled):
            return parts_of(here)
        raise ModelError(answer(error, name, f"{name} is not whole on this machine", None)) from error


def check_disk(name: str, missing: int, cache: Path) -> None:
    """Say how much is to be fetched. Raises ModelError for more than there is room for."""
    place = next(folder for folder in (cache, *cache.parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    if missing > free:
        raise ModelError(f"the model {name} is not fetched: {missing / 1e9:.3g} GB of weights are to come, and {free / 1e9:.3g} GB are "
                         "free on the disk of the hub's cache; HF_HOME names another")
    if missing > ENOUGH:
        log.warning("%s: %.3g GB of weights are fetched from the hub, once", name, missing / 1e9)


def counted(header: Any) -> Counter[str]:
    """As `stored_in`, from a header that the hub's library read."""
    found: Counter[str] = Counter()
    for tensor in header.tensors.values():
        start, end = tensor.data_offsets
        found[tensor.dtype if tensor.dtype in FLOATS else "kept"] += tensor.parameter_count if tensor.dtype in FLOATS else end - start
    return found
