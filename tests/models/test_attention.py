"""Attention of long rows in bfloat16 by products of matrices: what it computes, and where it stands in for torch's kernel."""

import pytest
import torch
import torch.nn.functional as F

from mre.models import attention
from tests.tiny_edits import edited, photo
from tests.tiny_models import pipeline

LONG = 100          # tokens, for tests: those of 10 x 10 latents


def drawn(tokens: int, width: int, sharpness: float = 1.0, batch: int = 2, heads: int = 3) -> list[torch.Tensor]:
    """Queries, keys and values (B, H, T, D), as strided as the stock processor makes them."""
    generator = torch.Generator().manual_seed(tokens)
    q, k, v = (torch.randn(batch, tokens, heads, width, generator=generator) for _ in range(3))
    return [each.bfloat16().transpose(1, 2) for each in (q * sharpness, k, v)]


def exact(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    scores = torch.einsum("bhqd,bhkd->bhqk", q.double(), k.double()) / q.shape[-1] ** 0.5
    return torch.einsum("bhqk,bhkd->bqhd", scores.exp() / scores.exp().sum(-1, keepdim=True), v.double())


def away(made: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((made.double() - wanted).norm() / wanted.norm())


@torch.no_grad()
@pytest.mark.parametrize(("tokens", "width", "held"), [(96, 40, 18432), (96, 40, 1920), (601, 8, 38464), (50, 16, 1), (1, 3, 99)])
def test_blocks_of_heads_and_of_queries_of_any_size_give_attention(monkeypatch, tokens, width, held):
    monkeypatch.setattr(attention, "HELD", held)
    q, k, v = drawn(tokens, width)
    made = attention.chunked_attention(q, k, v)
    assert (made.shape, made.dtype) == ((2, tokens, 3, width), torch.bfloat16)
    assert away(made, exact(q, k, v)) < 0.006
    assert torch.equal(made, attention.chunked_attention(q, k, v)), "the same again"


@torch.no_grad()
def test_where_single_keys_count_it_is_far_nearer_than_scores_rounded_as_they_are():
    q, k, v = drawn(1024, 40, sharpness=12)
    wanted = exact(q, k, v)
    rounded = torch.softmax(q @ k.mT * 40 ** -0.5, -1) @ v
    assert away(attention.chunked_attention(q, k, v), wanted) < away(rounded.transpose(1, 2), wanted) / 4
    assert away(attention.chunked_attention(q, k, v), wanted) < 3 * away(F.scaled_dot_product_attention(q, k, v).transpose(1, 2), wanted)


@pytest.fixture
def chunked(monkeypatch) -> list[tuple[int, ...]]:
    """The shapes that it was asked for, on a machine where it is quicker."""
    shapes = []

    def watched(query, key, value, own=attention.chunked_attention):
        shapes.append(tuple(query.shape))
        return own(query, key, value)
    monkeypatch.setattr(attention, "chunked_attention", watched)
    monkeypatch.setattr(attention, "LONG", LONG)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    return shapes


@pytest.fixture(scope="module")
def half():
    return pipeline().to(torch.bfloat16)


def edit(editor, side: int = 10, **more: object) -> torch.Tensor:
    """Latents of an edit with side x side of them."""
    start = torch.randn(1, 4, side, side, generator=torch.Generator().manual_seed(1)).to(editor.unet.dtype)
    return edited(editor, "red", photo(width=2 * side, height=2 * side), latents=start, **more)


def test_an_edit_in_bfloat16_uses_it_for_long_self_attention_and_leaves_the_model_as_it_was(half, chunked):
    before = dict(half.unet.attn_processors)
    made = edit(half)
    assert set(chunked) == {(3, 4, 100, 8)}, "10 x 10 latents of three branches; the instruction is not self-attention"
    assert half.unet.attn_processors == before
    assert torch.equal(made, edit(half)), "the same again"
    count = len(chunked)
    edit(half, 8)
    assert len(chunked) == count, "8 x 8 is not long"


@pytest.mark.parametrize("units", [{}, {"avx512_bf16": True, "amx_bf16": True}])
def test_a_processor_on_which_it_was_not_measured_to_be_quicker_has_torchs_kernel(half, chunked, monkeypatch, units):
    quick, wanted = edit(half), edit(pipeline()).double()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units)
    count = len(chunked)
    assert away(quick, wanted) < 1.3 * away(edit(half), wanted)
    assert len(chunked) == count > 0


def test_float32_gradients_and_processors_that_someone_set_have_what_they_had(half, chunked):
    edit(pipeline())
    with attention.quick_attention(half.unet):
        hidden = torch.zeros(1, LONG, 32, dtype=torch.bfloat16)
        layer = half.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1
        assert layer(hidden).requires_grad
    assert not chunked
    own = dict(half.unet.attn_processors)
    half.unet.set_default_attn_processor()
    edit(half)
    half.unet.set_attn_processor(own)
    assert not chunked


def test_an_edit_that_fails_leaves_the_model_as_it_was(half, chunked):
    before = dict(half.unet.attn_processors)

    def refuse(*given):
        raise RuntimeError("stop")
    with pytest.raises(RuntimeError, match="stop"):
        edit(half, callback_on_step_end=refuse)
    assert half.unet.attn_processors == before
    assert chunked
