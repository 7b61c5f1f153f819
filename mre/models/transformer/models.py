"""Diffusion transformers that read rewards: subclasses of the stock ones, whose forward does the rest.

The stock forward is one function. It is handed a `View` of the model, on which two embedders add what the reward has to say to what they
make: that of the text, before the first block, and that of the time, which every block's modulation reads. All modules stay in their stock
places under their stock names and are called through their own forward, so that adapters, offload hooks, checkpointing, layerwise casting
and plans for many devices reach them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from diffusers import Flux2Transformer2DModel, QwenImageTransformer2DModel
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from mre.errors import ModelError
from mre.models.condition import RewardSignal, is_conditioned
from mre.models.transformer.condition import RewardReader, TokenCondition
from mre.models.unet import check_shape, keeps_settings_of
from mre.rewards import PERSPECTIVES

REWARD, NEGATIVE = "reward", "negative_reward"      # of a pipeline's attention_kwargs
UNCONDITIONAL = "uncond"                            # diffusers' name of the guidance branch without the instruction
REWARD_LAYERS = ("reward_condition.", "reward_reader.")     # how names of the condition's tensors begin
SETTINGS = ("use_score", "use_text", "use_attention", "use_addition", "perspectives", "reward_text_dim", "reward_width",
            "reward_num_heads", "reward_sinusoid_channels")
_branch: ContextVar[str | None] = ContextVar("guidance branch", default=None)


class View:
    """A model with some of its attributes replaced; all others are the model's own."""

    def __init__(self, model: nn.Module, **replaced: Any) -> None:
        self._model = model
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


class RewardTransformer(nn.Module):
    """What reward-conditioned transformers share. It comes before the stock class in the list of bases.

    use_score, use_text         what the condition is made of (Table 4)
    use_attention               the text stream reads the reward's tokens (Eq. 2)
    use_addition                a term in the time embedding, from which all modulation is made (Eq. 3)
    perspectives                scores that count (Table 10)
    reward_text_dim             width of the states of the reward text
    reward_width, reward_num_heads, reward_sinusoid_channels    of the condition's tokens, their attention, the sinusoid of one score

    A call gives the reward in the attention keywords of the stock pipelines, as a dictionary:

    reward["reward_scores"]     (B, 3) in [0, 5], ordered as PERSPECTIVES, NaN for no wish
    reward["reward_text"]       (B, 3, T, D), states of the tokens of each perspective's reward text
    reward["reward_text_mask"]  (B, 3, T), true for tokens that are read; optional

    Without one, or where nothing is asked for, the model is its parent. So is the guidance branch without the instruction, unless
    `negative_reward`, a dictionary of the same kind, says what it should read.
    """

    reward_layers = leading_layers = REWARD_LAYERS
    stock: type                     # the parent
    embedders: tuple[str, str]      # names of the embedders of text and time
    config: Any
    inner_dim: int

    def build_reward_layers(self) -> None:
        """The layers of the reward condition, as the config says."""
        config = self.config
        if not config.perspectives or not set(config.perspectives) <= set(PERSPECTIVES):
            raise ValueError(f"perspectives must be some of {', '.join(PERSPECTIVES)}, got {config.perspectives}")
        self.reward_condition = self.reward_reader = None
        if not self.conditioned:
            return
        self.reward_condition = TokenCondition(
            **{name: config[name] for name in ("use_score", "use_text", "use_attention", "use_addition", "perspectives")},
            text_dim=config.reward_text_dim, width=config.reward_width, sinusoid_channels=config.reward_sinusoid_channels,
            term_dim=self.inner_dim)
        if config.use_attention:
            self.reward_reader = RewardReader(self.inner_dim, config.reward_width, config.reward_num_heads)

    @property
    def conditioned(self) -> bool:
        """Whether this model reads rewards at all."""
        return is_conditioned(self.config)

    @contextmanager
    def cache_context(self, name: str, **where: Any) -> Iterator[None]:
        """As in diffusers; it is also how its pipelines say which guidance branch is computed."""
        before = _branch.set(name)
        try:
            with super().cache_context(name, **where):       # type: ignore[misc]  # of the stock class, which comes after
                yield
        finally:
            _branch.reset(before)

    def signal_and_rest(self, states: Tensor, attention_kwargs: Mapping[str, Any] | None) -> tuple[RewardSignal | None, dict | None]:
        """What the condition makes of a call's reward, and the call's other attention keywords. Raises RewardError for tensors that do
        not fit."""
        others = dict(attention_kwargs or {})
        reward, negative = others.pop(REWARD, None), others.pop(NEGATIVE, None)
        given = negative if _branch.get() == UNCONDITIONAL else reward
        if given is None or self.reward_condition is None:
            return None, others or None
        scores, text, batch, dim = given.get("reward_scores"), given.get("reward_text"), states.shape[0], self.config.reward_text_dim
        if self.config.use_score:
            check_shape("reward_scores", scores, scores is not None and scores.shape == (batch, len(PERSPECTIVES)),
                        f"({batch}, {len(PERSPECTIVES)})")
        if self.config.use_text:
            fits = text is not None and text.ndim == 4 and (*text.shape[:2], text.shape[3]) == (batch, len(PERSPECTIVES), dim)
            check_shape("reward_text", text, fits, f"({batch}, {len(PERSPECTIVES)}, tokens, {dim})")
        return self.reward_condition(scores, text, given.get("reward_text_mask"), states.dtype), others or None

    def view(self, signal: RewardSignal | None) -> Any:
        """The model as the stock forward sees it in a call with this signal."""
        if signal is None:
            return self
        text_in, time_in = self.embedders

        def embed_text(states: Tensor) -> Tensor:
            text = getattr(self, text_in)(states)
            return text if self.reward_reader is None else self.reward_reader(text, signal.tokens, signal.token_mask, signal.present)

        def embed_time(*args: Any, **kwargs: Any) -> Tensor:
            embedded = getattr(self, time_in)(*args, **kwargs)                          # (B, D), or (2 B, D) with a time of its own
            if signal.term is None or signal.present is None:                           # for the photo's tokens
                return embedded
            term = torch.where(signal.present[:, None], signal.term, 0)
            return embedded + term.repeat(embedded.shape[0] // term.shape[0], 1)

        return View(self, **{text_in: embed_text, time_in: embed_time})


class RewardFlux2Transformer2DModel(RewardTransformer, Flux2Transformer2DModel):
    """The transformer of FLUX.2 (dev, klein) with a reward condition, which comes in `joint_attention_kwargs`."""

    stock = Flux2Transformer2DModel
    embedders = ("context_embedder", "time_guidance_embed")

    @register_to_config
    @keeps_settings_of(Flux2Transformer2DModel)
    def __init__(self, *, use_score: bool = True, use_text: bool = True, use_attention: bool = True, use_addition: bool = True,
                 perspectives: tuple[str, ...] = PERSPECTIVES, reward_text_dim: int = 2560, reward_width: int = 512,
                 reward_num_heads: int = 8, reward_sinusoid_channels: int = 256, **stock: Any) -> None:
        Flux2Transformer2DModel.__init__(self, **stock)
        self.build_reward_layers()

    def forward(self, hidden_states: Tensor, encoder_hidden_states: Any = None, timestep: Any = None, img_ids: Any = None,
                txt_ids: Any = None, guidance: Any = None, joint_attention_kwargs: dict[str, Any] | None = None, **more: Any) -> Any:
        """The parent's. Raises RewardError for a reward that does not fit."""
        signal, others = self.signal_and_rest(hidden_states, joint_attention_kwargs)
        return Flux2Transformer2DModel.forward(
            self.view(signal), hidden_states=hidden_states, encoder_hidden_states=encoder_hidden_states, timestep=timestep,
            img_ids=img_ids, txt_ids=txt_ids, guidance=guidance, joint_attention_kwargs=others, **more)


class RewardQwenImageTransformer2DModel(RewardTransformer, QwenImageTransformer2DModel):
    """The transformer of Qwen-Image (Edit, Edit-Plus) with a reward condition, which comes in `attention_kwargs`."""

    stock = QwenImageTransformer2DModel
    embedders = ("txt_in", "time_text_embed")

    @register_to_config
    @keeps_settings_of(QwenImageTransformer2DModel)
    def __init__(self, *, use_score: bool = True, use_text: bool = True, use_attention: bool = True, use_addition: bool = True,
                 perspectives: tuple[str, ...] = PERSPECTIVES, reward_text_dim: int = 3584, reward_width: int = 512,
                 reward_num_heads: int = 8, reward_sinusoid_channels: int = 256, **stock: Any) -> None:
        QwenImageTransformer2DModel.__init__(self, **stock)
        self.build_reward_layers()

    def forward(self, hidden_states: Tensor, encoder_hidden_states: Any = None, encoder_hidden_states_mask: Any = None,
                timestep: Any = None, img_shapes: Any = None, guidance: Any = None, attention_kwargs: dict[str, Any] | None = None,
                **more: Any) -> Any:
        """The parent's. Raises RewardError for a reward that does not fit."""
        signal, others = self.signal_and_rest(hidden_states, attention_kwargs)
        return QwenImageTransformer2DModel.forward(
            self.view(signal), hidden_states=hidden_states, encoder_hidden_states=encoder_hidden_states,
            encoder_hidden_states_mask=encoder_hidden_states_mask, timestep=timestep, img_shapes=img_shapes, guidance=guidance,
            attention_kwargs=others, **more)


KINDS: dict[type, type] = {one.stock: one for one in (RewardFlux2Transformer2DModel, RewardQwenImageTransformer2DModel)}


def with_condition(stock: nn.Module, **settings: Any) -> RewardTransformer:
    """The same model with an untrained reward condition. It takes over the weights of `stock`, which is not to be used any more.

    settings: those of the condition, see RewardTransformer. Raises ModelError for a transformer that has none of ours.
    """
    kind = KINDS.get(type(stock))
    if kind is None:
        raise ModelError(f"a {type(stock).__name__} cannot be given a reward condition; "
                         f"{' and '.join(one.__name__ for one in KINDS)} can")
    own: dict[str, Any] = {name: value for name, value in stock.config.items() if not name.startswith("_")}      # type: ignore[union-attr]
    with torch.device("meta"):
        made = kind(**own, **settings)
    for name, part in stock.named_children():           # whole modules: with buffers, adapters, hooks and number formats
        setattr(made, name, part)
    made.build_reward_layers()
    weight = next(weight for weight in stock.parameters() if weight.is_floating_point())      # others are quantised
    for layers in (made.reward_condition, made.reward_reader):
        if layers is not None:
            layers.to(weight.device, weight.dtype)
    return made.train(stock.training)
