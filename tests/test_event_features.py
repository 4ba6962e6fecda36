"""Hand features of irregular events against loops, and the simple answers on real stays."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from counterpoint.data.base import Draw, Rows
from counterpoint.evaluate.baselines import LAST, SUMMARY, HandFeatures, baselines, hand_features, hand_probe
from counterpoint.evaluate.event_features import event_statistics, last_values
from counterpoint.evaluate.features import RandomKernels
from counterpoint.types import Batch, Events, EventSpec, Modality, Signal, SignalSpec, Spec

VARIABLES = 5
NAMES = ("HR", "Na", "K", "pH", "Age")
SPEC = EventSpec(NAMES, 5, 6)
Stay = list[list[tuple[int, float]]]
"""Sets in the order of time, each of events (code, value)."""


def packed(stays: list[Stay]) -> Events:
    sets = [one for stay in stays for one in stay]
    events = [event for one in sets for event in one]
    return Events(
        torch.tensor([value for _, value in events], dtype=torch.float32),
        torch.tensor([code for code, _ in events], dtype=torch.int64),
        torch.arange(len(sets), dtype=torch.float32),
        torch.tensor(np.cumsum([0, *map(len, sets)])),
        torch.tensor(np.cumsum([0, *map(len, stays)])),
        torch.arange(len(stays)),
    )


STAYS = st.lists(
    st.lists(
        st.lists(st.tuples(st.integers(0, VARIABLES - 1), st.floats(-9, 9, width=32)), min_size=1, max_size=6),
        max_size=5,
    ),
    min_size=1,
    max_size=5,
)


def looped(stay: Stay) -> NDArray[np.float64]:
    """The six numbers of every variable of one stay."""
    table = np.zeros((6, VARIABLES))
    for code in range(VARIABLES):
        moments = [[value for own, value in one if own == code] for one in stay]
        moments = [found for found in moments if found]
        values = [value for found in moments for value in found]
        if values:
            edges = (np.mean(moments[-1]), np.mean(moments[0]))
            table[:, code] = (np.mean(values), min(values), max(values), *edges, np.log(1 + len(values)))
    return table.reshape(-1)


@settings(max_examples=60, deadline=None)
@given(STAYS)
def test_statistics_are_those_of_a_loop_over_stays(stays: list[Stay]) -> None:
    events = packed(stays)
    got = event_statistics(events, SPEC, "events")
    assert got.shape == (len(stays), 6 * VARIABLES)
    np.testing.assert_allclose(got, np.stack([looped(stay) for stay in stays]), atol=1e-12)
    last = last_values(events, SPEC, "events")
    np.testing.assert_array_equal(last, got[:, 3 * VARIABLES : 4 * VARIABLES])


@settings(max_examples=40, deadline=None)
@given(STAYS, st.randoms(use_true_random=False))
def test_neither_the_order_within_a_set_nor_the_other_rows_change_a_row(stays: list[Stay], random: object) -> None:
    shuffled = [[random.sample(one, len(one)) for one in stay] for stay in stays]  # type: ignore[attr-defined]
    whole = event_statistics(packed(stays), SPEC, "events")
    np.testing.assert_allclose(event_statistics(packed(shuffled), SPEC, "events"), whole, atol=1e-12)
    alone = np.concatenate([event_statistics(packed([stay]), SPEC, "events") for stay in stays])
    np.testing.assert_allclose(alone, whole, atol=1e-12)


def test_what_a_row_lacks_is_the_mean_and_its_count_tells() -> None:
    got = event_statistics(packed([[], [[(1, 0.0)]]]), SPEC, "events")
    assert not got[0].any()
    assert np.flatnonzero(got[1]).tolist() == [5 * VARIABLES + 1], "a measured mean differs by its count alone"


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labs: 2 events hold NaN or infinity"):
        event_statistics(packed([[[(0, float("nan")), (1, float("inf")), (2, 1.0)]]]), SPEC, "labs")


class Stays(Rows):
    """Stays in memory, alone or with a signal beside."""

    def __init__(self, stays: list[Stay], labels: NDArray[np.int64], signals: NDArray[np.float32] | None) -> None:
        self.stays, self.labels, self.signals = stays, labels, signals
        self.ids = np.arange(len(stays))
        self.groups, self.domains = self.ids, np.zeros_like(self.ids)
        self.metadata = np.array([[float(len(stay))] for stay in stays])

    def __getitems__(self, draws: list[Draw]) -> Batch:
        rows = [draw.row for draw in draws]
        view: dict[str, Modality] = {"events": packed([self.stays[row] for row in rows])}
        if self.signals is not None:
            view["pulse"] = Signal(torch.from_numpy(self.signals[rows]))
        columns = (torch.from_numpy(c[rows]) for c in (self.labels, self.groups, self.domains, self.ids))
        return Batch([view], *columns)

    def batches(self, size: int = 16) -> Iterator[Batch]:
        for start in range(0, len(self), size):
            yield self.__getitems__([Draw(row, 0) for row in range(start, min(start + size, len(self)))])


SPECS: dict[str, Spec] = {"events": EventSpec(NAMES, 5, 6), "pulse": SignalSpec(1, 32, 1.0)}


def made(rows: int, seed: int, *, beside: bool) -> HandFeatures:
    """Stays whose last value of the first variable knows the label."""
    generator = np.random.default_rng(seed)
    labels = np.arange(rows) % 2
    stays: list[Stay] = [
        [[(int(c), float(generator.normal())) for c in generator.integers(1, VARIABLES, 3)], [(0, label - 0.5)]]
        for label in labels + 0.3 * generator.normal(size=rows)
    ]
    signals = generator.normal(size=(rows, 32, 1)).astype(np.float32) if beside else None
    own = Stays(stays, labels, signals)
    names = tuple(map(str, range(rows)))
    kernels = RandomKernels(kernels=10)
    return hand_features(own, own.batches(), specs=SPECS, classes=("survived", "died"), names=names, kernels=kernels)


def test_the_simple_answers_on_events() -> None:
    results = baselines(made(80, 0, beside=False), made(60, 1, beside=False), fold="a")
    scores = {result.name: result.estimates(resamples=20)["auroc"].value for result in results}
    assert list(scores) == [
        "majority class",
        "metadata, logistic regression",
        "metadata, shallow tree",
        "last values, logistic regression",
        "summary statistics, logistic regression",
        "summary statistics, gradient boosting",
    ]
    assert scores["majority class"] == 0.5
    assert min(value for name, value in scores.items() if "values" in name or "summary" in name) > 0.8


def test_events_and_signals_stand_side_by_side() -> None:
    train = made(60, 0, beside=True)
    assert {name: features.values.shape[1] for name, features in train.sets.items()} == {
        "summary statistics": 6 * VARIABLES + 16 + 16 + 7,
        "last values": VARIABLES,
        "random kernels": 21,
    }
    names = [result.name for result in baselines(train, made(40, 1, beside=True))]
    assert names[3:] == [
        "last values, logistic regression",
        "summary statistics, logistic regression",
        "summary statistics, 1-NN",
        "summary statistics, random forest",
        "summary statistics, gradient boosting",
        "random kernels, logistic regression",
    ]


# Real stays


def real(root: Path) -> tuple[list[Events], list[NDArray[np.int64]], tuple[str, ...]]:
    """Sets a and b of PhysioNet 2012: every variable standardised by set a, unit types as variables of their own."""
    tables, labels = [], []
    names: tuple[str, ...] = ()
    for part in "ab":
        table = pq.read_table(root / f"events_{part}.parquet")
        variables = table["variable"].combine_chunks()
        names = (*variables.dictionary.to_pylist(), *(f"unit {kind}" for kind in range(1, 5)))
        codes, values = variables.indices.to_numpy().astype(np.int64), table["value"].to_numpy().astype(np.float64)
        stays, minutes = table["record_id"].to_numpy(), np.round(60 * table["hours"].to_numpy()).astype(np.int64)
        kept = (values != -1) & (codes != names.index("RecordID"))
        unit = codes == names.index("ICUType")
        codes[unit] = len(names) - 5 + values[unit].astype(np.int64)
        values[unit] = 0.0
        tables.append([column[kept] for column in (stays, minutes, codes, values)])
        with (root / f"Outcomes-{part}.txt").open(encoding="utf-8") as file:
            died = {int(row["RecordID"]): int(row["In-hospital_death"]) for row in csv.DictReader(file)}
        labels.append(np.array([died[stay] for stay in np.unique(stays)]))
    _, _, codes, values = tables[0]
    sizes = np.maximum(np.bincount(codes, minlength=len(names)), 1)
    mean = np.bincount(codes, values, len(names)) / sizes
    deviation = np.sqrt(np.bincount(codes, (values - mean[codes]) ** 2, len(names)) / sizes)
    return [flat(table, mean, np.where(deviation > 0, deviation, 1)) for table in tables], labels, names


def flat(table: list[Any], mean: NDArray[np.float64], deviation: NDArray[np.float64]) -> Events:
    stays, minutes, codes, values = table
    order = np.lexsort((minutes, stays))
    moments = np.stack([stays[order], minutes[order]])
    starts = np.flatnonzero(np.any(np.diff(moments, prepend=-1), 0))
    first = np.flatnonzero(np.diff(moments[0, starts], prepend=-1))
    scored = ((values - mean[codes]) / deviation[codes])[order]
    offsets = np.append(first, len(starts))
    parts = (scored, codes[order], moments[1, starts] / 60, np.append(starts, len(order)), offsets, first)
    return Events(*map(torch.from_numpy, parts))


def test_real_stays_are_as_hard_as_published(data_root: Path) -> None:
    events, labels, names = real(data_root / "clinical" / "physionet2012")
    assert [len(column) for column in labels] == [4000, 4000]
    sides = []
    for one, known in zip(events, labels, strict=True):
        rows = Stays([[]] * len(known), known, None)
        columns = (torch.from_numpy(c) for c in (known, rows.groups, rows.domains, rows.ids))
        specs: dict[str, Spec] = {"events": EventSpec(names, 999, 99)}
        ids = tuple(map(str, rows.ids))
        batch = Batch([{"events": one}], *columns)
        sides.append(hand_features(rows, [batch], specs=specs, classes=("survived", "died"), names=ids))
    probe = hand_probe(sides[0])
    found = {
        name: probe.evaluate(sides[0].sets[name], sides[1].sets[name]).estimates(resamples=100)
        for name in (LAST, SUMMARY)
    }
    assert found[SUMMARY]["auroc"].value == pytest.approx(0.856, abs=0.008)
    assert found[SUMMARY]["auprc"].value == pytest.approx(0.53, abs=0.02)
    assert 0.82 < found[LAST]["auroc"].value < found[SUMMARY]["auroc"].value
