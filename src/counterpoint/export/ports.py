"""How each kind of modality enters a graph: as flat tensors with names, and back into what its encoder reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from counterpoint.encoders.base import Encoder
from counterpoint.types import Encoded, Events, Images, Signal, Spectra, Table, TableSpec

BATCH = "batch"


class NoPortError(ValueError):
    """A modality that cannot enter a graph, and why."""


class Input(NamedTuple):
    """One tensor of a graph.

    Attributes:
        name: of it.
        dtype: as numpy calls it.
        shape: sizes; names where any will do.
        meaning: for people.
    """

    name: str
    dtype: str
    shape: tuple[str | int, ...]
    meaning: str


class Port(ABC):
    """One modality between a graph and its encoder."""

    @property
    def ragged(self) -> bool:
        """Whether rows may be of several lengths, so that graphs of any length are worth trying."""
        return False

    @abstractmethod
    def inputs(self, fixed: bool) -> tuple[Input, ...]:
        """The tensors; of the longest rows alone where lengths are ``fixed``."""

    @abstractmethod
    def tensors(self, modality: Any, fixed: bool) -> tuple[Tensor, ...]:
        """What is handed to the graph for rows of the modality."""

    @abstractmethod
    def encode(self, encoder: Encoder, tensors: Sequence[Tensor]) -> Encoded:
        """What the graph makes of its tensors."""

    def shortened(self, modality: Any, share: float) -> Any:
        """The first share of every row; the modality itself where rows have one length."""
        return modality


@final
@dataclass(frozen=True)
class Sequences(Port):
    """Signals and spectra: values (B, L, ...) and which of the L elements are real.

    Args:
        name: of the modality.
        kind: the tuple its encoder reads.
        longest: elements of the longest row.
        width: of an element: channels, or points of the axis.
        masked: whether its rows come with a mask.
        elements: what they are, for people.
    """

    name: str
    kind: type[Signal] | type[Spectra]
    longest: int
    width: int
    masked: bool
    elements: str

    @property
    def ragged(self) -> bool:
        """Not where a row is one or two elements, of which none can be left out."""
        return self.longest > 2

    def inputs(self, fixed: bool) -> tuple[Input, ...]:
        length = self.longest if fixed else f"{self.name}_length"
        inner = "channels" if self.kind is Signal else "points of the axis"
        what = f"{self.elements} in order, the {self.width} {inner} of each last, treated as the run's data were"
        values = Input(f"{self.name}.values", "float32", (BATCH, length, self.width), what)
        if not self.masked:
            return (values,)
        more = "; shorter rows are filled up at the end and False there" if fixed else ""
        mask = Input(
            f"{self.name}.mask", "bool", (BATCH, length), f"True where one of the {self.elements} is real{more}"
        )
        return values, mask

    def tensors(self, modality: Signal | Spectra, fixed: bool) -> tuple[Tensor, ...]:
        values = modality.values.float()
        mask = torch.ones(values.shape[:2], dtype=torch.bool) if modality.mask is None else modality.mask
        missing = self.longest - values.shape[1] if fixed else 0
        if missing < 0 or (missing and not self.masked):
            raise NoPortError(f"{self.name}: the graph takes {self.longest} {self.elements}, not {values.shape[1]}")
        values = torch.nn.functional.pad(values, (0, 0, 0, missing))
        return (values, torch.nn.functional.pad(mask, (0, missing))) if self.masked else (values,)

    def encode(self, encoder: Encoder, tensors: Sequence[Tensor]) -> Encoded:
        found: Encoded = encoder(self.kind(*tensors))
        return found

    def shortened(self, modality: Signal | Spectra, share: float) -> Signal | Spectra:
        length = max(2, round(share * modality.values.shape[1]))
        mask = None if modality.mask is None else modality.mask[:, :length]
        return self.kind(modality.values[:, :length], mask)


@final
@dataclass(frozen=True)
class Columns(Port):
    """A row of a table: (B, F) values and which are known."""

    name: str
    spec: TableSpec

    def inputs(self, fixed: bool) -> tuple[Input, ...]:
        shape, columns = (BATCH, len(self.spec.columns)), ", ".join(self.spec.columns)
        what = f"{columns}: numbers standardised by the training rows; of a column of levels, the index of the level"
        return (
            Input(f"{self.name}.values", "float32", shape, what),
            Input(f"{self.name}.mask", "bool", shape, "True where the value is known"),
        )

    def tensors(self, modality: Table, fixed: bool) -> tuple[Tensor, ...]:
        known = torch.ones_like(modality.values, dtype=torch.bool) if modality.mask is None else modality.mask
        return modality.values.float(), known

    def encode(self, encoder: Encoder, tensors: Sequence[Tensor]) -> Encoded:
        found: Encoded = encoder(Table(*tensors))
        return found


@final
@dataclass(frozen=True)
class Pictures(Port):
    """Pictures of one size, (B, L, 3, H, W) uint8, for encoders without a frozen backbone."""

    name: str
    sizes: tuple[int, ...]

    def inputs(self, fixed: bool) -> tuple[Input, ...]:
        what = "pictures, red, green, blue from 0 to 255"
        return (
            Input(f"{self.name}.values", "uint8", (BATCH, *self.sizes), what),
            Input(f"{self.name}.mask", "bool", (BATCH, self.sizes[0]), "True where a picture is real"),
        )

    def tensors(self, modality: Images, fixed: bool) -> tuple[Tensor, ...]:
        real = torch.ones(modality.values.shape[:2], dtype=torch.bool) if modality.mask is None else modality.mask
        return modality.values, real

    def encode(self, encoder: Encoder, tensors: Sequence[Tensor]) -> Encoded:
        found: Encoded = encoder(Images(*tensors))
        return found


@final
@dataclass(frozen=True)
class Flat(Port):
    """Irregular events, flat, with the offsets of sets and rows."""

    name: str

    def inputs(self, fixed: bool) -> tuple[Input, ...]:
        events, sets, rows = f"{self.name}_events", f"{self.name}_sets", BATCH
        return (
            Input(f"{self.name}.values", "float32", (events,), "values, standardised"),
            Input(f"{self.name}.codes", "int64", (events,), "variable of each"),
            Input(f"{self.name}.times", "float32", (sets,), "hours of each set"),
            Input(f"{self.name}.sets", "int64", (f"{sets}_and_one",), "where each set begins, and the last ends"),
            Input(f"{self.name}.rows", "int64", (f"{rows}_and_one",), "where each row begins, and the last ends"),
        )

    def tensors(self, modality: Events, fixed: bool) -> tuple[Tensor, ...]:
        return modality.values.float(), modality.codes, modality.times.float(), modality.sets, modality.rows

    def encode(self, encoder: Encoder, tensors: Sequence[Tensor]) -> Encoded:
        values, codes, times, sets, rows = tensors
        # Keys are of the noise of training.
        found: Encoded = encoder(Events(values, codes, times, sets, rows, torch.zeros_like(rows[:-1])))
        return found
