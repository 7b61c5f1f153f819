"""Names -> our pipelines: those in `known`, any folder or hub id. Importing this loads no torch.

Nothing is fetched unless a public model is asked for by its name or hub id and is not on this machine yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mre.device import best_device
from mre.errors import ModelError
from mre.families import Known, layout_of, named, pipeline_names
from mre.models.known import KNOWN, is_built, shipped_folder, shortened

if TYPE_CHECKING:
    import torch

    from mre.pipeline import RewardEditPipeline


def load_pipeline(name: str, device: str | torch.device | None = None, dtype: torch.dtype | None = None,
                  quantise: str | None = None, answer: str | None = None) -> RewardEditPipeline:
    """The model behind a short name, a folder or a hub id, in float32 unless told otherwise, on `device` (a GPU where there is one).

    quantise: bits of the language model of a SmartEdit, as in `mre.editors.load_options.QUANTISED`; SettingsError for other models
    answer:   "greedy" has such a language model decode its answer, rather than be given it; SettingsError for other models

    Raises ModelError in one line that names what is missing or wrong.
    """
    from mre.models.quiet import quiet_libraries

    with quiet_libraries():
        import torch

        later: dict[str, Any] = {"condition": {}} if quantise or answer else {}     # nothing is read before it is known how
        pipeline = named(KNOWN[name].build)() if is_built(name) else _read(name, dtype, **later)
        if quantise:
            pipeline.quantise_readers(quantise)
        if answer == "greedy":
            pipeline.answer_greedily()
        pipeline.load_readers()
        return pipeline.to(device or best_device(), dtype or torch.float32)


def load_starting_pipeline(name: str, **condition: Any) -> RewardEditPipeline:
    """What a fine-tuning starts from: an editor, or a Stable Diffusion model, whose U-Net is given this reward condition.

    `condition` holds settings of RewardUNet2DConditionModel. A U-Net that has a reward condition already must have the same switches.
    """
    from mre.models.quiet import quiet_libraries

    with quiet_libraries():
        return _read(name, None, widen=True, condition=condition)


def _read(name: str, dtype: torch.dtype | None, **start: Any) -> RewardEditPipeline:
    from diffusers import EulerAncestralDiscreteScheduler

    from mre.models.folders import load_pipeline
    from mre.models.hub import find_folder
    from mre.models.weight_files import AVAILABLE, INDEX, read_object
    from mre.pipeline import RewardEditPipeline

    known, layout = KNOWN.get(name, Known(name, "")), layout_of(name)
    if layout is not None and known.hub_id:
        folder = layout.find(known.hub_id)
    else:
        folder = shipped_folder(name) if known.folder else find_folder(known.hub_id or name, subfolder=known.subfolder, variant=AVAILABLE)
    layout = layout or layout_of(name, folder)
    try:
        if layout is not None:
            return layout.load(folder, dtype, start.get("condition"))
        pipeline = load_pipeline(RewardEditPipeline, folder, dtype=dtype, variant=AVAILABLE, **start)
        foreign = read_object(folder / INDEX)["_class_name"] not in (RewardEditPipeline.__name__, *pipeline_names())
    except ModelError as error:
        raise shortened(error, folder, name) from error.__cause__
    if foreign and not start:        # saved by others: the sampler of the released evaluation, from the settings that the weights bring
        pipeline.scheduler = EulerAncestralDiscreteScheduler.from_config(pipeline.scheduler.config)
    return pipeline


