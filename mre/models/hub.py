"""The folder behind a path or a hub id. Only a hub id makes us look beyond this machine, and only for what is not here."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from mre.errors import ModelError
from mre.families import layout_of, more_parts
from mre.models.known import KNOWN, shipped_folder
from mre.models.weight_files import (
    AVAILABLE,
    COMPONENTS,
    INDEX,
    WEIGHTS,
    file_names,
    model_variant,
    part_variants,
    read_object,
    variants,
    weight_files,
)

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
HUB_SETTINGS = ("revision", "token", "cache_dir", "local_files_only", "force_download")
TEXTS = (".json", ".txt")


def find_folder(name: str | Path, *, subfolder: str | None = None, variant: str | None = None, parts: Sequence[str] = tuple(WEIGHTS),
                revision: str | None = None, token: str | bool | None = None, cache_dir: str | Path | None = None,
                local_files_only: bool = False, force_download: bool = False) -> Path:
    """The folder of a pipeline, or of a U-Net by itself, or one in a layout that a family of models has of its own.

    variant:  of the weights, such as fp16; AVAILABLE for any
    parts:    those whose weights are needed
    the rest: as in every library of the hub

    Raises ModelError for what is neither a folder nor a hub id, for a folder that holds no model, and, in the hub's words, for what
    cannot be had from there.
    """
    folder = Path(name).expanduser()
    if not str(name) or not folder.is_dir():
        if not HUB_ID.fullmatch(str(name)):
            raise ModelError(f"there is no model folder {name}")
        settings = {"revision": revision, "token": token, "cache_dir": cache_dir}
        folder = _from_hub(str(name), subfolder, variant, parts, settings, local_files_only, force_download)
    folder = folder / subfolder if subfolder else folder
    if not folder.is_dir():
        raise ModelError(f"{name} has no folder {subfolder}")
    if not any((folder / file).is_file() for file in (INDEX, "config.json")) and layout_of(str(name), folder) is None:
        raise ModelError(_no_model(folder.name if Path(name).is_absolute() else str(name), [
            path.relative_to(folder).as_posix() for path in folder.glob(f"*/{INDEX}")]))
    return folder


def find_files(name: str, patterns: Sequence[str], *, local_files_only: bool = False) -> Path:
    """The snapshot of a repository with the files of these patterns, of which each that has no * must be there.

    Raises ModelError, in the hub's words, for what cannot be had from there.
    """
    def whole(folder: Path) -> bool:
        return all(any(folder.glob(pattern)) for pattern in patterns if "*" not in pattern or pattern.endswith(".*"))

    here = f"{name} is not on this machine"
    try:
        folder = Path(snapshot_download(name, allow_patterns=[], local_files_only=True))
        if whole(folder):
            return folder
        here = f"{name} is not whole on this machine"
    except (OSError, ValueError):
        pass
    if local_files_only:
        raise ModelError(f"{here}, and nothing is fetched here")
    try:
        HfApi().model_info(name)                # fails at once where there is no network
        return Path(snapshot_download(name, allow_patterns=list(patterns)))
    except Exception as error:      # what the hub's library and those below it raise has no common class
        raise ModelError(answer(error, name, here, None)) from error


def _from_hub(name: str, subfolder: str | None, variant: str | None, parts: Sequence[str], settings: dict[str, Any], local_only: bool,
              anew: bool) -> Path:
    here = f"{name} is not on this machine"
    if not anew:
        try:
            folder = Path(snapshot_download(name, allow_patterns=[], local_files_only=True, **settings))     # whatever there is of it
            _check_whole(folder, subfolder, variant, parts, name)
            return folder
        except ModelError as error:
            here = f"{name} is not whole on this machine ({str(error).removeprefix(f'{name}/')})"
        except (OSError, ValueError):
            pass
    if local_only:
        raise ModelError(f"{here}, and nothing is fetched here")
    try:
        # Not by listing the files, which is tried again for half a minute where there is no network.
        known = HfApi(token=settings["token"]).model_info(name, revision=settings["revision"])
        files = [file.rfilename for file in known.siblings or ()]
        if getattr(known, "gated", False) and INDEX in files:         # anybody may read what files there are
            hf_hub_download(name, INDEX, force_download=anew, **settings)
        wanted = _wanted(files, subfolder, variant, parts, name)
        return Path(snapshot_download(name, allow_patterns=wanted, force_download=anew, **settings))
    except ModelError:
        raise
    except Exception as error:      # what the hub's library and those below it raise has no common class
        raise ModelError(answer(error, name, here, settings["revision"])) from error


def _wanted(files: Collection[str], subfolder: str | None, variant: str | None, parts: Sequence[str], name: str) -> list[str]:
    """Of a repository's files, those that make the model. Raises ModelError that says what is not there."""
    prefix = f"{subfolder}/" if subfolder else ""
    where = f"{name}/{subfolder}" if subfolder else name
    inside = {part: _within(files, f"{prefix}{part}/") for part in ("", *COMPONENTS)}
    inside[""] = _within(files, prefix)
    texts = [f"{prefix}{part}/{file}" if part else f"{prefix}{file}" for part, names in inside.items() for file in names
             if file.endswith(TEXTS)]
    if INDEX in inside[""]:
        chosen = part_variants({part: inside[part] for part in parts}, variant, where)
        texts += [file for part in more_parts() for file in files
                  if file.startswith(f"{prefix}{part}/") and file.endswith((*TEXTS, ".model", ".safetensors"))]
        return texts + [f"{prefix}{part}/{file}" for part, kind in chosen.items() for file in variants(inside[part], WEIGHTS[part])[kind]]
    if "config.json" in inside[""]:
        kind = model_variant(inside[""], variant, where)
        return texts + [prefix + file for file in variants(inside[""], WEIGHTS["unet"])[kind]]
    if subfolder and not any(file.startswith(prefix) for file in files):
        raise ModelError(f"{name} has no folder {subfolder}")
    raise ModelError(_no_model(where, files))


def weights_among(files: Collection[str], subfolder: str | None, name: str) -> list[str]:
    """Of a repository's or folder's files, those with the weights that a model of this name is made of. Raises ModelError that says what is
    not there."""
    return [file for file in _wanted(files, subfolder, AVAILABLE, tuple(WEIGHTS), name) if file.endswith(".safetensors")]


def _no_model(where: str, files: Collection[str]) -> str:
    others = sorted(file.removesuffix(f"/{INDEX}") for file in files if file.endswith(f"/{INDEX}"))
    elsewhere = f"; there are some in its folders {', '.join(others)}" if others else ""
    return f"{where} holds no model: {INDEX} is missing{elsewhere}"


def _check_whole(folder: Path, subfolder: str | None, variant: str | None, parts: Sequence[str], name: str) -> None:
    """Raise ModelError for a snapshot of which a needed file is not there: a cut download leaves some out."""
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    _wanted(files, subfolder, variant, parts, name)
    place = folder / subfolder if subfolder else folder
    if (place / INDEX).is_file():
        chosen = part_variants({part: file_names(place / part) for part in parts}, variant, name)
        needed = [place / part / "config.json" for part in parts] + [place / "scheduler" / "scheduler_config.json"]
        needed += [file for part, kind in chosen.items() for file in weight_files(place / part, WEIGHTS[part], kind)]
        index = read_object(place / INDEX)
        needed += [file for part, stem in more_parts().items() if stem and (index.get(part) or [None])[0]
                   for file in (place / part / "config.json", *weight_files(place / part, stem))]
    else:
        needed = weight_files(place, WEIGHTS["unet"], model_variant(file_names(place), variant, name))
    for file in needed:
        if not file.is_file():
            raise ModelError(f"{name}/{file.relative_to(folder)} is missing")


def _within(files: Collection[str], prefix: str) -> list[str]:
    return [rest for file in files if file.startswith(prefix) and "/" not in (rest := file.removeprefix(prefix))]


def answer(error: Exception, name: str, here: str, revision: str | None) -> str:
    """What the hub said, or why it could not be asked."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, GatedRepoError):
        return (f"{name} is gated: accept its terms at {constants.ENDPOINT}/{name}, then log in with `hf auth login` or give a token "
                "of that account")
    if isinstance(error, RevisionNotFoundError):
        return f"{name} has no revision {revision} on the hub"
    if isinstance(error, RepositoryNotFoundError):
        return f"the hub has no model {name}, or it is private: then log in with `hf auth login` or give a token that may read it"
    if isinstance(error, DisabledRepoError):
        return f"{name} has been disabled on the hub"
    if isinstance(error, LocalTokenNotFoundError):
        return "no token is stored on this machine: log in with `hf auth login`"
    if isinstance(error, OfflineModeIsEnabled):
        return f"{here}, and HF_HUB_OFFLINE forbids asking the hub"
    if status in (401, 403):
        return f"the hub refuses the token that was given for {name} ({status})"
    if status is not None:
        return f"{here}, and the hub answered {status}" + (": too many requests" if status == 429 else "")
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
        return f"{name} could not be stored on this machine: {error.strerror}"
    return f"{here}, and the hub at {constants.ENDPOINT} is not reachable ({type(error).__name__})"


def local_folder(name: str) -> Path | None:
    """The folder of a model that is on this machine; none for public weights that are not."""
    known = KNOWN.get(name)
    if known is not None and known.folder:
        return shipped_folder(name)
    layout = layout_of(name)
    try:
        if known is not None and layout is not None:
            return layout.find(known.hub_id, local_files_only=True)
        return find_folder(known.hub_id if known else name, subfolder=known.subfolder if known else None, variant=AVAILABLE,
                           local_files_only=True)
    except ModelError:
        if known is None:
            raise
        return None
