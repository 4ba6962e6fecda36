"""The tuples every part of Counterpoint exchanges, and the legend of their shapes.

Legend: B rows of a batch, L elements in time (samples, sets, patches), C channels, D embedding width, Z width of a
latent variable; E events and S sets of a whole batch, which travel flat, without padding; W points of a spectrum,
F columns of a table.
``True`` in a mask means *real*, everywhere. A missing modality is a row whose mask is all ``False``.
The tuples are ``NamedTuple``s so that Lightning moves and pins them without any code.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from torch import Tensor, device

UNLABELLED = -1
"""The label of a row whose class is not known. Never a class of its own."""


class Signal(NamedTuple):
    """One modality of a batch that is sampled regularly.

    Attributes:
        values: (B, L, C) float, channels last.
        mask: (B, L) bool, True = real; None when every element is real.
    """

    values: Tensor
    mask: Tensor | None = None


class Events(NamedTuple):
    """One modality of a batch that happens irregularly: sequences of sets of events, flat, nothing padded.

    The events of one moment are a set, the sets of a row are in the order of time.

    Attributes:
        values: (E,) float, standardised; 0 is the mean of the variable over the training rows.
        codes: (E,) int64, the variable of every event, an index into the names of the spec.
        times: (S,) float, hours, of every set.
        sets: (S + 1,) int64, offsets: set s holds the events ``sets[s]:sets[s + 1]``, at least one.
        rows: (B + 1,) int64, offsets: row b holds the sets ``rows[b]:rows[b + 1]``; a row that has none lacks
            the modality.
        keys: (B,) int64, the number that alone decides the randomness of a row.
    """

    values: Tensor
    codes: Tensor
    times: Tensor
    sets: Tensor
    rows: Tensor
    keys: Tensor


class Images(NamedTuple):
    """One modality of a batch that is pictures: frames of a video, or photographs.

    Attributes:
        values: (B, L, 3, H, W) uint8, red, green, blue from 0 to 255.
        mask: (B, L) bool, True = real; None when every picture is real.
    """

    values: Tensor
    mask: Tensor | None = None


class Text(NamedTuple):
    """One modality of a batch that is language.

    Attributes:
        sentences: B of them; "" for a row that has none. Its encoder knows how they become tokens.
    """

    sentences: tuple[str, ...]


class Features(NamedTuple):
    """What the frozen part of an encoder makes of a modality, computed once and kept.

    Attributes:
        tokens: (B, L, D) float.
        mask: (B, L) bool, True = real.
    """

    tokens: Tensor
    mask: Tensor


class Spectra(NamedTuple):
    """One modality of a batch that is spectra: several scans of a specimen, all over one axis.

    Attributes:
        values: (B, S, W) float, the intensity of every scan at every point of the axis.
        mask: (B, S) bool, True = a scan was made; None when every scan was.
    """

    values: Tensor
    mask: Tensor | None = None


class Table(NamedTuple):
    """One modality of a batch that is a row of a table.

    Attributes:
        values: (B, F) float: a number, standardised, or of a categorical column the index of its level.
        mask: (B, F) bool, True = known; a row that knows nothing lacks the modality. None when all is known.
    """

    values: Tensor
    mask: Tensor | None = None


Modality: TypeAlias = Signal | Events | Images | Text | Spectra | Table | Features


def moved(modality: Modality, place: device) -> Modality:
    """The same modality with its tensors on a device; ``Batch``es are moved by Lightning."""
    parts = (part.to(place) if isinstance(part, Tensor) else part for part in modality)
    return type(modality)(*parts)  # type: ignore[arg-type]


class Batch(NamedTuple):
    """What a loader yields.

    Attributes:
        views: one dict a view, modality name -> what was recorded of it; row i of each is of recording ``ids[i]``.
        labels: (B,) int64 class index, ``UNLABELLED`` where none is known.
        groups: (B,) int64, what never stands on both sides of a split: a bearing, a patient, a plate.
        domains: (B,) int64, the operating condition: a load, a site.
        ids: (B,) int64 row of the recording in the data's table.
        targets: (B,) float32 number to be predicted, NaN where unknown; None where the data have none.
    """

    views: list[dict[str, Modality]]
    labels: Tensor
    groups: Tensor
    domains: Tensor
    ids: Tensor
    targets: Tensor | None = None


class Latent(NamedTuple):
    """A Gaussian latent variable a token, as a variational encoder infers it.

    Attributes:
        mean: (B, L', Z) of the posterior.
        log_variance: (B, L', Z) of the posterior.
        sample: (B, L', Z) drawn from it in training; the mean otherwise.
    """

    mean: Tensor
    log_variance: Tensor
    sample: Tensor


class Encoded(NamedTuple):
    """What every encoder and every fusion returns.

    Attributes:
        tokens: (B, L', D).
        mask: (B, L') bool, True = real.
        pooled: (B, D), the embedding.
        latent: what the tokens were inferred through; None for encoders that are not variational.
    """

    tokens: Tensor
    mask: Tensor
    pooled: Tensor
    latent: Latent | None = None


class Loss(NamedTuple):
    """An objective's answer: the scalar to minimise and detached scalars worth watching."""

    value: Tensor
    logs: dict[str, Tensor]


class Prediction(NamedTuple):
    """What a predicting objective says of a batch: (B, K) class probabilities."""

    probabilities: Tensor


class SignalSpec(NamedTuple):
    """What an encoder of signals must know of its modality before it is built.

    Attributes:
        channels: C.
        length: the largest L a batch will bring, in samples.
        rate: samples a second; 0.0 where the recordings do not share one.
    """

    channels: int
    length: int
    rate: float


class EventSpec(NamedTuple):
    """What an encoder of events must know of its modality before it is built.

    Attributes:
        variables: their names, by code.
        sets: the largest number of sets a row will bring.
        events: the largest number of events a set will bring.
    """

    variables: tuple[str, ...]
    sets: int
    events: int


class ImageSpec(NamedTuple):
    """What an encoder of pictures must know of its modality before it is built.

    Attributes:
        frames: the largest number of pictures a row will bring.
        height: of a picture, in pixels.
        width: of a picture, in pixels.
        rate: pictures a second; 0.0 for photographs and where rows do not share one.
    """

    frames: int
    height: int
    width: int
    rate: float


class TextSpec(NamedTuple):
    """What an encoder of sentences must know of its modality before it is built.

    Attributes:
        words: of the longest sentence.
    """

    words: int


class SpectraSpec(NamedTuple):
    """What an encoder of spectra must know of its modality before it is built.

    Attributes:
        scans: the largest number of scans a row will bring.
        axis: the W points of the axis, ascending, after all treatment that the reader gives.
        unit: of the axis, for people, such as ``cm-1``; "" where it is not told.
    """

    scans: int
    axis: tuple[float, ...]
    unit: str


class TableSpec(NamedTuple):
    """What an encoder of tables must know of its modality before it is built.

    Attributes:
        columns: names of the F columns.
        levels: of each column the names of its levels, in the order of their indices; empty for a column of numbers.
    """

    columns: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]


Spec: TypeAlias = SignalSpec | EventSpec | ImageSpec | TextSpec | SpectraSpec | TableSpec


class ObjectiveSpec(NamedTuple):
    """What an objective must know before it is built.

    Attributes:
        dims: width of every output of the model, by modality, the fused one included.
        latents: width of the latent variable of every modality, 0 where its encoder has none.
        classes: names of the classes, in the order of their indices; empty when nothing is labelled.
        specs: what the data say of each modality.
        target: name of the number to be predicted; "" where the data have none.
    """

    dims: dict[str, int]
    latents: dict[str, int]
    classes: tuple[str, ...]
    specs: dict[str, Spec]
    target: str = ""


class Estimate(NamedTuple):
    """A score with its 95 % interval and the number of independent groups behind it."""

    value: float
    low: float
    high: float
    groups: int
