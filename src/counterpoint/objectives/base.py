"""The role of an objective: the encoded views of a batch in, a loss out."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from counterpoint.types import Batch, Encoded, Loss, Prediction


class Objective(nn.Module, ABC):
    """Base of all objectives.

    A constructor takes an ``ObjectiveSpec`` as its one positional argument, because model and data decide it, and
    everything a recipe may set as keyword-only arguments. One that names outputs of the model calls them ``pairs``,
    those it compares, or ``modality``, the one it reads, so that ``within`` knows what a smaller model leaves of it.

    Attributes:
        views: how many views of a row the objective needs.
        pairs: outputs of the model that it compares with each other, by name: ``("fused", "text")``.
        classes_needed: how many classes the training rows must have for it to learn anything.
        estimates: whether it learns the target.
    """

    views: int = 2
    pairs: tuple[tuple[str, str], ...] = ()
    classes_needed: int = 0
    estimates: bool = False

    def plan(self, batches: int) -> None:
        """Told, before training, of how many batches it will be; objectives that change on the way need to know."""

    def fit_targets(self, targets: NDArray[np.float64] | None) -> None:
        """Told, before training, the targets (n,) of the training rows alone, NaN where unknown; None without any.

        What is learned of them is kept in buffers, and so in every checkpoint.

        Raises:
            ValueError: if nothing can be learned from them.
        """

    @classmethod
    def within(cls, outputs: Collection[str], settings: dict[str, Any]) -> dict[str, Any] | None:
        """Settings of the objective for a model that returns ``outputs`` alone; None where nothing is left of it.

        Pairs of which one side is gone are left out, and so is an objective that read a modality that is gone.

        Args:
            outputs: names of what the smaller model returns, the fused one included.
            settings: for the whole model.
        """
        known = {name: one.default for name, one in inspect.signature(cls).parameters.items()} | settings
        if known.get("modality") is not None and known["modality"] not in outputs:
            return None
        if "pairs" not in known:
            return settings
        pairs = [pair for pair in known["pairs"] if set(pair) <= set(outputs)]
        return settings | {"pairs": pairs} if pairs else None

    @abstractmethod
    def forward(self, views: list[dict[str, Encoded]], batch: Batch) -> Loss:
        """The loss of a batch, with the scalars that cost nothing to know."""

    def diagnose(self, views: list[dict[str, Encoded]], batch: Batch) -> dict[str, Tensor]:
        """Scalars too dear for every step; asked for when a row of the log is due, without gradient."""
        return {}

    def predict(self, encoded: dict[str, Encoded]) -> Prediction | None:
        """Class probabilities (B, K) of the encoded rows; None from an objective that predicts nothing."""
        return None

    def estimate(self, encoded: dict[str, Encoded]) -> Tensor | None:
        """The target (B,) of the encoded rows, in its own unit; None from an objective that does not learn it."""
        return None

    def heads(self, encoded: dict[str, Encoded]) -> dict[str, Prediction]:
        """What each head predicts, by the name of its term; ``""`` is the one head of an objective without terms.

        Rows that lack the modality a head reads are NaN in it: it knows nothing of them.
        """
        prediction = self.predict(encoded)
        return {} if prediction is None else {"": prediction}

    def project(self, encoded: dict[str, Encoded]) -> dict[str, Encoded]:
        """The outputs in ``pairs``, brought to the space in which they are compared."""
        return {}

    def similarity(self, a: Encoded, b: Encoded) -> Tensor:
        """Similarities (Na, Nb) of rows in that space, each of which hangs on its two rows alone."""
        raise ValueError(f"{type(self).__name__} compares no modalities with each other")


def narrowed(factory: Callable[..., Objective], outputs: Collection[str]) -> Callable[..., Objective] | None:
    """What is left of the factory of an objective for a smaller model; None where nothing is.

    Args:
        factory: of the objective for the whole model; a plain function is taken at its word.
        outputs: names of what the smaller model returns, the fused one included.
    """
    made, settings = (factory.func, factory.keywords) if isinstance(factory, partial) else (factory, {})
    if not (isinstance(made, type) and issubclass(made, Objective)):
        return factory
    left = made.within(outputs, settings)
    return None if left is None else partial(made, **left)
