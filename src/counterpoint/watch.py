"""The watch: what is wrong with a training, read from its log, with the figure that shows it and what to do first."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from counterpoint.log import Record

MIN_RECORDS = 6
"""Rows of the log before anything is said: a warm-up looks like a disease."""


def findings(history: Sequence[Record]) -> dict[str, str]:
    """What the log of a run shows to be wrong, cause -> a sentence; empty for a healthy run.

    Args:
        history: rows of the log, oldest first, as a task keeps them.
    """
    trained = [record for record in history if "train/loss" in record]
    if len(trained) < MIN_RECORDS:
        return {}
    return {cause: sentence for cause, rule in _RULES.items() if (sentence := rule(trained))}


def _recent(history: Sequence[Record], name: str) -> float:
    """Mean of a value over the last third of the rows; NaN where it is not logged."""
    values = [record[name] for record in history[-max(1, len(history) // 3) :] if name in record]
    return sum(values) / len(values) if values else math.nan


def _nothing_learned(history: Sequence[Record]) -> str:
    loss, collapse = _recent(history, "train/loss"), _recent(history, "train/collapse")
    if not loss >= 0.98 * collapse:
        return ""
    return (
        f"nothing is being learned: the loss is {loss:.3f}, and equal similarities give {collapse:.3f} (ln N of the "
        "batch). Try another optimizer.lr by a factor of 3 either way, then a longer window"
    )


def _collapsed(history: Sequence[Record]) -> str:
    similarity, rank = _recent(history, "train/negative_similarity"), _recent(history, "train/effective_rank")
    if not (similarity > 0.95 or rank < 2):
        return ""
    return (
        f"the embeddings collapse: two different recordings have a cosine of {similarity:.3f} and the embeddings an "
        f"effective rank of {rank:.1f}. Lower optimizer.lr or objective.temperature, enlarge trainer.batch_size"
    )


def _posterior_collapsed(history: Sequence[Record]) -> str:
    """Judged by the raw divergence and by what moves with the data: the posterior's variance goes to 1, not to 0."""
    active, width = _recent(history, "train/active_units"), _recent(history, "train/latent_width")
    kl = _recent(history, "train/kl")
    if not (active <= 0.02 * width or kl < 0.1):
        return ""
    first, now = history[0].get("train/reconstruction", math.nan), _recent(history, "train/reconstruction")
    return (
        f"the posterior collapses: {active:.0f} of {width:.0f} latent dimensions move with the data (variance of the "
        f"posterior mean above 0.01), and the raw KL is {kl:.3f} nats a set; reconstruction went from {first:.3f} to "
        f"{now:.3f}. Lower objective.divergence.beta by 10, or lengthen objective.divergence.warm_up"
    )


def _solved_at_once(history: Sequence[Record]) -> str:
    first, collapse = history[0]["train/loss"], history[0].get("train/collapse", math.nan)
    if not first < 0.05 * collapse:
        return ""
    return (
        f"the task is solved before it is learned: the first loss is {first:.4f} of {collapse:.3f}. The two views "
        "are copies, or the recordings differ by something trivial such as their level: augment, or normalise"
    )


def _diverges(history: Sequence[Record]) -> str:
    losses = [record["train/loss"] for record in history]
    best, now = min(losses), _recent(history, "train/loss")
    if not (now > 1.5 * best and now > best + 0.5):
        return ""
    return (
        f"the loss has left its best value of {best:.3f} for {now:.3f}: the learning rate is too high. "
        "Lower optimizer.lr by 3, or lengthen optimizer.warmup"
    )


def _starves(history: Sequence[Record]) -> str:
    wait = _recent(history, "time/wait_share")
    if not wait > 0.5:
        return ""
    return (
        f"the device waits for data {100 * wait:.0f} % of the time. Set data.loading.cache to a folder on a fast disk, "
        "or trainer.hardware.workers to 2 where augmentations are heavy"
    )


_RULES: dict[str, Callable[[Sequence[Record]], str]] = {
    "nothing learned": _nothing_learned,
    "collapse": _collapsed,
    "posterior collapse": _posterior_collapsed,
    "solved at once": _solved_at_once,
    "divergence": _diverges,
    "starvation": _starves,
}
