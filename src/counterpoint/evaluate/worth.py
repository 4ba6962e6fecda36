"""What each modality of a fused embedding is worth: the main answer beside those that had one alone or lacked one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from counterpoint.evaluate.embeddings import Truth
from counterpoint.evaluate.intervals import Int, signed
from counterpoint.evaluate.metrics import LOWER_IS_BETTER, spoken
from counterpoint.evaluate.results import Result, difference, known

Way = Literal["alone", "without"]


@dataclass(frozen=True)
class Modalities:
    """What each modality of a fused embedding is worth, beside the answer that has all of them.

    Args:
        alone: ``trained`` also trains, for every fused modality, a model of that one alone: the same recipe, fold and
            seed, the same published backbones, all else afresh. Recordings that lack it are left out.
        missing: ``scored`` also judges the fused model with each of its modalities hidden from the test rows. Rows
            that have no other are left out, and counted.
    """

    alone: Literal["trained", "off"] = "trained"
    missing: Literal["scored", "off"] = "scored"

    def __post_init__(self) -> None:
        if self.alone == self.missing == "off":
            raise ValueError("modalities: alone and missing are both off; leave evaluation.modalities out")


def title(modality: str, way: Way) -> str:
    """How the names of such answers begin: ``sensor alone``, ``without sensor``."""
    return f"{modality} alone" if way == "alone" else f"without {modality}"


def worth(
    modalities: Sequence[str],
    main: Sequence[Result],
    judged: Sequence[Result],
    rows: Sequence[dict[str, Any]],
    metric: str,
) -> dict[str, Any]:
    """The main answer against each modality alone, and against itself without each.

    Args:
        modalities: that are fused.
        main: results of the main answer.
        judged: results of all answers.
        rows: the score table of ``judged``.
        metric: what differences are of.

    Returns:
        A JSON-able dict: ``metric``; ``fused``, the row of the main answer; ``alone`` and ``without``, a row a modality
        with ``left_out``, test rows of the main answer that it has none for, and ``difference``, the main answer minus
        it on the rows of both; ``best``, the modality that is best alone, by its own rows, None where there is none.
    """
    table = {row["name"]: row for row in rows}
    fused = table[main[0].name]
    found: dict[str, Any] = {"metric": metric, "fused": fused}
    ways: tuple[Way, ...] = ("alone", "without")
    for way in ways:
        found[way] = []
        for modality in modalities:
            own = [result for result in judged if result.name.startswith(f"{title(modality, way)}, ")]
            if own:
                row = table[own[0].name]
                gap = {"left_out": fused["rows"] - row["rows"], "difference": _difference(main, own, metric)}
                found[way].append({"modality": modality} | row | gap)
    scored = [one for one in found["alone"] if one["scores"][metric]["value"] is not None]
    sign = -1 if metric in LOWER_IS_BETTER else 1
    best = max(scored, key=lambda one: sign * one["scores"][metric]["value"], default=None)
    return found | {"best": best["modality"] if best else None}


def _difference(main: Sequence[Result], other: Sequence[Result], metric: str) -> dict[str, Any]:
    ours, theirs = on_common_rows(main, other)
    if not ours:
        return {"metric": metric, "value": None, "low": None, "high": None, "text": "not comparable: no row of both"}
    gap = difference(ours, theirs, metric)
    numbers = {"value": known(gap.value), "low": known(gap.low), "high": known(gap.high)}
    return {"metric": metric} | numbers | {"text": signed(gap)}


def on_common_rows(first: Sequence[Result], second: Sequence[Result]) -> tuple[list[Result], list[Result]]:
    """Two answers on the test rows that both have, a fold and a seed at a time.

    A fold and seed that only one has is left out. So is one in which a recording has more rows in one answer than in
    the other, since which of them belong together cannot be known.
    """
    partners = {(result.fold, result.seed): result for result in second}
    pairs = []
    for ours in first:
        theirs = partners.get((ours.fold, ours.seed))
        if theirs is None:
            continue
        shared = np.intersect1d(ours.truth.ids, theirs.truth.ids)
        if len(shared):
            one, other = _of(ours, shared), _of(theirs, shared)
            if np.array_equal(one.truth.ids, other.truth.ids):
                pairs.append((one, other))
    return [one for one, _ in pairs], [other for _, other in pairs]


def _of(result: Result, recordings: Int) -> Result:
    """The rows of some recordings."""
    rows = np.isin(result.truth.ids, recordings)
    *columns, classes = result.truth
    labels, groups, domains, ids = (column[rows] for column in columns)
    truth = Truth(labels, groups, domains, ids, classes)
    return replace(result, probabilities=result.probabilities[rows], truth=truth)


def modality_lines(scores: dict[str, Any]) -> list[str]:
    """What is printed of it: fused against the best single modality, and a line for each that was hidden."""
    found = scores["modalities"]
    if not found:
        return []
    metric = found["metric"]
    lines = []
    if found["alone"]:
        best = next((one for one in found["alone"] if one["modality"] == found["best"]), None)
        line = f"Fused {spoken(metric)} {_told(found['fused']['scores'][metric])}"
        if best is not None:
            line += f"; best single modality, {best['modality']}: {_told(best['scores'][metric])}"
            line += f"; fused minus {best['modality']} {best['difference']['text']}"
        lines.append(f"{line}.")
    for one in found["without"]:
        left = f"; {one['left_out']} test rows have nothing else and are left out" if one["left_out"] else ""
        lines.append(
            f"Without {one['modality']} at test: {_told(one['scores'][metric])}; fused minus that "
            f"{one['difference']['text']}{left}."
        )
    return lines


def _told(score: dict[str, Any]) -> str:
    if score["value"] is None:
        return "undefined"
    if score["low"] is None:
        return f"{score['value']:.3f} (one group, no interval)"
    return f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"
