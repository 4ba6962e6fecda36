"""Which inputs a predicted probability hangs on: settings, rows, and what they come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

METHOD = "integrated gradients (Sundararajan et al. 2017)"
ALIKE = 0.5
"""Rank correlation with a model of random weights from which on attributions say little of what was learned."""


@dataclass(frozen=True, kw_only=True)
class Attributions:
    """What the predicted probability hangs on, input by input: integrated gradients of the first cell.

    Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks" (2017, arXiv 1703.01365). The attributions of
    a row add up to its predicted probability, or its estimate, minus that of the baseline; they tell what the model
    answers by, not what causes the answer.

    Args:
        rows: test rows, as many of each class as there are.
        steps: points of the way from the baseline to the row.
        baseline: where the way begins: zero, which is the mean of what is standardised by the training rows; or the
            mean of the training rows themselves, point by point.
    """

    rows: int = 32
    steps: int = 64
    baseline: Literal["zero", "mean"] = "zero"

    def __post_init__(self) -> None:
        if self.rows < 1 or self.steps < 2:
            raise ValueError(f"attributions: rows is {self.rows}, at least 1; steps is {self.steps}, at least 2")


def chosen(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Up to ``count`` rows, as many of each label as there are, spread evenly over those of the label; ascending."""
    classes = np.unique(labels)
    room, taken = min(count, len(labels)), list[NDArray[np.int64]]()
    # The rarest first: what they cannot fill goes to the others.
    for left, label in zip(
        range(len(classes), 0, -1), sorted(classes, key=lambda one: (labels == one).sum()), strict=True
    ):
        own = np.flatnonzero(labels == label)
        share = min(len(own), -(-room // left))
        taken.append(own[np.linspace(0, len(own) - 1, share).round().astype(np.int64)] if share else own[:0])
        room -= share
    return np.sort(np.concatenate(taken)) if taken else np.zeros(0, np.int64)


def attribution_lines(scores: Mapping[str, Any]) -> list[str]:
    """What the attributions come to, in a line or two; nothing where nobody asked."""
    found = scores["attributions"]
    if not found:
        return []
    whole = found["completeness"]
    lines = [
        f"Attributions of {found['rows']} test rows by {found['method']}: they add up to the change of {found['of']} "
        f"with an error of {whole['largest']:.1g} at most, {whole['span']:.2g} being the change on average"
    ]
    for name, alike in found["sanity"].items():
        if alike is not None and alike > ALIKE:
            lines.append(
                f"Attributions of {name}: a model of random weights has much the same ones (rank correlation "
                f"{alike:.2f}), so they say little of what was learned (Adebayo et al. 2018)"
            )
    return [*lines, *(f"Not attributed: {name}, {reason}" for name, reason in found["left_out"].items()), ""]
