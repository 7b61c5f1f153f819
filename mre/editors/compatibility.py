"""What classes of diffusers and transformers need to be had and to edit here: they ask for torchvision, which no editor needs, and two of
them do not agree in the versions that are pinned."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any


def class_of(kind: str) -> Any:
    """The class of diffusers of this name. Loads torch."""
    import diffusers
    import transformers

    if kind == "OmniGenPipeline" and not transformers.utils.is_torchvision_available():
        from mre.editors.omnigen import OmniGenPipeline
        return OmniGenPipeline
    return getattr(diffusers, kind)


def agreeing(pipeline: Any) -> Any:
    """The pipeline as it was read, with what its libraries say differently put right."""
    if type(pipeline).__name__ == "GlmImagePipeline":
        own = pipeline.vision_language_encoder.get_image_tokens

        def get_image_tokens(states: Any, grids: Any = None) -> Any:
            """diffusers hands over one tensor, (C, H, W) for one picture, where transformers reads a list with one for each."""
            return own(states if isinstance(states, (list, tuple)) else [states], grids)
        pipeline.vision_language_encoder.get_image_tokens = get_image_tokens
    return pipeline


def processors_without_video(index: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Processors of pictures and chats: in transformers they want torchvision for videos, which no editor is given; here they have none."""
    import transformers

    found = {}
    for part, cls in _processors(index):
        if "video_processor" not in inspect.signature(cls).parameters:
            continue

        class PictureProcessor(cls):
            """The same, for pictures and texts."""

            def check_argument_for_proper_class(self, name: str, argument: Any) -> Any:
                return None if name == "video_processor" else super().check_argument_for_proper_class(name, argument)
        found[part] = PictureProcessor(image_processor=transformers.AutoImageProcessor.from_pretrained(place, subfolder=part),
                                       tokenizer=transformers.AutoTokenizer.from_pretrained(place, subfolder=part),
                                       chat_template=_chats(place, part))
    return found


def tokenizers_for_processors(index: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Tokenizers in the place of processors that cannot be had without torchvision, such as Pixtral's: FLUX.2 hands it texts alone."""
    import transformers

    found = {}
    for part, cls in _processors(index):
        if "torchvision" in getattr(cls, "_backends", ()):
            found[part] = transformers.AutoTokenizer.from_pretrained(place, subfolder=part)
            found[part].chat_template = _chats(place, part) or found[part].chat_template
    return found


def _processors(index: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The parts that are processors of transformers, with their classes; none where there is torchvision."""
    import transformers

    for part, value in index.items():
        if isinstance(value, list) and value[0] == "transformers" and str(value[1]).endswith("Processor"):
            cls = getattr(transformers, value[1], None)
            if cls is not None and not transformers.utils.is_torchvision_available():
                yield part, cls


def _chats(place: str, part: str) -> Any:
    """The template of a processor's chats, where there is one beside it."""
    import transformers

    return transformers.ProcessorMixin.get_processor_dict(place, subfolder=part)[0].get("chat_template")
