"""Which port a modality has, and the ports of encoders that stand on published weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from counterpoint.encoders.base import Encoder
from counterpoint.encoders.pretrained import TextEncoder
from counterpoint.encoders.pretrained.base import Pretrained
from counterpoint.encoders.pretrained.sentences import Published
from counterpoint.export.ports import BATCH, Columns, Flat, Input, NoPortError, Pictures, Port, Sequences
from counterpoint.types import (
    Encoded,
    Events,
    Features,
    Images,
    Modality,
    Signal,
    SignalSpec,
    Spec,
    Spectra,
    SpectraSpec,
    Table,
    TableSpec,
    Text,
)


@final
@dataclass(frozen=True)
class Frozen(Port):
    """What a frozen backbone made of a modality: the graph begins behind it, where what was trained begins."""

    name: str
    encoder: Pretrained
    tokens: int

    def inputs(self, fixed: bool) -> tuple[Input, ...]:
        shape: tuple[str | int, ...] = (BATCH, self.tokens, self.encoder.width)
        made = f"what {type(self.encoder.model).__name__} makes of {self.name}, pooled as {type(self.encoder).__name__}"
        return (
            Input(f"{self.name}.tokens", "float32", shape, f"{made}.backbone does"),
            Input(f"{self.name}.mask", "bool", shape[:2], "True where a token is real"),
        )

    def tensors(self, modality: Modality, fixed: bool) -> tuple[Tensor, ...]:
        made = modality if isinstance(modality, Features) else self.encoder.backbone(modality)
        return made.tokens.float(), made.mask

    def encode(self, encoder: Encoder, tensors: Sequence[Tensor]) -> Encoded:
        assert isinstance(encoder, Pretrained)
        return encoder.finish(Features(*tensors))


@final
@dataclass(frozen=True)
class Tokens(Port):
    """Sentences, as the numbers that the published tokenizer makes of them."""

    name: str
    encoder: TextEncoder

    @property
    def ragged(self) -> bool:
        """Sentences are of any length."""
        return True

    def inputs(self, fixed: bool) -> tuple[Input, ...]:
        vocabulary = self.encoder.vocabulary
        length = vocabulary.longest if fixed else f"{self.name}_length"
        what = f"numbers of tokens by tokenizer.json, marks of beginning and end included, at most {vocabulary.longest}"
        return (
            Input(f"{self.name}.ids", "int64", (BATCH, length), what),
            Input(f"{self.name}.mask", "bool", (BATCH, length), "True where a token is real; nowhere for no sentence"),
        )

    def tensors(self, modality: Text, fixed: bool) -> tuple[Tensor, ...]:
        rows = [torch.tensor(self.encoder.vocabulary(one) if one.strip() else []) for one in modality.sentences]
        ids = pad_sequence([row.long() for row in rows], batch_first=True)
        longest = self.encoder.vocabulary.longest if fixed else max(2, ids.shape[1])
        ids = torch.nn.functional.pad(ids, (0, longest - ids.shape[1]))
        lengths = torch.tensor([len(row) for row in rows])
        return ids, torch.arange(longest) < lengths.unsqueeze(1)

    def encode(self, encoder: Encoder, tensors: Sequence[Tensor]) -> Encoded:
        assert isinstance(encoder, TextEncoder)
        return encoder.finish(encoder.read(*tensors))

    def shortened(self, modality: Text, share: float) -> Text:
        cut = (one.split()[: max(1, round(share * len(one.split())))] for one in modality.sentences)
        return Text(tuple(" ".join(words) for words in cut))


def port_of(name: str, encoder: Encoder, spec: Spec, sample: Modality) -> Port:
    """The port of a modality.

    Args:
        name: of the modality.
        encoder: that reads it.
        spec: what the data say of it.
        sample: some rows, as they are read.

    Raises:
        NoPortError: where it cannot enter a graph.
    """
    if isinstance(sample, Text):
        if isinstance(encoder, TextEncoder) and isinstance(encoder.vocabulary, Published):
            return Tokens(name, encoder)
        raise NoPortError(f"{type(encoder).__name__} has no published tokenizer that could be written to a file")
    if isinstance(encoder, Pretrained):
        if encoder.unfreeze:
            raise NoPortError(
                f"{type(encoder).__name__} trained {encoder.unfreeze} blocks of its backbone, which runs on the "
                "elements a mask names one by one: a loop over values, which a graph cannot follow"
            )
        made = sample if isinstance(sample, Features) else encoder.backbone(sample)
        return Frozen(name, encoder, made.tokens.shape[1])
    if isinstance(sample, Signal):
        assert isinstance(spec, SignalSpec)
        return Sequences(name, Signal, spec.length, sample.values.shape[2], sample.mask is not None, "samples")
    if isinstance(sample, Spectra):
        assert isinstance(spec, SpectraSpec)
        return Sequences(name, Spectra, spec.scans, sample.values.shape[2], True, "scans")
    if isinstance(sample, Table):
        assert isinstance(spec, TableSpec)
        return Columns(name, spec)
    if isinstance(sample, Images):
        return Pictures(name, tuple(sample.values.shape[1:]))
    assert isinstance(sample, Events)
    return Flat(name)
