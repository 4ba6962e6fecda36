"""The tuples every part of Counterpoint exchanges, and the legend of their shapes.

Legend: B rows of a batch, L elements in time (samples, events, patches), C channels, D embedding width.
``True`` in a mask means *real*, everywhere. A missing modality is a row whose mask is all ``False``.
The tuples are ``NamedTuple``s so that Lightning moves and pins them without any code.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

UNLABELLED = -1
"""The label of a row whose class is not known. Never a class of its own."""


class Signal(NamedTuple):
    """One modality of a batch.

    Attributes:
        values: (B, L, C) float, channels last.
        mask: (B, L) bool, True = real; None when every element is real.
        times: (B, L) seconds; None when sampling is regular.
        codes: (B, L) int, the variable an event belongs to; None for plain signals.
    """

    values: Tensor
    mask: Tensor | None = None
    times: Tensor | None = None
    codes: Tensor | None = None


class Batch(NamedTuple):
    """What a loader yields.

    Attributes:
        views: one dict a view, modality name -> Signal. Row i of every view comes from recording ``ids[i]``.
        labels: (B,) int64 class index, ``UNLABELLED`` where none is known.
        groups: (B,) int64, what never stands on both sides of a split: a bearing, a patient, a plate.
        domains: (B,) int64, the operating condition: a load, a site.
        ids: (B,) int64 row of the recording in the data's table.
    """

    views: list[dict[str, Signal]]
    labels: Tensor
    groups: Tensor
    domains: Tensor
    ids: Tensor


class Encoded(NamedTuple):
    """What every encoder and every fusion returns.

    Attributes:
        tokens: (B, L', D).
        mask: (B, L') bool, True = real.
        pooled: (B, D), the embedding.
    """

    tokens: Tensor
    mask: Tensor
    pooled: Tensor


class Loss(NamedTuple):
    """An objective's answer: the scalar to minimise and detached scalars worth watching."""

    value: Tensor
    logs: dict[str, Tensor]


class Prediction(NamedTuple):
    """What a predicting objective says of a batch: (B, K) class probabilities."""

    probabilities: Tensor


class SignalSpec(NamedTuple):
    """What an encoder must know of its modality before it is built.

    Attributes:
        channels: C.
        length: the largest L a batch will bring, in samples.
        rate: samples a second; 0.0 where the recordings do not share one.
    """

    channels: int
    length: int
    rate: float


class Estimate(NamedTuple):
    """A score with its 95 % interval and the number of independent groups behind it."""

    value: float
    low: float
    high: float
    groups: int
