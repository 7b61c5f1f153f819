"""What the folder or repository of a pipeline of diffusers says of itself, before anything is loaded. What is in it is data: its index may
name classes of diffusers and transformers only."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mre.errors import DataError, ModelError
from mre.families import pipeline_names
from mre.files import read_json

log = logging.getLogger("mre.editors")
INDEX = "model_index.json"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
OWN = ("RewardEditPipeline", "StableDiffusionInstructPix2PixPipeline", "StableDiffusionPipeline",   # of PipelineEditor, or refused by it
       *pipeline_names())
LIBRARIES = ("diffusers", "transformers")


def is_diffusers(name: str) -> bool:
    """Whether a folder or hub id holds a pipeline, and not one of ours."""
    kind = index_of(name).get("_class_name")
    return kind is not None and kind not in OWN


def index_of(name: str) -> dict[str, Any]:
    """The index of a pipeline's folder, or of a repository, of which nothing else is fetched; empty where there is none."""
    folder = Path(name).expanduser()
    try:
        if folder.is_dir():
            return read_json(folder / INDEX)
        return read_json(index_from_hub(name)) if HUB_ID.fullmatch(name) and not folder.exists() else {}
    except (DataError, OSError):
        return {}


@lru_cache(maxsize=64)
def index_from_hub(name: str) -> Path:
    """Raises OSError where there is none, or the hub cannot be asked."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    there = try_to_load_from_cache(name, INDEX)
    if isinstance(there, str):
        return Path(there)
    try:
        return Path(hf_hub_download(name, INDEX, etag_timeout=5))
    except Exception as error:      # what the hub's library and those below it raise has no common class
        raise OSError(str(error)) from error


def folder_of(name: str) -> Path:
    """The folder, or what there is of the repository on this machine."""
    folder = Path(name).expanduser()
    return folder if folder.is_dir() else index_from_hub(name).parent


def check_index(index: Mapping[str, Any], name: str) -> None:
    """Raises ModelError for an index that names a class outside of LIBRARIES: nothing from outside is run. Loads diffusers."""
    for part, place in index.items():
        if not isinstance(place, list) or part.startswith("_"):
            continue
        if len(place) != 2 or (place[0] not in (None, *LIBRARIES) and not _is_of_diffusers(place[0])):
            raise ModelError(f"{name}/{INDEX}: {part} is of {str(place[0])[:40]}, and only {' and '.join(LIBRARIES)} are used")


def _is_of_diffusers(place: Any) -> bool:
    """Whether an index names a package of pipelines of diffusers: some give classes of their own, as GLM-Image's its processor."""
    found = find_spec(f"diffusers.pipelines.{place}") if isinstance(place, str) and place.isidentifier() else None
    return found is not None and found.submodule_search_locations is not None


NO_COMMERCE = re.compile(r"(^|[-_ ])(nc|non-?commercial|research)([-_ ]|$)", re.IGNORECASE)


def about_licence(licence: str) -> str:
    """A licence in words, and whether it forbids commercial use; empty where there is none."""
    forbids = ", which forbids commercial use" if NO_COMMERCE.search(licence) else ""
    return f"Licence of its weights: {licence}{forbids}." if licence else ""


def about_licence_zh(licence: str) -> str:
    """The same in Chinese."""
    forbids = "，禁止商业使用" if NO_COMMERCE.search(licence) else ""
    return f"权重的许可证：{licence}{forbids}。" if licence else ""


def say_if_not_commercial(name: str, licence: str) -> None:
    """A warning for a licence that forbids commercial use."""
    if NO_COMMERCE.search(licence):
        log.warning("the weights of %s may not be used commercially: their licence is %s", name, licence)


def missing_of(name: str, index: Mapping[str, Any]) -> list[str]:
    """Parts that the index names and of which nothing is on this machine."""
    return [part for part, place in index.items()
            if isinstance(place, list) and not part.startswith("_") and place[0] and not (folder_of(name) / part).is_dir()]


def licence_of(name: str) -> str:
    """What the card of the weights says; empty where there is none here."""
    import yaml

    try:
        card = folder_of(name) / "README.md"
        front = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8"), flags=re.S)
        values = yaml.safe_load(front[1]) if front else {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return ""
    said = values.get("license_name") or values.get("license") if isinstance(values, dict) else ""
    return said[:60] if isinstance(said, str) else ""
