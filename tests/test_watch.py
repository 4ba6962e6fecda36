"""Each disease planted in a log is named, and a healthy log raises nothing."""

from __future__ import annotations

import math

import pytest

from counterpoint.log import Record
from counterpoint.watch import MIN_RECORDS, findings


def log(rows: int = 30, **changes: float) -> list[Record]:
    """A healthy log: a loss that falls from ln 64 to 1."""
    return [
        {
            "train/loss": math.log(64) * (1 - i / rows) + i / rows,
            "train/collapse": math.log(64),
            "train/negative_similarity": 0.1,
            "train/effective_rank": 30.0,
            "time/wait_share": 0.05,
        }
        | changes
        for i in range(rows)
    ]


def test_a_healthy_log_raises_nothing() -> None:
    assert findings(log()) == {}
    assert findings(log(MIN_RECORDS)) == {}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"train/loss": math.log(64)}, "nothing is being learned"),
        ({"train/negative_similarity": 0.99}, "collapse"),
        ({"train/effective_rank": 1.2}, "collapse"),
        ({"train/loss": 0.001}, "solved before"),
        ({"time/wait_share": 0.8}, "waits for data 80 %"),
    ],
)
def test_each_disease_is_named_alone(change: Record, word: str) -> None:
    (sentence,) = findings(log(**change)).values()
    assert word in sentence


def test_divergence_is_named() -> None:
    history = log()
    for record in history[15:]:
        record["train/loss"] = 9.0
    assert "learning rate is too high" in findings(history)["divergence"]


def test_a_short_log_says_nothing() -> None:
    assert findings(log(MIN_RECORDS - 1, **{"train/loss": math.log(64)})) == {}
