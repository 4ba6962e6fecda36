"""Classes named by sentences: a row is of the class whose prompts are most similar to it, and no label was learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from counterpoint.evaluate.intervals import Float

ZERO_SHOT = "zero-shot by prompts"
"""What the answer is called."""


@dataclass(frozen=True)
class ZeroShot:
    """Classify rows by sentences that describe the classes, without any label.

    Args:
        prompts: class -> sentences; every class of the data needs at least one.
        temperature: what similarities are divided by before the softmax over classes: it changes the probabilities,
            and so Brier score and calibration, never the order of the classes.
    """

    prompts: dict[str, list[str]]
    temperature: float = 0.07

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"zero_shot.temperature is {self.temperature}; use a number above 0, such as 0.07")
        for name, sentences in self.prompts.items():
            if not sentences or not all(sentence.strip() for sentence in sentences):
                raise ValueError(f"zero_shot.prompts.{name} has an empty sentence or none; write at least one")

    def check(self, classes: Sequence[str]) -> None:
        """See that the prompts are of the classes.

        Raises:
            ValueError: naming the class that has none, or the prompts of a class that is none.
        """
        if not classes:
            raise ValueError("zero_shot: no recording is labelled, so no class can be told from another; leave it out")
        lacking = [name for name in classes if name not in self.prompts]
        if lacking:
            raise ValueError(f"zero_shot.prompts: no prompt for the class {lacking[0]!r}; write one for every class")
        strange = [name for name in self.prompts if name not in classes]
        if strange:
            raise ValueError(
                f"zero_shot.prompts: {strange[0]!r} is no class of the data, which are {', '.join(classes)}"
            )

    def sentences(self, classes: Sequence[str]) -> tuple[list[str], list[int]]:
        """All prompts, and of which class each is."""
        told = [(sentence, index) for index, name in enumerate(classes) for sentence in self.prompts[name]]
        return [sentence for sentence, _ in told], [index for _, index in told]

    def probabilities(self, similarities: Float, owners: Sequence[int], classes: int) -> Float:
        """Class probabilities of the rows.

        Args:
            similarities: (N, P) of rows with prompts.
            owners: of which class each prompt is.
            classes: K.

        Returns:
            (N, K) softmax over classes of the mean similarity with the prompts of each.
        """
        mean = np.zeros((len(owners), classes))
        mean[np.arange(len(owners)), owners] = 1
        scores = similarities @ (mean / mean.sum(0)) / self.temperature
        shares = np.exp(scores - scores.max(1, keepdims=True))
        return np.asarray(shares / shares.sum(1, keepdims=True), np.float64)
