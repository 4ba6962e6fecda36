"""Normal-only scoring: how far a row lies from training rows of the one class that is no defect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import numpy as np
from numpy.typing import NDArray

from counterpoint.evaluate.embeddings import Embeddings
from counterpoint.evaluate.intervals import Float
from counterpoint.evaluate.neighbours import Metric, nearest
from counterpoint.evaluate.probes import Evaluator, standardise


@final
@dataclass(frozen=True, kw_only=True)
class NormalDistance(Evaluator):
    """Mean distance to the nearest training rows of the normal class; rows of other classes are never looked at.

    The k-NN score of Ramaswamy et al. (SIGMOD 2000) in the mean form of Angiulli and Pizzuti (PKDD 2002). A distance
    d becomes d / (d + a), which never saturates and keeps the order. At d = a the two sides are even: a is the
    distance that only the share ``false_alarms`` of the training rows exceeds, each measured without itself. Where
    rows of a group are alike and tests are of new groups, more normal rows than that share are called defects.

    Args:
        normal: name of the class that is no defect.
        k: neighbours; all but one of the training rows where there are fewer.
        metric: the distance.
        scale: ``standard`` standardises every dimension by the normal training rows first.
        false_alarms: share of the training rows that would be called defects.
    """

    gives: ClassVar[Literal["probabilities", "order"]] = "order"

    normal: str
    k: int = 5
    metric: Metric = "cosine"
    scale: Literal["none", "standard"] = "none"
    false_alarms: float = 0.05

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"NormalDistance.k is {self.k}; use at least 1")
        if not 0 < self.false_alarms < 1:
            raise ValueError(f"NormalDistance.false_alarms is {self.false_alarms}; it is a share above 0 and below 1")

    @property
    def name(self) -> str:
        return f"{self.k}-NN distance to {self.normal}"

    def predict(self, train: Embeddings, test: Embeddings) -> Float:
        """See ``Evaluator.predict``; what is not the normal class shares its probability evenly over the others.

        Raises:
            ValueError: the normal class is unknown, is the only one, or has under two rows to train on.
        """
        place, others = self._place(train.classes), len(train.classes) - 1
        kept = train.take(train.labels == place)
        if len(kept) < 2:
            raise ValueError(
                f"{self.name}: {len(kept)} training row of class {self.normal!r}, at least 2 are needed; "
                "choose a split that trains on rows of it"
            )
        store: NDArray[np.floating[Any]] = kept.values
        queries: NDArray[np.floating[Any]] = test.values
        if self.scale == "standard":
            store, queries = standardise(store, queries)
        k = min(self.k, len(store) - 1)
        found = nearest(queries, store, k, self.metric)[0].mean(1)
        even = self._even(without_themselves(store, k, self.metric))
        probabilities = np.tile((found / (found + even) / others)[:, None], (1, others + 1))
        probabilities[:, place] = even / (found + even)
        return probabilities

    def _place(self, classes: tuple[str, ...]) -> int:
        if self.normal not in classes or len(classes) < 2:
            raise ValueError(
                f"NormalDistance.normal is {self.normal!r}, and the classes are {', '.join(classes) or 'none'}; "
                "name one of them, and have another to tell from it"
            )
        return classes.index(self.normal)

    def _even(self, distances: Float) -> float:
        """The distance at which both sides are even, above 0 whatever the (N,) distances of the training rows."""
        asked = float(np.quantile(distances, 1 - self.false_alarms))
        return asked or float(distances.max()) or 1.0


def without_themselves(store: NDArray[np.floating[Any]], k: int, metric: Metric) -> Float:
    """(N,) mean distance of every row to the k nearest others.

    Args:
        store: (N, D).
        k: under N.
        metric: the distance.
    """
    distances, found = nearest(store, store, k + 1, metric)
    own = found == np.arange(len(store))[:, None]
    # Of copies of a row the earliest come first, so a row need not be among its own nearest: then the last one goes.
    others = np.argsort(own, axis=1, kind="stable")[:, :k]
    return np.asarray(np.take_along_axis(distances, others, 1).mean(1), np.float64)
