"""Scaled dot-product attention and its fused forms."""

from __future__ import annotations

from nneq.adapters.torch.registry import Call, lowers, unavailable
from nneq.lowering.attention import scaled_dot_product
from nneq.lowering.builder import Value

__all__: list[str] = []


@lowers("scaled_dot_product_attention")
def _attention(c: Call) -> Value:
    if c.get("dropout_p", 0.0):
        raise c.refuse("drops attention weights at random; put the model into eval mode")
    out, _ = scaled_dot_product(
        c.b,
        c.value("query"),
        c.value("key"),
        c.value("value"),
        scale=c.get("scale"),
        mask=c.optional("attn_mask"),
        causal=bool(c.get("is_causal", False)),
    )
    return out


@lowers(
    "_scaled_dot_product_flash_attention_for_cpu",
)
def _fused(c: Call) -> list[Value]:
    if c.get("dropout_p", 0.0):
        raise c.refuse("drops attention weights at random; put the model into eval mode")
    mask = c.optional("attn_mask") if "attn_mask" in c.arguments else c.optional("attn_bias")
    out, _ = scaled_dot_product(
        c.b,
        c.value("query"),
        c.value("key"),
        c.value("value"),
        scale=c.get("scale"),
        mask=mask,
        causal=bool(c.get("is_causal", False)),
    )
    return [out, unavailable(c.shapes[1])]
