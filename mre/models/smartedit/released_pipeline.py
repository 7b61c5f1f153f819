"""A pipeline of the released layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers import EulerAncestralDiscreteScheduler

from mre.models.folders import load_pipeline, make_unet
from mre.models.loading import Loading
from mre.models.smartedit.assembly import ReadersSource, check_released, copied
from mre.models.smartedit.released import ReleasedFolder
from mre.models.smartedit.settings import DEFAULTS
from mre.models.unet import RewardUNet2DConditionModel
from mre.models.weight_files import AVAILABLE, read_object
from mre.smartedit_pipeline import SmartEditPipeline


def released_pipeline(folder: Path, base: Path, dtype: Any = None, condition: Mapping[str, Any] | None = None) -> SmartEditPipeline:
    """The pipeline of a folder in the released layout, its readers to be read when they are asked for.

    base       folder of an InstructPix2Pix model
    dtype      of all but the readers
    condition  settings of a reward condition that the U-Net shall have; none = no reward condition

    Raises ModelError that names the file or tensor at fault, before anything large is read.
    """
    files, loading = ReleasedFolder(folder), Loading(dtype=dtype)
    stored = files.read()
    check_released(files, stored)
    config = {**read_object(base / "unet" / "config.json"), "_class_name": "UNet2DConditionModel"}
    unet = make_unet(RewardUNet2DConditionModel, config, copied(stored["unet"]), stored["unet"].file, loading, shown=stored["unet"].shown,
                     **(condition or {}))
    pipeline = load_pipeline(SmartEditPipeline, base, variant=AVAILABLE, dtype=dtype, unet=unet, condition={}, **DEFAULTS)
    pipeline.scheduler = EulerAncestralDiscreteScheduler.from_config(pipeline.scheduler.config)
    pipeline.readers_source = ReadersSource(folder)
    pipeline.register_to_config(readers_from=str(folder.resolve()))
    return pipeline
