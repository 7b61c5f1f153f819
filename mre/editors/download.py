"""What is asked of the hub before a pipeline is fetched from it: whether we may, how much there is, and what its licence says."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Mapping
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
    from huggingface_hub import hf_hub_download

    def weights_among(files: Collection[str]) -> list[str]:
        inside = [path for file in files if len((path := PurePosixPath(file)).parts) == 2 and isinstance(index.get(path.parts[0]), list)]
        wanted = [path for path in inside if WEIGHTS.fullmatch(path.name)]
        pickled = {path.parts[0] for path in inside if path.suffix in (".bin", ".pt", ".ckpt")}
        for part in sorted(pickled - {path.parts[0] for path in wanted}):
            raise ModelError(f"the model {name} is not fetched: {part} has no safetensors weights, and others may hold code")
        if "README.md" in files:
            hf_hub_download(name, "README.md")              # its licence
        return [str(path) for path in wanted]
    stored = _ask_hub(name, weights_among)
    return parts_of(folder_of(name)) if stored is None else parts_from((PurePosixPath(file).parts[0], of) for file, of in stored.items())


def check_own_download(name: str) -> dict[str, Part]:
    """The same of a pipeline of ours by short name, folder or hub id. One that ships is small, and has no parts here; what leads nowhere
    is told by whoever loads it."""
    from mre.families import Known, layout_of
    from mre.models import hub
    from mre.models.known import KNOWN

    known = KNOWN.get(name, Known("", "", hub_id=name))
    is_here = name not in KNOWN and Path(name).expanduser().exists()
    stored: dict[str, Counter[str]] | None = None
    try:
        folder = hub.local_folder(name) if known.hub_id else None
        if folder is not None and layout_of(name, folder) is None:
            files = [path.relative_to(folder).as_posix() for path in folder.rglob("*.*")]
            stored = {file: stored_in(folder / file) for file in hub.weights_among(files, None, name)}
    except ModelError:
        folder = None
    if folder is None and not is_here and layout_of(name) is None and hub.HUB_ID.fullmatch(known.hub_id):
        stored = _ask_hub(known.hub_id, lambda files: hub.weights_among(files, known.subfolder, known.hub_id))
    parts = {PurePosixPath(file).parent.name: Counter() for file in stored or ()}
    for file, of_file in (stored or {}).items():
        parts[PurePosixPath(file).parent.name] += of_file
    return {part: own_part(part, of_part) for part, of_part in parts.items()}


def own_part(name: str, stored: Counter[str]) -> Part:
    """A part of a pipeline of ours: a language model keeps the format that it is stored in, and is alone read in fewer bits."""
    from mre.models.loading import OWN_FORMAT

    numbers, has_own = sum(stored[kind] for kind in FLOATS), name in OWN_FORMAT
    return Part(numbers, stored["kept"], sum(stored[kind] * FLOATS[kind] for kind in FLOATS) if has_own else None, has_own)


def _ask_hub(name: str, weights_among: Callable[[Collection[str]], list[str]]) -> dict[str, Counter[str]] | None:
    """What is stored in those files of a repository that are wanted of all that it has; None where the hub cannot be asked."""
    from huggingface_hub import HfApi, constants, try_to_load_from_cache
    from huggingface_hub.errors import OfflineModeIsEnabled
    from huggingface_hub.utils import SafetensorsParsingError

    from mre.models.hub import answer

    try:
        known = HfApi().model_info(name, files_metadata=True, timeout=10)
        sizes = {file.rfilename: file.size or 0 for file in known.siblings or ()}
        here = {file: try_to_load_from_cache(name, file) for file in weights_among(sizes)}
        check_disk(name, sum(sizes[file] for file, place in here.items() if not isinstance(place, str)), Path(constants.HF_HUB_CACHE))
        return {file: stored_in(Path(place)) if isinstance(place, str) else counted(HfApi().parse_safetensors_file_metadata(name, file))
                for file, place in here.items()}
    except SafetensorsParsingError as error:
        raise ModelError(f"the model {name} is not fetched: its weights are damaged on the hub") from error
    except ModelError:
        raise
    except Exception as error:      # what the hub's library and those below it raise has no common class
        if getattr(error, "response", None) is None or isinstance(error, OfflineModeIsEnabled):
            return None
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
