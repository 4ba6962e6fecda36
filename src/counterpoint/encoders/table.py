"""Encoders of a row of a table: a token a column with a gate that selects among them, and a plain perceptron."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor, nn

from counterpoint.encoders.base import Encoder
from counterpoint.encoders.patch import Block, Blocks
from counterpoint.types import Encoded, Table, TableSpec

TWO_NARROW_BLOCKS = Blocks(depth=2, heads=4, expansion=2, dropout=0.1)


@final
class FeatureTokens(Encoder):
    """A token a column, attention among them, and a gate that says what share of the embedding each column has.

    A number becomes its value times a vector of its column plus another, a category the vector of its level: the
    FT-Transformer (Gorishniy et al. 2021, arXiv 2106.11959). The gate is a softmax over the columns a row knows, from
    each column's token and the mean of all, as variables are selected in the Temporal Fusion Transformer (Lim et al.
    2021, arXiv 1912.09363); it weighs the tokens in attention and in the embedding alike. With attention a token has
    seen the other columns, so its share is not what its column alone contributes; with ``blocks: null`` it is.

    What is unknown has no token and no part in anything; a row that knows nothing has an embedding of zeros.
    """

    reads: ClassVar = (TableSpec,)

    def __init__(self, spec: TableSpec, /, *, dim: int = 128, blocks: Blocks | None = TWO_NARROW_BLOCKS) -> None:
        """Size the encoder.

        Args:
            spec: the modality.
            dim: width of tokens and embedding, divisible by the heads.
            blocks: the attention among columns; None for none, so that columns meet in the gate alone.

        Raises:
            ValueError: where the width does not fit the heads, or there is no column.
        """
        super().__init__()
        if dim < 1 or (blocks is not None and dim % blocks.heads):
            heads = "" if blocks is None else f" divisible by the {blocks.heads} heads"
            raise ValueError(f"FeatureTokens: dim is {dim}; choose at least 1{heads}")
        self.dim = dim
        self.columns = Columns("FeatureTokens", spec, dim)
        self.names = nn.Parameter(torch.randn(len(spec.columns), dim) * dim**-0.5)
        self.own, self.company = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False)
        self.score = nn.Linear(dim, 1)
        depth = 0 if blocks is None else blocks.depth
        self.blocks = nn.ModuleList(Block(dim, blocks or TWO_NARROW_BLOCKS) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def forward(self, table: Table) -> Encoded:
        """Encode (B, F) into (B, F, D) tokens and (B, D)."""
        tokens, known = self._told(table)
        scores = self._scores(tokens, known)
        shares = scores.softmax(1).masked_fill(~known, 0.0).to(tokens.dtype)
        # What the gate leaves of a column is left of it in attention too. A row that knows nothing attends to all:
        # finite, and zeroed afterwards.
        keys = scores.masked_fill(~known.any(1, keepdim=True), 0.0).to(tokens.dtype)[:, None, None, :]
        for block in self.blocks:
            tokens = block(tokens, keys)
        tokens = self.norm(tokens).masked_fill(~known.unsqueeze(2), 0.0)
        return Encoded(tokens, known, torch.einsum("bf,bfd->bd", shares, tokens))

    def attend(self, table: Table) -> dict[str, Tensor]:
        """Share (B, F) of each of the ``columns`` in the embedding; 0 where unknown, 1 in sum over the known."""
        tokens, known = self._told(table)
        return {"columns": self._scores(tokens, known).softmax(1).masked_fill(~known, 0.0)}

    def _told(self, table: Table) -> tuple[Tensor, Tensor]:
        tokens, known = self.columns(table)
        return (tokens + self.names).masked_fill(~known.unsqueeze(2), 0.0), known

    def _scores(self, tokens: Tensor, known: Tensor) -> Tensor:
        """(B, F) whose softmax is the gate; the least number where unknown; float32 at least."""
        mean = tokens.sum(1, keepdim=True) / known.sum(1).clamp_min(1)[:, None, None].to(tokens.dtype)
        scores: Tensor = self.score(torch.tanh(self.own(tokens) + self.company(mean))).squeeze(2)
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        # A finite floor keeps a row that knows nothing from 0 / 0.
        return scores.masked_fill(~known, torch.finfo(scores.dtype).min)


@final
class TableMLP(Encoder):
    """A perceptron over the known columns, or a linear map; categories by their levels.

    Its first layer is a sum over the columns, to which an unknown one adds nothing, as the mean of a standardised
    number does. What the network makes of a column by itself is the token of that column. A row that knows nothing has
    an embedding of zeros.
    """

    reads: ClassVar = (TableSpec,)

    def __init__(self, spec: TableSpec, /, *, dim: int = 64, hidden: int | None = 64, dropout: float = 0.1) -> None:
        """Size the network.

        Args:
            spec: the modality.
            dim: width of tokens and embedding.
            hidden: width of the layer between; None for a linear map.
            dropout: share of hidden units dropped in training, of the linear map none.

        Raises:
            ValueError: if a size is out of range, or there is no column.
        """
        super().__init__()
        inner = dim if hidden is None else hidden
        if min(dim, inner) < 1 or not 0 <= dropout < 1:
            raise ValueError(
                f"TableMLP: dim is {dim} and hidden {hidden}, at least 1 each; dropout is {dropout}, a share from 0 to "
                "below 1"
            )
        self.dim = dim
        self.columns = Columns("TableMLP", spec, inner)
        self.bias = nn.Parameter(torch.zeros(inner))
        self.leave = None if hidden is None else nn.Sequential(nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim))

    def forward(self, table: Table) -> Encoded:
        """Encode (B, F) into (B, F, D) tokens and (B, D)."""
        parts, known = self.columns(table)
        whole, parts = parts.sum(1) + self.bias, parts + self.bias
        tokens, pooled = (parts, whole) if self.leave is None else (self.leave(parts), self.leave(whole))
        pooled = pooled.masked_fill(~known.any(1, keepdim=True), 0.0)
        return Encoded(tokens.masked_fill(~known.unsqueeze(2), 0.0), known, pooled)


class Columns(nn.Module):
    """A vector a column: the value of a number times that of its column, or that of a category's level."""

    number: Tensor
    first: Tensor
    counts: Tensor

    def __init__(self, owner: str, spec: TableSpec, width: int) -> None:
        super().__init__()
        if not spec.columns:
            raise ValueError(f"{owner}: the table has no column beside those that name, group or label its rows")
        self.spec, self.owner = spec, owner
        counts = [len(levels) for levels in spec.levels]
        self.register_buffer("number", torch.tensor([count == 0 for count in counts]), persistent=False)
        self.register_buffer("counts", torch.tensor(counts), persistent=False)
        before = [sum(counts[:place]) for place in range(len(counts))]
        self.register_buffer("first", torch.tensor(before), persistent=False)
        # As a linear layer over all columns would begin, so that sums and tokens are of the same size for any number.
        self.weight = nn.Parameter(torch.empty(len(counts), width).uniform_(-1, 1) * width**-0.5)
        self.levels = nn.Parameter(torch.empty(max(1, sum(counts)), width).uniform_(-1, 1) * width**-0.5)

    def forward(self, table: Table) -> tuple[Tensor, Tensor]:
        """(B, F) -> (B, F, width), 0 where unknown, and (B, F) what is known.

        Raises:
            ValueError: for a table of other columns, or a category's index that none of its levels has.
        """
        values, known = self._checked(table)
        codes = values.masked_fill(self.number, 0.0).round().long() + self.first
        # A column of numbers has no level of its own and looks at any, which is not taken.
        levels = self.levels[codes.clamp(0, len(self.levels) - 1)]
        numbers = values.to(self.weight.dtype).unsqueeze(2) * self.weight
        found = torch.where(self.number.unsqueeze(1), numbers, levels)
        return found.masked_fill(~known.unsqueeze(2), 0.0), known

    def _checked(self, table: Table) -> tuple[Tensor, Tensor]:
        values, known = table
        if values.ndim != 2 or values.shape[1] != len(self.spec.columns):
            raise ValueError(
                f"a table has the shape {tuple(values.shape)}; the encoder was built for (rows, "
                f"{len(self.spec.columns)} columns)"
            )
        if known is None:
            known = torch.ones(values.shape, dtype=torch.bool, device=values.device)
        if known.shape != values.shape:
            raise ValueError(f"a mask of shape {tuple(known.shape)} does not fit a table {tuple(values.shape)}")
        values = values.masked_fill(~known, 0.0)
        if torch.compiler.is_compiling():
            return values, known
        strange = known & ~self.number & ((values.round() < 0) | (values.round() >= self.counts))
        if bool(strange.any()):
            row, column = strange.nonzero()[0].tolist()
            levels = self.spec.levels[column]
            raise ValueError(
                f"{self.owner}: row {row} of the batch has {values[row, column].item():g} in column "
                f"{self.spec.columns[column]!r}, whose levels are 0 to {len(levels) - 1} ({', '.join(levels[:8])}); a "
                "level that was not seen is masked as unknown"
            )
        return values, known
