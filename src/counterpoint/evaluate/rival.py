"""The best baseline of a table, and how the main answer stands against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from counterpoint.evaluate.intervals import signed
from counterpoint.evaluate.metrics import LOWER_IS_BETTER
from counterpoint.evaluate.results import Result, difference, known


def against_best(
    table: Sequence[Mapping[str, Any]], results: Sequence[Result], answer: str, metric: str
) -> dict[str, Any]:
    """``best``, the name of the best baseline, None without one; ``difference`` of the answer to it, empty without one.

    Args:
        table: of ``results``.
        results: of all answers, over folds and seeds.
        answer: name of the main one.
        metric: that decides.
    """
    sign = -1 if metric in LOWER_IS_BETTER else 1
    scored = {row["name"]: row["scores"][metric]["value"] for row in table if row["kind"] == "baseline"}
    simple = {name: sign * value for name, value in scored.items() if value is not None}
    best = max(simple, key=simple.__getitem__, default=None)
    if best is None:
        return {"best": None, "difference": {}}
    ours, theirs = ([result for result in results if result.name == name] for name in (answer, best))
    found = difference(ours, theirs, metric)
    gap = {"metric": metric, "value": known(found.value), "low": known(found.low), "high": known(found.high)}
    return {"best": best, "difference": gap | {"text": signed(found)}}


def with_interval(score: Mapping[str, Any]) -> str:
    """A score of a table for people: ``0.870 [0.801, 0.932]``."""
    if score["value"] is None:
        return "undefined"
    if score["low"] is None:
        return f"{score['value']:.3f}"
    return f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"
