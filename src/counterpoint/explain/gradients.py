"""Integrated gradients of one row: a probability or an estimate as a function of its continuous modalities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from counterpoint.encoders.base import Encoder
from counterpoint.encoders.pretrained.base import Pretrained
from counterpoint.model import FUSED, Model
from counterpoint.objectives import Objective
from counterpoint.types import Encoded, Modality, Signal, Spec, Spectra, Table, TableSpec

CONTINUOUS = (Signal, Spectra, Table)
_TOGETHER = 32
"""Points of the way that are run at a time, which bounds the memory and changes no value."""


class Integrated(NamedTuple):
    """Attributions of one row.

    Attributes:
        values: of the inputs, in their shapes.
        score: of the row.
        start: of the baseline.
        error: by how much the attributions miss ``score - start`` in sum.
    """

    values: tuple[Tensor, ...]
    score: float
    start: float
    error: float


def integrated(
    score: Callable[..., Tensor], inputs: Sequence[Tensor], baselines: Sequence[Tensor], steps: int
) -> Integrated:
    """Integrated gradients, by ``captum``, along the straight way from baselines to inputs.

    Args:
        score: tensors (n, ...) -> (n,), rows by themselves.
        inputs: (1, ...) each.
        baselines: of the same shapes.
        steps: points of the way, of Gauss-Legendre quadrature.

    Raises:
        ModuleNotFoundError: where ``captum`` is not installed.
    """
    method = captum()(score)
    ends = tuple(one.detach() for one in inputs), tuple(one.detach() for one in baselines)
    with torch.enable_grad():
        found = method.attribute(*ends, n_steps=steps, internal_batch_size=_TOGETHER)
    with torch.no_grad():
        last, first = (float(score(*end)) for end in ends)
    total = sum(float(one.double().sum()) for one in found)
    return Integrated(tuple(one.detach() for one in found), last, first, abs(total - (last - first)))


def captum() -> Any:
    """The class of the library, imported late: it brings matplotlib and is an extra."""
    try:
        from captum.attr import IntegratedGradients
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "attributions need the captum library: pip install 'counterpoint[explain]', or leave "
            "evaluation.attributions out"
        ) from error
    return IntegratedGradients


class Question:
    """The answer for one row, a class's probability or an estimate, as a function of what can be integrated over."""

    def __init__(self, model: Model, objective: Objective, view: Mapping[str, Modality], names: Sequence[str]) -> None:
        """Ask of a row.

        Args:
            model: in evaluation mode.
            objective: that predicts classes, or else estimates a number.
            view: (1, ...) its modalities.
            names: of those that are integrated over; the others stay as they are.
        """
        self._model, self._objective, self._view, self.names = model, objective, dict(view), tuple(names)
        with torch.no_grad():
            self._still = {name: self._encoder(name)(view[name]) for name in model.encoders if name not in names}
        self.target = 0

    def answers(self, *values: Tensor) -> Tensor:
        """(n, K) probabilities, or (n, 1) estimates, of (n, ...) values of each modality that is integrated over."""
        count = len(values[0])
        encoded = {name: _repeated(one, count) for name, one in self._still.items()}
        for name, value in zip(self.names, values, strict=True):
            own = self._view[name]
            assert isinstance(own, CONTINUOUS)
            mask = None if own.mask is None else own.mask.expand(count, *own.mask.shape[1:])
            encoded[name] = self._encoder(name)(type(own)(value, mask))
        encoded[FUSED] = self._model.fusion({name: encoded[name] for name in self._model.fused})
        found = answered(self._objective, encoded)
        assert found is not None
        return found

    def __call__(self, *values: Tensor) -> Tensor:
        """(n,) of the answer ``target``."""
        return self.answers(*values)[:, self.target]

    def _encoder(self, name: str) -> Encoder:
        encoder = self._model.encoders[name]
        assert isinstance(encoder, Encoder)
        return encoder


def answered(objective: Objective, encoded: dict[str, Encoded]) -> Tensor | None:
    """Class probabilities (B, K) of encoded rows, or else estimates (B, 1); None of an objective that has neither."""
    predicted = objective.predict(encoded)
    if predicted is not None:
        return predicted.probabilities
    estimated = objective.estimate(encoded)
    return None if estimated is None else estimated.unsqueeze(1)


def unfit(encoder: Encoder, spec: Spec, modality: Modality) -> str:
    """Why a modality cannot be integrated over; "" where it can."""
    if not isinstance(modality, CONTINUOUS):
        return f"{type(modality).__name__.lower()} are no numbers that could be moved step by step"
    if isinstance(encoder, Pretrained) and not encoder.unfreeze:
        return f"{type(encoder).__name__} stands on a frozen backbone, through which no gradient is kept"
    if isinstance(spec, TableSpec) and all(spec.levels):
        return "it has columns of levels alone, between which there is no way"
    return ""


def real(modality: Modality) -> Tensor:
    """Which values of a modality are real, in their shape."""
    assert isinstance(modality, CONTINUOUS)
    values, mask = modality.values, modality.mask
    if mask is None:
        return torch.ones_like(values, dtype=torch.bool)
    return mask.view(*mask.shape, *([1] * (values.ndim - mask.ndim))).expand_as(values)


def moving(spec: Spec, modality: Modality) -> Tensor:
    """Which values are integrated over: those that are real, and of a table those of columns of numbers."""
    found = real(modality)
    if isinstance(spec, TableSpec):
        found = found & torch.tensor([not levels for levels in spec.levels], device=found.device)
    return found


def _repeated(encoded: Encoded, count: int) -> Encoded:
    tokens, mask, pooled = (one.expand(count, *one.shape[1:]) for one in encoded[:3])
    return Encoded(tokens, mask, pooled)
