"""Views of one motion fused moment by moment, so that the order of time is kept."""

from __future__ import annotations

from typing import Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoint.fusion.base import Fusion, only, presence
from counterpoint.types import Encoded


@final
class TimeFusion(Fusion):
    """Fuses the tokens of views that share their time; token l of the result is of the same frames as theirs.

    At every moment each view that is there is projected and the views are summed, weighed by a softmax over those
    present: ``layer`` takes the weights from a gate (Ilse, Tomczak, Welling 2018, arXiv 1802.04712) as ``Gated`` does
    for whole rows; with ``attention`` the views of the moment first look at each other. A view that is absent leaves
    no trace. The embedding is the mean over time. Take it where sequences are compared: the tokens of other fusions
    have no order of time.
    """

    def __init__(
        self,
        dims: dict[str, int],
        /,
        *,
        how: Literal["layer", "attention"] = "layer",
        dim: int = 256,
        heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        """Build projections and gate.

        Args:
            dims: width of each view.
            how: whether the views of a moment look at each other before they are weighed.
            dim: width of tokens and embedding.
            heads: of the attention; they divide ``dim``.
            dropout: share of the projected tokens dropped in training.

        Raises:
            ValueError: if a setting is out of range.
        """
        super().__init__()
        if dim < 1 or heads < 1 or dim % heads or not 0 <= dropout < 1:
            raise ValueError(
                f"TimeFusion: dim is {dim} and heads {heads}, at least 1 and dividing it; dropout is {dropout}, a "
                "share from 0 to below 1"
            )
        self.names = tuple(dims)
        self.dim = dim
        self.project = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, dim), nn.GELU(), nn.Dropout(dropout))
            for width in dims.values()
        )
        self.mix = _Mix(len(dims), dim, heads) if how == "attention" else None
        self.score = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1))
        self.norm = nn.LayerNorm(dim)

    def forward(self, encoded: dict[str, Encoded]) -> Encoded:
        """Fuse to (B, L', dim) tokens and (B, dim).

        Raises:
            NothingPresentError: if a row has no view.
            ValueError: if the views have different numbers of tokens.
        """
        views, real = self._views(encoded)
        mask = real.any(2)
        fused = (self._gates(views, real).unsqueeze(-1) * views).sum(2)
        tokens = only(self.norm(fused), mask)
        return Encoded(tokens, mask, tokens.sum(1) / mask.sum(1, keepdim=True).to(tokens.dtype))

    def attend(self, encoded: dict[str, Encoded]) -> dict[str, Tensor]:
        """Weight (B,) of each view, the mean over the moments of a row; 0 where it is absent, 1 in sum over them."""
        views, real = self._views(encoded)
        gates, moments = self._gates(views, real), real.any(2).sum(1)
        return {name: gates[:, :, i].sum(1) / moments for i, name in enumerate(self.names)}

    def _views(self, encoded: dict[str, Encoded]) -> tuple[Tensor, Tensor]:
        """(B, L', M, dim) projected tokens, 0 where (B, L', M) is False."""
        parts = {name: encoded[name] for name in self.names}
        presence(parts)
        lengths = {name: part.mask.shape[1] for name, part in parts.items()}
        if any(length != lengths[self.names[0]] for length in lengths.values()):
            raise ValueError(
                f"TimeFusion: the views have {lengths} tokens and cannot be laid side by side; give their encoders one "
                "stride and the data one length, or take another fusion"
            )
        real = torch.stack([part.mask for part in parts.values()], 2)
        projected = [
            project(only(part.tokens, part.mask)) for project, part in zip(self.project, parts.values(), strict=True)
        ]
        views = only(torch.stack(projected, 2), real)
        return (views if self.mix is None else only(self.mix(views, real), real)), real

    def _gates(self, views: Tensor, real: Tensor) -> Tensor:
        """(B, L', M), 1 in sum over the views of a moment; 0 all over where none is there."""
        scores: Tensor = self.score(views).squeeze(-1)
        # A finite floor keeps a moment without a view from 0 / 0.
        weights = scores.masked_fill(~real, torch.finfo(scores.dtype).min).softmax(2)
        return weights.masked_fill(~real, 0.0)


class _Mix(nn.Module):
    """The views of a moment attend to those of them that are there."""

    def __init__(self, views: int, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.kinds = nn.Parameter(torch.randn(views, dim) * 0.02)
        self.norm, self.qkv, self.out = nn.LayerNorm(dim), nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, views: Tensor, real: Tensor) -> Tensor:
        rows, length, count, dim = views.shape
        told = (views + self.kinds).view(rows * length, count, dim)
        qkv = self.qkv(self.norm(told)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        # Where no view is there all are looked at: finite, and left out afterwards.
        keys = (real | ~real.any(2, keepdim=True)).view(rows * length, 1, 1, count)
        found = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], attn_mask=keys)
        mixed: Tensor = told + self.out(found.transpose(1, 2).flatten(2))
        return mixed.view(rows, length, count, dim)
