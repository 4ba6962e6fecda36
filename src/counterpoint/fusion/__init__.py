"""Fusions: the encoded modalities of a row in, one ``Encoded`` out."""

from counterpoint.fusion.base import Fusion, NothingPresentError
from counterpoint.fusion.concat import Concat
from counterpoint.fusion.cross_attention import CrossAttentionFusion
from counterpoint.fusion.gated import Gated
from counterpoint.fusion.time import TimeFusion
from counterpoint.fusion.token_attention import TokenAttention

__all__ = ["Concat", "CrossAttentionFusion", "Fusion", "Gated", "NothingPresentError", "TimeFusion", "TokenAttention"]
