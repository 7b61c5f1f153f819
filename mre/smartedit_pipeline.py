"""SmartEditPipeline: RewardEditPipeline with a language model that reads picture and instruction in place of the CLIP text encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionModel, LlamaModel, LlamaTokenizer

from mre.errors import ModelError, SettingsError
from mre.models.instruction import CLIPInstructionEncoder, InstructionEncoder
from mre.models.quiet import quiet_libraries
from mre.models.smartedit.assembly import ReadersSource, find_readers, quantization
from mre.models.smartedit.connector import LanguageHead, SmartEditConnector, VisionProjector
from mre.models.smartedit.instruction import LAYER, LlavaInstructionEncoder, Readers
from mre.models.smartedit.kept import KeptConditions
from mre.models.smartedit.prompt import DEFAULT_TEMPLATE, MOST_TOKENS, TEMPLATES, conversation, encode
from mre.models.unet import RewardUNet2DConditionModel
from mre.pipeline import RewardEditPipeline

READERS = ("vision_tower", "projector", "language_model", "llm_tokenizer", "connector")
READER_MODELS = ("vision_tower", "projector", "language_model", "connector")
OWN_FORMAT = (*READER_MODELS, "language_head")          # number formats that `to(dtype)` leaves alone


class SmartEditPipeline(RewardEditPipeline):
    """SmartEdit, and with a reward condition in its U-Net Reward-SmartEdit.

    What the language model made of picture and instruction is kept, so that it reads each pair once. It stays in the number format that it
    was loaded in, and so do Q-Former and interaction module; `to(dtype)` is about the others. The readers (vision_tower, projector,
    language_model, llm_tokenizer, connector) may be absent where all that is asked for has been read before; language_head is needed only
    where the language model decodes its answer (`answer_greedily`).
    """

    more_settings = ("template", "readers_from")
    own_format = OWN_FORMAT
    model_cpu_offload_seq = "text_encoder->vision_tower->projector->language_model->connector->unet->vae"
    _optional_components: ClassVar = [*RewardEditPipeline._optional_components, *READERS, "language_head"]
    _exclude_from_cpu_offload: ClassVar = ["language_head"]         # called between the language model's tokens, which would go each time

    def __init__(self, vae: Any, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, unet: RewardUNet2DConditionModel, scheduler: Any,
                 vision_tower: CLIPVisionModel | None = None, projector: VisionProjector | None = None,
                 language_model: LlamaModel | None = None, llm_tokenizer: LlamaTokenizer | None = None,
                 connector: SmartEditConnector | None = None, safety_checker: Any = None, feature_extractor: Any = None,
                 image_encoder: Any = None, requires_safety_checker: bool = False, language_head: LanguageHead | None = None,
                 default_steps: int = 100, default_guidance_scale: float = 7.5, default_image_guidance_scale: float = 1.5,
                 native_size: int | None = 256, size_rule: str = "square", template: int = DEFAULT_TEMPLATE,
                 readers_from: str | None = None) -> None:
        """Defaults are those of SmartEdit's evaluation.

        template      which question the language model is asked, of `mre.models.smartedit.prompt.TEMPLATES`
        readers_from  name or folder of the model that has the readers, where this one is kept without them
        """
        super().__init__(vae, text_encoder, tokenizer, unet, scheduler, safety_checker, feature_extractor, image_encoder,
                         requires_safety_checker, default_steps, default_guidance_scale, default_image_guidance_scale, native_size,
                         size_rule)
        if template not in TEMPLATES:
            raise ModelError(f"template must be one of {', '.join(map(str, TEMPLATES))}, got {template!r}")
        self.register_modules(vision_tower=vision_tower, projector=projector, language_model=language_model, llm_tokenizer=llm_tokenizer,
                              connector=connector, language_head=language_head)
        self.register_to_config(template=template, readers_from=readers_from)
        self.readers_source: ReadersSource | None = None            # of those that are not in memory
        self._kept = KeptConditions(None, template)
        self._kept_of: Readers | None = None

    @property
    def readers(self) -> Readers | None:
        """What reads picture and instruction; none where it is not in memory."""
        parts = [getattr(self, name) for name in READERS]
        return None if any(part is None for part in parts) else Readers(*parts)

    @property
    def instruction_encoder(self) -> InstructionEncoder:
        """The language model, which is asked for each picture and instruction once; while it is trained, each time."""
        readers = self.readers
        if readers is not None and readers.are_trained:
            return self._encoder(readers)
        if readers is not None:
            if self._kept_of is not None and readers != self._kept_of:
                self._kept = KeptConditions(None, self._kept.template, greedy=self._kept.greedy)        # of other weights
            self._kept_of = readers
            self._kept.encoder = self._encoder(readers)
        return self._kept

    def _encoder(self, readers: Readers) -> LlavaInstructionEncoder:
        null = CLIPInstructionEncoder(self.tokenizer, self.text_encoder, self._execution_device)
        return LlavaInstructionEncoder(readers, null, self._execution_device, self._kept.template,
                                       self.language_head if self._kept.greedy else None)

    def trainable_parts(self, text_encoder: bool = False, readers: Sequence[str] = ()) -> dict[str, torch.nn.Module]:
        """As the parent's, and these readers. Of the vision tower it is what makes the features: its last layer is not looked at."""
        parts = super().trainable_parts(text_encoder)
        for name in readers:
            if name not in READER_MODELS:
                raise SettingsError(f"train_readers must be some of {', '.join(READER_MODELS)}, got {name!r}")
            parts[name] = looked_at(self.vision_tower) if name == "vision_tower" else getattr(self, name)
        return parts

    def keep_place(self, folder: Path, loading: Any) -> None:
        """The readers are in this folder, or in the model that the folder names."""
        if self.readers is None:
            self.readers_source = find_readers(folder, cast(Any, self.config).readers_from, loading.language_model_format())
            self.register_to_config(readers_from=str(self.readers_source.folder.resolve()))

    def quantise_readers(self, way: str) -> None:
        """Have `load_readers` read the language model in 4 or 8 bits. Raises ModelError for a way that it cannot be read in, or where
        bitsandbytes is not installed."""
        if self.readers_source is None:
            raise ModelError(f"--quantise {way}: this model's readers are in memory already")
        quantization(way)
        self.readers_source = replace(self.readers_source, quantise=way)

    def answer_greedily(self) -> None:
        """Have the language model decode its answer rather than be given it. Raises ModelError where the folder of this model holds no
        head to decode with."""
        self._load_head()
        self._kept, self._kept_of = KeptConditions(None, self._kept.template, greedy=True), None

    def _load_head(self) -> None:
        if self.language_head is None:
            if self.readers_source is None:
                raise ModelError("this pipeline has no language_head to decode an answer with, and does not know where one is")
            self.register_modules(language_head=self.readers_source.read_head().requires_grad_(False).to(self.unet.device))

    def count_tokens(self, text: str) -> tuple[int, int, str]:
        """Tokens of an instruction, how many there may be beside those of the conversation around it, and the end that is too much."""
        template = self._kept.template
        tokenizer, frame = self.llm_tokenizer, len(encode("", self.llm_tokenizer, template))
        count, most = len(tokenizer.encode(conversation(text, template))) - frame, MOST_TOKENS - frame
        places = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False, verbose=False)["offset_mapping"]
        return count, most, text[places[most][0]:] if count > most and most < len(places) else ""

    def load_readers(self) -> None:
        """Read the readers, where they are not in memory, on the U-Net's device. Raises ModelError that names the file at fault."""
        if self.readers is None:
            if self.readers_source is None:
                raise ModelError("this pipeline has no readers, and does not know where they are")
            readers = self.readers_source.read()
            self.register_modules(**{name: getattr(readers, name) for name in READERS})
            for name in READER_MODELS:
                part = getattr(self, name).requires_grad_(False)
                if getattr(part, "quantization_method", None) is None:          # what bitsandbytes has placed stays there
                    part.to(self.unet.device)
        if self._kept.greedy:
            self._load_head()

    def readers_fingerprint(self) -> str:
        """What changes when the readers do, whether they are in memory or not."""
        if self.readers_source is None:
            raise ModelError("this pipeline does not know where its readers are: save it, and begin from that folder")
        return f"{cast(Any, self.config).template} {self.readers_source.fingerprint()}"

    def drop_readers(self) -> None:
        """Give the memory of the readers back. What they have read can still be asked for."""
        self._kept.encoder = self._kept_of = None
        self.register_modules(**dict.fromkeys((*READERS, "language_head")))

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """As the parent's. Readers that are not in memory stay where they are, and the folder says where."""
        place = cast(Any, self.config).readers_from
        self.register_to_config(readers_from=None if self.readers is not None else place)
        try:
            super().save_pretrained(save_directory, **kwargs)
        finally:
            self.register_to_config(readers_from=place)

    def to(self, *args: Any, **kwargs: Any) -> SmartEditPipeline:
        """As in diffusers; the readers change their place, and keep their number formats."""
        others = dict(kwargs)
        device, dtype = others.pop("device", None), others.pop("dtype", None)
        for one in args:
            device, dtype = (device, one) if isinstance(one, torch.dtype) else (one, dtype)
        if device is not None:
            super().to(device, **others)
        if dtype is not None:
            with quiet_libraries():
                for name, part in self.components.items():
                    if isinstance(part, torch.nn.Module) and name not in OWN_FORMAT:
                        part.to(dtype)
        return self


def looked_at(tower: Any) -> torch.nn.ModuleList:
    """The layers of a vision tower from which features are taken."""
    return torch.nn.ModuleList([tower.embeddings, tower.pre_layrnorm, *tower.encoder.layers[:LAYER + 1]])
