"""What stands around the language model: patches of the picture become its words, and its states what the U-Net reads."""

from __future__ import annotations

from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from mre.errors import ModelError
from mre.models.smartedit.interaction import BidirectionalInteraction
from mre.models.smartedit.qformer import QFormer


class VisionProjector(ModelMixin, ConfigMixin):
    """Features of a patch -> an embedding in the language model's width."""

    @register_to_config
    def __init__(self, vision_width: int = 1024, language_width: int = 4096) -> None:
        super().__init__()
        self.linear = nn.Linear(vision_width, language_width)

    def forward(self, features: Tensor) -> Tensor:
        """(B, P, vision_width) -> (B, P, language_width)"""
        return self.linear(features)


class LanguageHead(ModelMixin, ConfigMixin):
    """A state of the language model -> how likely each token comes next. Needed only where the model finds its answer itself."""

    @register_to_config
    def __init__(self, language_width: int = 4096, vocabulary: int = 32_035) -> None:
        super().__init__()
        self.linear = nn.Linear(language_width, vocabulary, bias=False)

    def forward(self, states: Tensor) -> Tensor:
        """(..., language_width) -> (..., vocabulary), logits in float32"""
        return self.linear(states.to(self.dtype)).float()


class SmartEditConnector(ModelMixin, ConfigMixin):
    """Q-Former and interaction module. Sizes by default are those of the released 7B model; the 13B one has language_width 5120."""

    @register_to_config
    def __init__(self, *, language_width: int = 4096, vision_width: int = 1024, queries: int = 77, query_width: int = 768,
                 query_heads: int = 12, query_hidden: int = 3072, query_layers: int = 6, unet_channels: int = 320,
                 interaction_heads: int = 8, interaction_hidden: int = 2048, interaction_depth: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        self.qformer = QFormer(queries=queries, width=query_width, heads=query_heads, hidden=query_hidden, layers=query_layers,
                               source_width=language_width, dropout=dropout)
        self.interaction = BidirectionalInteraction(width=vision_width, query_width=query_width, unet_channels=unet_channels,
                                                    heads=interaction_heads, hidden=interaction_hidden, depth=interaction_depth)

    def forward(self, states: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """
        states:   (B, 32, language_width), the language model's, of its image tokens
        features: (B, P, vision_width), of the picture's patches
        returns   (B, queries, query_width) context and (B, unet_channels, g, g) residual
        Raises ModelError, naming the stage, where numbers are no longer finite.
        """
        queries = self.qformer(states)
        refuse_not_finite(queries, "the Q-Former")
        context, residual = self.interaction(queries, features)
        for part in (context, residual):
            refuse_not_finite(part, "the interaction module")
        return context, residual


def refuse_not_finite(values: Tensor, stage: str) -> None:
    """Raise ModelError where a stage has given infinities or what is no number."""
    if not values.isfinite().all():
        raise ModelError(f"{stage} gives numbers that are not finite, in {str(values.dtype).removeprefix('torch.')}: its weights may be "
                         "damaged, or its number format too narrow (bfloat16 and float32 are wide enough)")
