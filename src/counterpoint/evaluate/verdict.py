"""What the scores of a run come to, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from counterpoint.evaluate.intervals import signed
from counterpoint.evaluate.metrics import LOWER_IS_BETTER, spoken
from counterpoint.evaluate.results import Result, difference

OWN_HEAD = ", its own head"
"""How the name of an answer ends that the objective gave itself."""


def verdict(metric: str, main: Sequence[Result], judged: Sequence[Result], rows: Sequence[dict[str, Any]]) -> str:
    """A headline and two sentences for a manager: against the best baseline, with the interval of the difference.

    Args:
        metric: the score that decides.
        main: results of the answer to judge.
        judged: results of all answers.
        rows: the score table of ``judged``.
    """
    own = next(row for row in rows if row["name"] == main[0].name)
    simple = [row for row in rows if row["kind"] == "baseline" and row["scores"][metric]["value"] is not None]
    score = own["scores"][metric]
    if score["value"] is None or not simple:
        return f"There is no verdict: the {spoken(metric)} of the test rows is undefined, they lack a class."
    sign = -1 if metric in LOWER_IS_BETTER else 1
    best = max(simple, key=lambda row: sign * row["scores"][metric]["value"])
    # A baseline without a seed stands for every seed; a model's seeds are pooled on the same groups.
    gap = difference(main, [r for r in judged if r.name == best["name"]], metric)
    least = gap.low if sign > 0 else -gap.high
    what = "model" if main[0].name.endswith(OWN_HEAD) else "encoder"
    head = {
        1: f"The {what} beats every baseline",
        0: f"The {what} is not distinguishable from the best baseline",
        -1: f"The {what} does NOT beat the baselines",
    }[1 if least > 0 else -1 if sign * gap.value <= 0 else 0]
    level = "prevalence" if metric == "auprc" else "chance"
    less = ", of which less is better," if sign < 0 else ""
    who = f"{main[0].name}," if what == "model" else f"The first evaluator, {main[0].name},"
    return (
        f"{head}. {who} reaches {_interval(score)} {spoken(metric)}{less} on {own['groups']} groups of "
        f"recordings it was not trained on ({level} {score['chance']:.3f}). The best baseline, {best['name']}, "
        f"reaches {_interval(best['scores'][metric])}: a difference of {signed(gap)}."
    )


def transfer_lines(scores: dict[str, Any]) -> list[str]:
    """What pre-training was worth at each share of the labels."""
    lines = []
    for gain in scores["gains"]:
        both = {
            p["start"]: _told(p["scores"][gain["metric"]])
            for p in scores["transfer"]
            if p["fraction"] == gain["fraction"]
        }
        lines.append(
            f"Fine-tuned on {100 * gain['fraction']:g} % of the labels: {spoken(gain['metric'])} "
            f"{both['pretrained']} pre-trained, {both['scratch']} from scratch, {gain['text']}."
        )
    return lines


def shot_lines(scores: dict[str, Any]) -> list[str]:
    """What the embeddings were worth with few labels."""
    lines = []
    for shot in scores["shots"]:
        gap = shot["difference"]
        own, simple = ((answer["name"], _told(answer["scores"][gap["metric"]])) for answer in shot["answers"])
        lines.append(
            f"With {shot['labels']} labels: {spoken(gap['metric'])} {own[1]} of {own[0]}, {simple[1]} of {simple[0]}, "
            f"{gap['text']}."
        )
    return lines


def _told(score: dict[str, Any]) -> str:
    return "undefined" if score["value"] is None else f"{score['value']:.3f}"


def _interval(score: Any) -> str:
    if score["low"] is None:
        return f"{score['value']:.3f} (one group, no interval)"
    return f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"
