"""From events to sets of standardised events, against plain loops."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr
from sklearn.preprocessing import QuantileTransformer

from counterpoint.data.clinical.events import EventConfig, EventStore, event_store, offsets, spans
from counterpoint.data.clinical.standards import standardise
from counterpoint.data.clinical.stays import Stays

NAMES = ("A", "B", "C")
Row = tuple[int, float, int, float]


def stays_of(rows: list[Row], count: int = 3, sets: list[int] | None = None, names: tuple[str, ...] = NAMES) -> Stays:
    """Stays from rows (stay, minute, code, value)."""
    stay, minutes, codes, values = (np.array(column) for column in zip(*rows, strict=True)) if rows else ([],) * 4
    return Stays(
        [f"s{at}" for at in range(count)],
        [Path("t.csv")] * count,
        {},
        names,
        np.array(stay, dtype=np.int64),
        np.array(minutes, dtype=np.float64),
        np.array(codes, dtype=np.int64),
        np.array(values, dtype=np.float32),
        np.arange(2, len(rows) + 2),
        None if sets is None else np.array(sets, dtype=np.int64),
    )


def unpacked(store: EventStore, stay: int) -> list[tuple[float, list[tuple[int, float]]]]:
    """The sets of a stay: hours and events (code, value)."""
    return [
        (
            float(store.times[at]),
            [
                (int(store.codes[event]), float(store.values[event]))
                for event in range(store.sets[at], store.sets[at + 1])
            ],
        )
        for at in range(store.rows[stay], store.rows[stay + 1])
    ]


def plain(rows: list[Row], stay: int, config: EventConfig) -> list[tuple[float, list[tuple[int, float]]]]:
    """What ``unpacked`` should give, in loops; events of a set sorted."""
    mine: list[Row] = []
    for row in rows:
        late = config.horizon_hours is not None and row[1] >= 60 * config.horizon_hours
        if row[0] == stay and not late and not (config.negative_time == "drop" and row[1] < 0):
            mine.append(row)
    groups: dict[tuple[float, int], list[Row]] = {}
    for row in mine:
        groups.setdefault((row[1], row[2]), []).append(row)
    kept: list[Row] = []
    for group in groups.values():
        if config.duplicates == "keep":
            kept += group
        elif config.duplicates == "drop_copies":
            kept += list(dict.fromkeys(group))
        else:
            kept.append(group[0 if config.duplicates == "first" else -1])
    steps: dict[int, list[Row]] = {}
    for row in kept:
        steps.setdefault(math.floor(row[1] / config.resolution_minutes), []).append(row)
    found = [
        (float(np.float32(min(row[1] for row in steps[step]) / 60)), sorted((row[2], row[3]) for row in steps[step]))
        for step in sorted(steps)
    ]
    if config.max_sequence_length is None:
        return found
    return found[-config.max_sequence_length :] if config.keep == "newest" else found[: config.max_sequence_length]


row_of = st.tuples(
    st.integers(0, 2),
    st.sampled_from([-61.5, -3.0, 0.0, 0.25, 0.5, 4.0, 7.75, 60.0, 125.0]),
    st.integers(0, 2),
    st.sampled_from([-1.0, 0.0, 2.0]),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(row_of, max_size=30),
    st.sampled_from(["keep", "drop_copies", "first", "last"]),
    st.sampled_from(["keep", "drop"]),
    st.sampled_from([0.25, 1.0, 60.0]),
    st.sampled_from([None, 1, 2]),
    st.sampled_from(["newest", "oldest"]),
    st.sampled_from([None, 1.0]),
)
def test_sets_are_those_of_plain_loops(
    rows: list[Row], duplicates: Any, negative: Any, resolution: float, most: int | None, keep: Any, hours: float | None
) -> None:
    rows = sorted(rows, key=lambda row: row[0])
    config = EventConfig(
        duplicates=duplicates,
        negative_time=negative,
        resolution_minutes=resolution,
        max_sequence_length=most,
        keep=keep,
        horizon_hours=hours,
    )
    store, names, reasons = event_store(stays_of(rows), config)
    assert names == NAMES
    for stay in range(3):
        wanted = plain(rows, stay, config)
        assert [(time, sorted(events)) for time, events in unpacked(store, stay)] == wanted
        assert (stay in reasons) == (not wanted)
    assert store.rows[-1] == len(store.times)
    assert store.sets[-1] == len(store.values) == len(store.codes) == len(store.minutes)
    assert (np.diff(store.sets) > 0).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(row_of, min_size=1, max_size=20), st.randoms())
def test_the_order_of_events_in_the_file_does_not_matter(rows: list[Row], random: Any) -> None:
    other = list(rows)
    random.shuffle(other)
    one, two = (
        event_store(stays_of(sorted(r, key=lambda row: row[0])), EventConfig(duplicates="drop_copies"))[0]
        for r in (rows, other)
    )
    assert [[(t, sorted(e)) for t, e in unpacked(one, s)] for s in range(3)] == [
        [(t, sorted(e)) for t, e in unpacked(two, s)] for s in range(3)
    ]


def test_spans_and_offsets() -> None:
    assert spans(np.array([3, 7, 0]), np.array([5, 7, 2])).tolist() == [3, 4, 0, 1]
    assert offsets(np.array([2, 0, 3])).tolist() == [0, 2, 2, 5]
    assert spans(np.empty(0, np.int64), np.empty(0, np.int64)).tolist() == []


def test_taking_stays_out_of_a_store() -> None:
    rows = [(0, 0.0, 0, 1.0), (0, 5.0, 1, 2.0), (1, 1.0, 2, 3.0), (2, 0.0, 0, 4.0), (2, 0.0, 1, 5.0), (2, 9.0, 1, 6.0)]
    store, _, _ = event_store(stays_of(rows), EventConfig())
    taken = store.take(np.array([2, 0]))
    assert [unpacked(taken, at) for at in range(2)] == [unpacked(store, 2), unpacked(store, 0)]
    assert store.owners.tolist() == [0, 0, 1, 2, 2, 2]


@pytest.mark.parametrize(
    ("policy", "left", "kinds"),
    [
        (
            "drop_copies",
            [1.0, 2.0, 3.0],
            {"exact copy of an event, left out": 1, "another value at the same minute, all kept": 2},
        ),
        (
            "keep",
            [1.0, 1.0, 2.0, 3.0],
            {"exact copy of an event, kept": 1, "another value at the same minute, all kept": 2},
        ),
        (
            "first",
            [1.0],
            {"exact copy of an event, left out": 1, "another value at the same minute, the first kept": 2},
        ),
        ("last", [3.0], {"exact copy of an event, left out": 1, "another value at the same minute, the last kept": 2}),
    ],
)
def test_duplicates_are_counted_and_treated_by_the_policy(
    policy: Any, left: list[float], kinds: dict[str, int]
) -> None:
    # The copy comes after another value, so it is not its neighbour in the file.
    rows = [(0, 5.0, 1, 1.0), (0, 5.0, 1, 2.0), (0, 5.0, 1, 1.0), (0, 5.0, 1, 3.0)]
    stays = stays_of(rows, 1)
    store, _, _ = event_store(stays, EventConfig(duplicates=policy))
    assert sorted(store.values.tolist()) == left
    found = stays.account.report()
    assert {kind: entry["count"] for kind, entry in found.items()} == kinds
    copies = next(entry for kind, entry in found.items() if kind.startswith("exact copy"))
    assert copies["examples"] == ["t.csv, row 4, stay s0: 'B' = 1 at minute 5"]


def test_what_is_to_be_refused_is_named() -> None:
    early = stays_of([(0, 0.0, 0, 1.0), (1, -2.0, 2, 7.0)])
    with pytest.raises(
        ValueError, match=r"t\.csv, row 3, stay s1: 'C' = 7 at minute -2: before admission, as 1 events"
    ):
        event_store(early, EventConfig(negative_time="refuse"))
    event_store(early, EventConfig())
    assert early.account.report()["before admission, kept"]["count"] == 1
    twice = stays_of([(0, 0.0, 0, 1.0), (0, 0.0, 0, 2.0)])
    with pytest.raises(
        ValueError, match=r"row 3, stay s0: 'A' = 2 at minute 0: the same minute and variable stand abo"
    ):
        event_store(twice, EventConfig(duplicates="refuse"))
    for wrong in ({"clip": 0.0}, {"max_sequence_length": 0}, {"resolution_minutes": -1.0}):
        with pytest.raises(ValueError, match=f"events.{next(iter(wrong))} must be above 0"):
            EventConfig(**wrong)  # type: ignore[arg-type]


def test_stays_without_events_and_sets_against_time_are_refused() -> None:
    rows = [
        (0, 700.0, 0, 1.0),
        (1, 9.0, 0, 1.0),
        (1, 3.0, 0, 1.0),
        (1, 4.0, 1, 1.0),
        (2, 3.0, 0, 1.0),
        (2, 3.0, 0, 2.0),
    ]
    stays = stays_of(rows, 4, sets=[0, 0, 1, 1, 0, 1])
    store, _, reasons = event_store(stays, EventConfig(horizon_hours=10, duplicates="keep"))
    assert reasons == {
        0: "empty: none of its 1 events is used",
        1: "set_index against time: a later set has an earlier event",
        3: "empty: no events",
    }
    # Two sets of one minute stay two, where the source numbers them.
    assert [events for _, events in unpacked(store, 2)] == [[(0, 1.0)], [(0, 2.0)]]
    assert stays.account.report()["at or after horizon_hours, left out"]["stays"] == 1


def test_whole_sets_are_cut_and_counted() -> None:
    rows = [(0, 10.0 * at, code, 1.0) for at in range(4) for code in range(3)]
    stays = stays_of(rows, 1)
    store, _, _ = event_store(stays, EventConfig(max_sequence_length=3, keep="oldest"))
    assert np.diff(store.sets).tolist() == [3, 3, 3]
    found = stays.account.report()["beyond max_sequence_length, the oldest kept"]
    assert found["count"] == 3
    assert found["examples"][0].endswith("at minute 30")


def test_levels_of_categorical_variables_become_variables() -> None:
    rows = [(0, 0.0, 0, 5.0), (0, 0.0, 1, 10.0), (1, 0.0, 1, 2.0), (2, 0.0, 1, 10.0), (2, 3.0, 2, 1.5)]
    store, names, _ = event_store(stays_of(rows), EventConfig(categorical=["B"]))
    assert names == ("A", "B=2", "B=10", "C")
    assert [unpacked(store, at) for at in range(3)] == [
        [(0.0, [(0, 5.0), (2, 0.0)])],
        [(0.0, [(1, 0.0)])],
        [(0.0, [(2, 0.0)]), (float(np.float32(0.05)), [(3, 1.5)])],
    ]
    with pytest.raises(ValueError, match="categorical: no variable 'D'; there are A, B, C"):
        event_store(stays_of(rows), EventConfig(categorical=["D"]))
    many = stays_of([(0, 0.0, 0, float(at)) for at in range(65)])
    with pytest.raises(ValueError, match="'A' has 65 levels; at most 64"):
        event_store(many, EventConfig(categorical=["A"]))


def test_chosen_variables_come_in_their_order_and_others_are_counted() -> None:
    stays = stays_of([(0, 0.0, 0, 5.0), (0, 0.0, 1, 10.0), (1, 0.0, 2, 2.0)], 2)
    store, names, reasons = event_store(stays, EventConfig(variables=["C", "Z", "A"]))
    assert names == ("C", "Z", "A")
    assert [unpacked(store, at) for at in range(2)] == [[(0.0, [(2, 5.0)])], [(0.0, [(0, 2.0)])]]
    assert stays.account.report()["variable not chosen, left out"]["count"] == 1
    assert reasons == {}
    with pytest.raises(ValueError, match=r"events\.variables: no event is of Y, Z; there are A, B, C"):
        event_store(stays_of([(0, 0.0, 0, 5.0)]), EventConfig(variables=["Y", "Z"]))


def many(count: int = 40, seed: int = 0) -> tuple[EventStore, np.ndarray]:
    """A store of stays with skewed and tied values of three variables, and the training stays."""
    rng = np.random.default_rng(seed)
    rows = [
        (stay, float(minute), code, [rng.normal(50, 8), rng.exponential(3), float(rng.integers(3, 6))][code])
        for stay in range(count)
        for minute in range(20)
        for code in range(3)
    ]
    store, _, _ = event_store(stays_of(rows, count), EventConfig())
    return store, np.arange(0, count, 2)


@pytest.mark.parametrize("kind", ["zscore", "robust"])
def test_standardised_by_the_training_stays_alone(kind: Any) -> None:
    store, train = many()
    found = standardise(store, NAMES, train, EventConfig(normalise=kind, clip=None), {})
    of_train = np.isin(store.owners, train)
    for code in range(3):
        mine = store.codes == code
        sample = store.values[mine & of_train].astype(np.float64)
        if kind == "zscore":
            wanted = (store.values[mine] - sample.mean()) / sample.std()
        else:
            low, middle, high = np.percentile(sample, [25, 50, 75])
            wanted = (store.values[mine] - middle) / ((high - low) / 1.3489795)
        np.testing.assert_allclose(found.values[mine], wanted, atol=1e-5)
    changed = store._replace(values=np.where(of_train, store.values, store.values * 3 + 7).astype(np.float32))
    again = standardise(changed, NAMES, train, EventConfig(normalise=kind, clip=None), {})
    np.testing.assert_array_equal(found.values[of_train], again.values[of_train])
    assert len(found.clipped) == 0
    assert found.scaled.all()


def test_quantiles_onto_a_normal_distribution_are_those_of_scikit_learn() -> None:
    store, train = many(60)
    found = standardise(store, NAMES, train, EventConfig(normalise="quantile"), {})
    of_train = np.isin(store.owners, train)
    for code in range(3):
        mine = store.codes == code
        sample, values = (store.values[rows].astype(np.float64)[:, None] for rows in (mine & of_train, mine))
        rival = QuantileTransformer(n_quantiles=min(1001, len(sample)), output_distribution="normal", subsample=None)
        wanted = rival.fit(sample).transform(values)[:, 0]
        # Theirs goes to 5.2 at the ends of the sample; elsewhere the two differ by less than a rank.
        inside = (values > sample.min()) & (values < sample.max())
        np.testing.assert_allclose(
            ndtr(found.values[mine])[inside[:, 0]], ndtr(wanted)[inside[:, 0]], atol=1 / len(sample)
        )
        assert np.abs(found.values[mine]).max() < 3.5
        if code < 2:
            assert abs(found.values[mine & of_train].std() - 1) < 0.03


def test_given_statistics_are_used_as_they_are_and_must_be_there() -> None:
    store, train = many(4)
    given_ = {"A": (40.0, 4.0), "B": (1.0, 2.0), "C": (4.0, 0.0)}
    found = standardise(store, NAMES, train, EventConfig(normalise="given", clip=None), given_)
    for code, (mean, std) in enumerate(given_.values()):
        mine = store.codes == code
        wanted = (store.values[mine] - mean) / std if std else np.zeros(mine.sum())
        np.testing.assert_allclose(found.values[mine], wanted, rtol=1e-5)
    assert found.scaled.tolist() == [True, True, False]
    assert found.flat == ("C",)
    with pytest.raises(ValueError, match=r"no mean and standard deviation of 'C'; add its row to stats\.csv"):
        standardise(store, NAMES, train, EventConfig(normalise="given"), {"A": (0.0, 1.0), "B": (0.0, 1.0)})


def test_values_beyond_the_limit_are_set_to_it_and_counted() -> None:
    store, train = many()
    whole = standardise(store, NAMES, train, EventConfig(clip=None), {}).values
    found = standardise(store, NAMES, train, EventConfig(clip=1.5), {})
    assert found.clipped.tolist() == np.flatnonzero(np.abs(whole) > 1.5).tolist()
    assert 0 < len(found.clipped) < len(whole) / 2
    np.testing.assert_array_equal(found.values, np.clip(whole, -1.5, 1.5))


@pytest.mark.parametrize("kind", ["zscore", "robust", "quantile"])
def test_variables_without_a_scale_become_zeros_and_are_named(kind: Any) -> None:
    rows = [
        (0, 0.0, 0, 7.0),
        (1, 0.0, 0, 7.0),
        (2, 0.0, 0, 9.0),  # constant in training, another value in testing
        (2, 0.0, 1, 3.0),  # never in training
        (0, 1.0, 2, 1.0),
        (1, 1.0, 2, 2.0),
    ]
    store, _, _ = event_store(stays_of(sorted(rows)), EventConfig())
    found = standardise(store, NAMES, np.array([0, 1]), EventConfig(normalise=kind), {})
    assert found.absent == ("B",)
    assert found.flat == ("A",)
    assert found.scaled.tolist() == [False, False, True]
    assert (found.values[store.codes < 2] == 0).all()
    assert (found.values[store.codes == 2] != 0).all()


def test_levels_are_never_called_flat() -> None:
    rows = [(0, 0.0, 0, 1.0), (1, 0.0, 0, 2.0), (0, 0.0, 1, 1.0), (1, 0.0, 1, 2.0), (2, 0.0, 0, 3.0)]
    config = EventConfig(categorical=["A"])
    store, names, _ = event_store(stays_of(sorted(rows)), config)
    found = standardise(store, names, np.array([0, 1]), config, {})
    assert found.flat == ()
    assert found.absent == ("A=3", "C")
    assert (found.values[store.codes < 3] == 0).all()
