"""What the simulator of spectra plants, and the best that anyone can do who sees one modality, or both: exact."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

HIGH = 0.287
"""Share of the specimens whose doublet leans high, and, independently of it, of those whose CRP is high."""
FLIPPED = 0.03
"""Share of the labels that are the other one, whatever the rest says."""
SHARES = {"spectra": 0.35, "table": 0.35, "product": 0.20, "noise": 0.10}
"""Of the variance of the target: a pigment in the spectra, the age in the table, their product, and chance."""

SEES = {"nothing": (False, False), "spectra": (True, False), "table": (False, True), "both": (True, True)}
"""Who sees what: (the doublet, the CRP)."""


class Planted(NamedTuple):
    """What decides label and target of n specimens.

    Attributes:
        leaning: (n,) whether the doublet leans high; only the spectra tell.
        inflamed: (n,) whether the CRP is high; only the table tells.
        flipped: (n,) whether chance turned the label.
        pigment: (n,) standard normal, logarithm of the carotenoid bands; only the spectra tell.
        age: (n,) standard normal; only the table tells.
        chance: (n,) standard normal; nothing tells.
    """

    leaning: Bool
    inflamed: Bool
    flipped: Bool
    pigment: Float
    age: Float
    chance: Float

    @property
    def positive(self) -> Bool:
        """(n,) the label: exactly one of doublet and CRP is high, unless chance turned it."""
        label: Bool = self.leaning ^ self.inflamed ^ self.flipped
        return label

    @property
    def target(self) -> Float:
        """(n,) the target, of mean 0 and variance 1."""
        parts = {
            "spectra": self.pigment,
            "table": self.age,
            "product": self.pigment * self.age,
            "noise": self.chance,
        }
        total: Float = np.sum([np.sqrt(SHARES[name]) * part for name, part in parts.items()], axis=0)
        return total


def plant(count: int, rng: np.random.Generator) -> Planted:
    """Draw what decides label and target of ``count`` specimens; all of it independent."""
    return Planted(
        leaning=rng.random(count) < HIGH,
        inflamed=rng.random(count) < HIGH,
        flipped=rng.random(count) < FLIPPED,
        pigment=rng.normal(size=count),
        age=rng.normal(size=count),
        chance=rng.normal(size=count),
    )


def bayes_rates() -> dict[str, dict[str, float]]:
    """Score -> who sees what -> the best expected score, exact, by enumeration of the eight cases of the label.

    ``additive`` is the best of all rules that put a threshold on a sum of something of the spectra and something of the
    table, as averaging two models does. Reading the planted variables off noisy scans costs a little more; both are
    drawn far apart.

    Returns:
        ``accuracy``, ``balanced_accuracy``, ``auroc`` of the label and ``r2`` of the target.
    """
    joint = _joint()
    found: dict[str, dict[str, float]] = {"accuracy": {}, "balanced_accuracy": {}, "auroc": {}}
    for name, (doublet, marker) in SEES.items():
        seen = joint if doublet else joint.sum(0, keepdims=True)
        seen = (seen if marker else seen.sum(1, keepdims=True)).reshape(-1, 2)
        found["accuracy"][name] = float(seen.max(1).sum())
        found["balanced_accuracy"][name] = float((seen / seen.sum(0)).max(1).sum() / 2)
        found["auroc"][name] = _auroc(seen)
    found["accuracy"]["additive"] = _additive(joint)
    found["balanced_accuracy"]["additive"] = _additive(joint / joint.sum((0, 1)) / 2)
    found["r2"] = {
        "nothing": 0.0,
        "spectra": SHARES["spectra"],
        "table": SHARES["table"],
        "both": 1.0 - SHARES["noise"],
        "additive": SHARES["spectra"] + SHARES["table"],
    }
    return found


def _joint() -> Float:
    """(2, 2, 2) probability of (leaning, inflamed, label)."""
    joint = np.zeros((2, 2, 2))
    for leaning, inflamed, flipped in product((0, 1), repeat=3):
        shares = (HIGH if leaning else 1 - HIGH, HIGH if inflamed else 1 - HIGH, FLIPPED if flipped else 1 - FLIPPED)
        joint[leaning, inflamed, leaning ^ inflamed ^ flipped] += np.prod(shares)
    return joint


def _additive(joint: Float) -> float:
    """Best weight of right answers by a threshold on a sum: all rules of two bits but XOR and its reverse."""
    best = 0.0
    for rule in product((0, 1), repeat=4):
        answers = np.array(rule).reshape(2, 2)
        if answers[0, 0] == answers[1, 1] != answers[0, 1] == answers[1, 0]:
            continue
        best = max(best, float(np.take_along_axis(joint, answers[..., None], 2).sum()))
    return best


def _auroc(seen: Float) -> float:
    """Of the likelihood ratio, from (k, 2) probabilities of what is seen and the label; a tie counts half."""
    negative, positive = (seen / seen.sum(0)).T
    ratio = positive * negative[:, None] - positive[:, None] * negative
    wins: Float = (ratio > 1e-12) + 0.5 * (np.abs(ratio) <= 1e-12)
    return float(negative @ wins @ positive)


def in_words(rates: Mapping[str, Mapping[str, float]]) -> str:
    """The rates in two lines, for people."""
    accuracy, r2 = rates["accuracy"], rates["r2"]
    return (
        f"Best possible accuracy: {accuracy['spectra']:.3f} by the spectra, {accuracy['table']:.3f} by the table, "
        f"{accuracy['additive']:.3f} by their sum, {accuracy['both']:.3f} by both; "
        f"the larger class has {accuracy['nothing']:.3f}.\n"
        f"Best possible R2 of the target: {r2['spectra']:.2f}, {r2['table']:.2f}, {r2['additive']:.2f} "
        f"and {r2['both']:.2f}."
    )
