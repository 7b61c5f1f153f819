"""Training of editors with a transformer (FLUX.2 klein, Qwen-Image-Edit): what they start from, and what their run leaves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mre.editors.load_options import LoadOptions
from mre.editors.repository import folder_of, index_of
from mre.errors import SettingsError
from mre.families import named
from mre.models.known import KNOWN
from mre.models.transformer.about import ADAPTERS, has_condition, read_about
from mre.models.transformer.files import add_condition, write_editor
from mre.models.transformer.layouts import LAYOUTS
from mre.models.transformer.pipeline import TransformerPipeline

if TYPE_CHECKING:
    import torch

    from mre.training.config import TrainConfig

SWITCHES = ("use_score", "use_text", "use_attention", "use_addition", "perspectives")
# Settings that mean something for U-Nets alone -> what they must be here, and why.
FIXED = {"variant": ("paper", "each token of the reward text is read"), "reward_init": ("zero", "it begins as its parent"),
         "train_text_encoder": (False, "its text encoder is a language model"), "plain_attention": (False, "it has no other attention"),
         "channels_last": (False, "it has no convolutions")}


def is_transformer_editor(name: str) -> bool:
    """Whether a name leads to an editor of diffusers whose transformer can be given a reward condition."""
    return name not in KNOWN and (has_condition(name) or index_of(name).get("_class_name") in LAYOUTS)


def transformer_pipeline(name: str, config: TrainConfig) -> TransformerPipeline:
    """The editor of this name, ready for the config's reward condition. Raises SettingsError for settings of U-Nets, and ModelError."""
    for field, (value, why) in FIXED.items():
        if getattr(config, field) != value:
            raise SettingsError(f"{field} must be {str(value).lower()} for an editor with a transformer: {why}")
    if has_condition(name):
        folder = Path(name).expanduser()
        if (folder / ADAPTERS).is_file():
            raise SettingsError(f"init_from {folder.name} is adapters on {read_about(folder).base}: begin with that")
        wanted = {switch: getattr(config, switch) for switch in SWITCHES}
        pipeline = add_condition(load_stock(name), folder)
        for switch, value in wanted.items():
            if (has := pipeline.unet.config[switch]) != value and list(has if isinstance(has, tuple) else [has]) != value:
                raise SettingsError(f"{switch} is {value!r}, but {folder.name} was trained with {has!r}")
        return pipeline
    return TransformerPipeline(load_stock(name), **{switch: getattr(config, switch) for switch in SWITCHES})


def load_stock(name: str) -> Any:
    """The pipeline of diffusers of this name, in float32 on the CPU, from where it is moved."""
    options = named("mre.editors.local_editor:EditorOptions")(device="cpu", loading=LoadOptions(dtype="float32"))
    return named("mre.editors.diffusers_kind:DiffusersEditor")(name, options).load()


def shrink_frozen(pipeline: TransformerPipeline, dtype: torch.dtype) -> None:
    """Keep the weights under adapters, which are not trained, in this number format."""
    for parameter in pipeline.unet.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)


def save_transformer_editor(pipeline: TransformerPipeline, folder: Path, config: TrainConfig) -> None:
    """The finished editor of a run."""
    write_editor(pipeline, folder, folder_of(config.init_from), str(config.init_from), config.resolution, config.half)
