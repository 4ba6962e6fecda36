"""Canonical correlation analysis: what two modalities have in common that a linear map of hand features shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from counterpoint.data.base import Rows
from counterpoint.data.hiding import shown
from counterpoint.data.sampling import PassSampler, loader
from counterpoint.evaluate.baselines import hand_features
from counterpoint.evaluate.intervals import Float
from counterpoint.types import Batch, Signal, SignalSpec, Spec

VALUES = "values"
"""The signal itself, as a feature set: what a linear map of it can do has to be beaten first."""
_NUMBERS = 4096
"""Most values of a row; of a longer one the mean of neighbours in time."""
_READ = 256


class Features(NamedTuple):
    """What a side of a pair is known by without a model.

    Attributes:
        sets: (N, F) hand features by name.
        present: (N,) which rows have the side.
    """

    sets: dict[str, Float]
    present: NDArray[np.bool_]


def features(rows: Rows, specs: Mapping[str, Spec], classes: tuple[str, ...], names: tuple[str, ...]) -> Features:
    """Hand features of some modalities side by side: ``VALUES`` of signals, and the sets of the baselines.

    The latter want whole windows; where a row is padded they are left out.

    Args:
        rows: of ``Data.evaluation``.
        specs: of the modalities.
        classes: names of the classes.
        names: of the recordings by id.
    """
    values: list[Float] = []
    present, padded = [], False
    for batch in loader(rows, PassSampler(rows, batch_size=_READ)):
        view = batch.views[0]
        present.append(torch.stack([shown(view[name]) for name in specs], 1).any(1).numpy())
        signals = [_values(batch, name, spec) for name, spec in specs.items() if isinstance(spec, SignalSpec)]
        values += [np.concatenate(signals, 1)] if signals else []
        padded = padded or any(_padded(view[name]) for name in specs)
    found = {VALUES: np.concatenate(values)} if values else {}
    if not padded:
        batches = loader(rows, PassSampler(rows, batch_size=_READ))
        hand = hand_features(rows, batches, specs=specs, classes=classes, names=names)
        found |= {name: embedded.values.astype(np.float64) for name, embedded in hand.sets.items()}
    return Features(found, np.concatenate(present))


def _values(batch: Batch, name: str, spec: SignalSpec) -> Float:
    """(B, F) of a signal: its real part, brought to a set length; zeros where there is none."""
    signal = batch.views[0][name]
    assert isinstance(signal, Signal)
    length = max(1, min(spec.length, _NUMBERS // spec.channels))
    found = np.zeros((len(signal.values), length * spec.channels))
    for row, values in enumerate(signal.values):
        real = values if signal.mask is None else values[signal.mask[row]]
        if len(real):
            found[row] = F.adaptive_avg_pool1d(real.T.unsqueeze(0), length).double().flatten().numpy()
    return found


def _padded(modality: object) -> bool:
    """Whether a row of a signal is neither whole nor absent."""
    if not isinstance(modality, Signal) or modality.mask is None:
        return False
    return bool((modality.mask.any(1) & ~modality.mask.all(1)).any())


class _Side(NamedTuple):
    """From the features of one modality to its canonical variates."""

    mean: Float
    scale: Float
    weights: Float

    def project(self, values: Float) -> Float:
        return np.asarray((values - self.mean) / self.scale @ self.weights, np.float64)


class Fitted(NamedTuple):
    """Canonical variates of two modalities.

    Attributes:
        first: of one modality.
        second: of the other.
        correlations: (K,) between the variates on the rows fitted on, largest first; the ridge makes them smaller.
    """

    first: _Side
    second: _Side
    correlations: NDArray[np.float64]

    def project(self, first: Float, second: Float) -> tuple[Float, Float]:
        """(N, K) variates of each, weighed by their correlations: cosines then say what is shared.

        Args:
            first: (N, P) features of one modality.
            second: (M, Q) features of the other.
        """
        return self.first.project(first) * self.correlations, self.second.project(second) * self.correlations


@dataclass(frozen=True, kw_only=True)
class CCA:
    """Regularised canonical correlation analysis (Hotelling 1936; Vinod 1976 for the ridge), by singular values.

    Features are standardised and brought to their principal components, a share of whose mean variance is added to the
    variance of each before it is made white; the variates are the singular vectors of the covariance of both sides.

    Args:
        components: most principal components of a side.
        ridge: what is added to the variance of each, in mean variances.
        seed: of the randomised singular values.
    """

    components: int = 128
    ridge: float = 0.1
    seed: int = 0

    def fit(self, first: Float, second: Float) -> Fitted:
        """Fit to rows that have both modalities.

        Args:
            first: (N, P) features of one modality.
            second: (N, Q) features of the other.

        Raises:
            ValueError: fewer than 3 rows, or a side whose features are all constant.
        """
        if len(first) < 3 or len(first) != len(second):
            raise ValueError(f"CCA wants at least 3 rows that have both modalities, not {len(first)}, {len(second)}")
        (ours, first), (theirs, second) = self._white(first), self._white(second)
        left, correlations, right = np.linalg.svd(first.T @ second / len(first), full_matrices=False)
        ours, theirs = (side._replace(weights=side.weights @ turn) for side, turn in ((ours, left), (theirs, right.T)))
        return Fitted(ours, theirs, correlations)

    def _white(self, values: Float) -> tuple[_Side, Float]:
        """The map to white principal components, and (N, C) the rows so mapped."""
        from sklearn.utils.extmath import randomized_svd

        mean, scale = values.mean(0), values.std(0)
        varies = scale > 1e-9 * np.maximum(1.0, np.abs(mean))
        if not varies.any():
            raise ValueError("CCA wants features that vary; all of those of one modality are constant")
        scale = np.where(varies, scale, np.inf)
        scored = (values - mean) / scale
        wanted = min(self.components, len(values) - 1, int(varies.sum()))
        _, lengths, axes = randomized_svd(scored, wanted, random_state=self.seed)
        axes, powers = axes[lengths > 1e-7 * lengths[0]].T, lengths[lengths > 1e-7 * lengths[0]] ** 2
        weights = axes / np.sqrt((powers + self.ridge * powers.mean()) / len(values))
        return _Side(mean, scale, weights), scored @ weights
