"""What is known of our pipelines without loading them: titles, limits, defaults, and which controls change what they make.

Importing this loads no torch. Nothing is fetched but the two files of settings of a repository that is named and not here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from mre.editors.capabilities import MAX_STEPS, MOST_AT_ONCE, SCHEDULERS, Capabilities
from mre.editors.editor import EditorInfo, Vocabulary
from mre.editors.repository import HUB_ID, INDEX
from mre.effects import Effects, read_effects
from mre.errors import DataError, ModelError
from mre.families import Family, Known, family_of, layout_of, named
from mre.files import read_json
from mre.models import known

log = logging.getLogger("mre.studio")
# A latent diffusion model with guidance, such as InstructPix2Pix.
FULL_SIZE = Capabilities(reward=True, reward_text=True, negative_reward=True, seed=True, steps=range(1, MAX_STEPS + 1), guidance_scale=True,
                         image_guidance_scale=True, guidance_interval=True, schedulers=tuple(SCHEDULERS)[1:], mask=False, preview=True,
                         batch=MOST_AT_ONCE, open_vocabulary=True)


def _family(name: str, folder: Path | None = None) -> Family | None:
    """The family of a model by name, or by what a folder (its own, where none is given) says of its U-Net."""
    if name in known.KNOWN:
        return family_of(name, None)
    try:
        return family_of(name, read_json((folder or Path(name).expanduser()) / "unet" / "config.json")["_class_name"])
    except (DataError, LookupError, TypeError):
        return None


def number_format(name: str) -> str:
    """The number format in which a model is read that nobody asks another of: see `mre.editors.load_options.DTYPES`. Of a repository its
    settings must be on this machine, as they are once it is described."""
    from mre.models.hub import find_files

    folder = None
    if name not in known.KNOWN and HUB_ID.fullmatch(name) and not Path(name).expanduser().exists():
        with suppress(ModelError):
            folder = find_files(name, (INDEX, "unet/config.json"), local_files_only=True)
    family = _family(name, folder)
    return family.dtype if family is not None else "auto"


def capabilities_of(name: str) -> Capabilities:
    """What a model can use, as far as its folder's settings tell without loading torch; of public weights that are not here yet, what is
    published of them."""
    if known.is_built(name):
        return replace(FULL_SIZE, no_wish=True, open_vocabulary=_family(name) is None)      # as it was before any training
    folder = known.ASSETS / known.KNOWN[name].folder if name in known.KNOWN and known.KNOWN[name].folder else Path(name).expanduser()
    try:
        config = read_json(folder / "unet" / "config.json")
    except DataError:
        config = {}
    reads_rewards = known.KNOWN[name].reads_rewards if name in known.KNOWN else not layout_of(name, folder)
    return _capabilities(config if isinstance(config, dict) else {}, reads_rewards)


def _capabilities(config: dict[str, Any], conditioned: bool) -> Capabilities:
    """What a U-Net of these settings can use; `conditioned` where they do not say whether it reads rewards."""
    scores = texts = conditioned
    if "variant" in config:
        reads = config.get("use_attention", True) or config.get("use_addition", True)
        scores, texts = bool(reads and config.get("use_score", True)), bool(reads and config.get("use_text", True))
    family = family_of("", config.get("_class_name"))
    if family is not None and family.capabilities:
        found: Capabilities = named(family.capabilities)(config["_class_name"], scores, texts)
    else:
        found = replace(FULL_SIZE, reward=scores, reward_text=texts, negative_reward=scores or texts)
    return replace(found, no_wish=scores and bool(config.get("knows_no_wish")))


def vocabulary_of(name: str) -> Vocabulary | None:
    """The words that a model was taught, where it knows no others."""
    family = _family(name)
    return named(family.vocabulary)(name) if family is not None and family.vocabulary else None


def describe(name: str) -> EditorInfo:
    """What is known of a model: its defaults and limits, and the digest of its weights. Loads nothing.

    Of a repository whose weights are not here its two small files of settings are fetched, if they are not here either; public weights of a
    short name are described by what is published of them. Raises ModelError for a name that leads nowhere, in the hub's words.
    """
    from mre.models.hub import local_folder

    if known.is_built(name):
        return _info(name, known.KNOWN[name].defaults, capabilities_of(name), known.KNOWN[name].digest)
    try:
        folder = local_folder(name)
    except ModelError:
        if Path(name).expanduser().exists() or not HUB_ID.fullmatch(name):
            raise
        return _published(name)
    if folder is None:
        return _info(name, known.KNOWN[name].defaults, capabilities_of(name), None)
    layout = layout_of(name, folder)
    if layout is not None:
        return _info(name, layout.DEFAULTS, capabilities_of(name), known.weight_digest(folder))
    from mre.models.folders import reads_rewards
    from mre.models.weight_files import read_object

    try:
        capabilities = _capabilities(read_object(folder / "unet" / "config.json"), reads_rewards(folder / "unet"))
        info = _info(name, read_object(folder / INDEX), capabilities, known.weight_digest(folder))
        return replace(info, effects=_effects(folder, info))
    except ModelError as error:
        raise known.shortened(error, folder, name) from None


def _effects(folder: Path, info: EditorInfo) -> Effects | None:
    """What was measured of its sliders. A file that is no such thing is told to the log: the model edits all the same."""
    try:
        return read_effects(folder, info.digest or "") if info.capabilities.reward else None
    except DataError as error:
        log.warning("%s", error)
        return None


def _published(name: str) -> EditorInfo:
    """What a repository's settings say. Its tensors are not looked at: they may read rewards of which these are silent."""
    from mre.models.hub import find_files
    from mre.models.weight_files import read_object

    folder = find_files(name, (INDEX, "unet/config.json"))
    try:
        index, unet = read_object(folder / INDEX), read_object(folder / "unet" / "config.json")
    except ModelError:
        raise ModelError(f"{name} holds no model of ours or of diffusers: {INDEX} or unet/config.json is missing") from None
    latents, given = unet.get("out_channels"), unet.get("in_channels")
    if family_of("", unet.get("_class_name")) is None and isinstance(latents, int) and given != 2 * latents:
        raise ModelError(f"{name} edits no pictures: the U-Net of an editor has {2 * latents} input channels, this one has {given}")
    return _info(name, index, _capabilities(unet, False), None)


def _info(name: str, index: Mapping[str, Any], capabilities: Capabilities, digest: str | None) -> EditorInfo:
    about = known.KNOWN.get(name, Known(Path(name).name, ""))
    return EditorInfo(
        name=name if name in known.KNOWN else Path(name).name, title=about.title, limits=about.limits,
        native_size=index.get("native_size", 512), size_rule=index.get("size_rule", "released"), steps=index.get("default_steps", 30),
        guidance_scale=index.get("default_guidance_scale", 7.5), image_guidance_scale=index.get("default_image_guidance_scale", 1.5),
        guidable=True, capabilities=capabilities, digest=digest)
