"""Names of tensors: those of the released files and ours. Knows nothing of what is behind them."""

from __future__ import annotations

import re

# (pattern in a released name, what stands in its place), applied in this order.
RULES = [(re.compile(pattern), ours) for pattern, ours in (
    (r"^model\.base_model\.model\.", "language_model."), (r"^vision_model\.", "vision_tower."), (r"^mm_projector\.", "projector.linear."),
    (r"^unet\.", "unet."),
    (r"^sd_query_tokens$", "connector.qformer.queries"), (r"^sd_qformer\.embeddings\.LayerNorm\.", "connector.qformer.norm."),
    (r"^sd_qformer\.encoder\.layer\.", "connector.qformer.layers."),
    (r"\.(attention|crossattention)\.output\.LayerNorm\.", r".\1_norm."), (r"\.(attention|crossattention)\.output\.dense\.", r".\1.out."),
    (r"\.(attention|crossattention)\.self\.", r".\1."),
    (r"\.attention(\.|_)", r".self_attention\1"), (r"\.crossattention(\.|_)", r".cross_attention\1"),
    (r"\.(self|cross)_attention_norm\.", r".\1_norm."),
    (r"\.intermediate_query\.dense\.", ".hidden."), (r"\.output_query\.dense\.", ".out."), (r"\.output_query\.LayerNorm\.", ".out_norm."),
    (r"^modulate_head\.", "connector.interaction.token_in."),
    (r"^pe_layer\.positional_encoding_gaussian_matrix$", "connector.interaction.frequencies"),
    (r"^modulate_transformer\.final_attn_token_to_image\.", "connector.interaction.final_attention."),
    (r"^modulate_transformer\.norm_final_attn\.", "connector.interaction.final_norm."),
    (r"^modulate_transformer\.layers\.", "connector.interaction.layers."),
    (r"^dimension_reduction_head_qformer_out\.", "connector.interaction.context_out."),
    (r"^dimension_reduction_head_zeroconv\.", "connector.interaction.residual_out."))]
INTERACTION_RULES = [(re.compile(pattern), ours) for pattern, ours in (
    (r"\.self_attn\.", ".self_attention."), (r"\.cross_attn_token_to_image\.", ".tokens_from_image."),
    (r"\.cross_attn_image_to_token\.", ".image_from_tokens."), (r"\.(q|k|v)_proj\.", lambda m: f".{LETTERS[m[1]]}."),
    (r"\.out_proj\.", ".out."), (r"\.mlp\.lin1\.", ".hidden."), (r"\.mlp\.lin2\.", ".out."))]
LETTERS = {"q": "query", "k": "key", "v": "value"}
COMPUTED = ("rotary_emb.inv_freq", "position_ids")      # of what released files hold: computed anew here, and left out


def our_name(released: str) -> str:
    """PART.NAME of the tensor that a released file calls so, where PART is the component of the pipeline that holds it."""
    name = released
    for pattern, ours in RULES if not released.startswith(("unet.", "model.", "vision_model.")) else RULES[:4]:
        name = pattern.sub(ours, name)
    if name.startswith("connector.interaction."):
        for pattern, ours in INTERACTION_RULES:
            name = pattern.sub(ours, name)
    return name


def is_computed(released: str) -> bool:
    """Whether a tensor of a released file is no weight."""
    return released.endswith(COMPUTED)
