"""Where windows are cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoint.data.vibration.windows import Disjoint, EvenlySpaced, Random, Sequential, Windows
from counterpoint.keys import derive, uniforms

STRATEGIES: list[Windows] = [
    Random(length=64, count=5),
    Disjoint(length=64, count=5),
    Sequential(length=64, stride=50),
    EvenlySpaced(length=64, count=5),
]


def splitmix64(seed: int, count: int) -> list[int]:
    """The published generator, one step at a time, on Python's own integers."""
    outputs, state, word = [], seed, 2**64 - 1
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & word
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & word
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & word
        outputs.append(z ^ (z >> 31))
    return outputs


def test_splitmix64_reference_vector() -> None:
    assert splitmix64(1234567, 2) == [6457827717110365317, 3203168211198807973]


@given(key=st.integers(0, 2**63 - 1), count=st.integers(1, 9))
def test_uniforms_are_splitmix64_of_the_hashed_key(key: int, count: int) -> None:
    seed = splitmix64(key, 1)[0]
    expected = [(word >> 11) * 2.0**-53 for word in splitmix64(seed, count)]
    assert uniforms(np.array([key]), count)[0].tolist() == expected


def test_uniforms_of_a_row_hang_on_its_key_alone() -> None:
    keys = np.arange(1000)
    together = uniforms(keys, 7)
    order = np.random.default_rng(0).permutation(1000)
    assert np.array_equal(uniforms(keys[order], 7), together[order])
    assert np.array_equal(uniforms(keys, 3), together[:, :3])


def test_derived_keys_are_distinct_non_negative_and_uncorrelated() -> None:
    keys = np.arange(50_000)
    one, other = derive(keys, 1), derive(keys, 2)
    assert one.min() >= 0
    assert len(np.unique(np.concatenate([one, other]))) == 100_000
    a, b = uniforms(one, 1)[:, 0], uniforms(other, 1)[:, 0]
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.02
    assert abs(np.corrcoef(a[1:], a[:-1])[0, 1]) < 0.02
    counts = np.histogram(a, 50, (0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 90  # chi-square, 49 degrees: 0.9997


def test_sequential_starts_at_multiples_of_the_stride_while_they_fit() -> None:
    starts = Sequential(length=4, stride=3).starts(np.array([4, 6, 7, 12]), 4, np.arange(4))
    assert starts.tolist() == [[0, -1, -1], [0, -1, -1], [0, 3, -1], [0, 3, 6]]


@given(room=st.integers(0, 10**7), count=st.integers(1, 40), width=st.integers(1, 5000))
def test_evenly_spaced_is_the_rounded_formula(room: int, count: int, width: int) -> None:
    starts = EvenlySpaced(length=width, count=count).starts(np.array([room + width]), width, np.arange(1))
    assert starts[0].tolist() == [round(i * room / max(count - 1, 1)) for i in range(count)]


@settings(max_examples=200)
@given(
    width=st.integers(1, 50),
    count=st.integers(1, 8),
    slack=st.integers(0, 100),
    key=st.integers(0, 2**62),
)
def test_disjoint_windows_share_no_sample(width: int, count: int, slack: int, key: int) -> None:
    windows = Disjoint(length=width, count=count)
    length = windows.shortest(width) + slack
    starts = np.sort(windows.starts(np.array([length]), width, np.array([key]))[0])
    assert starts[0] >= 0
    assert starts[-1] + width <= length
    assert (np.diff(starts) >= width).all()


@given(
    widths=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    slack=st.integers(0, 100),
    key=st.integers(0, 2**62),
)
def test_disjoint_pairs_of_two_widths_share_no_sample(widths: tuple[int, int], slack: int, key: int) -> None:
    length = sum(widths) + slack
    windows = Disjoint(length=1)
    ((first, second),) = windows.pairs(np.array([length]), np.array([widths]), np.array([key])).tolist()
    assert first >= 0
    assert second >= 0
    assert max(first + widths[0], second + widths[1]) <= length
    assert first + widths[0] <= second or second + widths[1] <= first


def test_every_disjoint_placing_is_equally_likely() -> None:
    # Two windows of 2 in 6: gaps (g0, g1, g2) that sum to 2, six of them, in two orders.
    starts = Disjoint(length=2).starts(np.full(60_000, 6), 2, np.arange(60_000))
    places, counts = np.unique(starts, axis=0, return_counts=True)
    assert places.tolist() == [
        [0, 2], [0, 3], [0, 4], [1, 3], [1, 4], [2, 0], [2, 4], [3, 0], [3, 1], [4, 0], [4, 1], [4, 2]
    ]  # fmt: skip
    assert ((counts - 5000) ** 2 / 5000).sum() < 35  # chi-square, 11 degrees: 0.9998


def test_random_starts_are_uniform_from_the_first_sample_to_the_last() -> None:
    starts = Random(length=6, count=2).starts(np.full(50_000, 15), 6, np.arange(50_000))
    counts = np.bincount(starts.reshape(-1), minlength=10)
    assert len(counts) == 10
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 33  # chi-square, 9 degrees: 0.9999


@pytest.mark.parametrize(("length", "expected"), [(8192, 0.265), (16384, 0.129)])
def test_random_windows_do_overlap(length: int, expected: float) -> None:
    windows, n = Random(length=1024), 40_000
    starts = windows.pairs(np.full(n, length), np.full((n, 2), 1024), np.arange(n))
    share = (np.abs(starts[:, 0] - starts[:, 1]) < 1024).mean()
    assert share == pytest.approx(expected, abs=0.007)
    starts = Disjoint(length=1024).pairs(np.full(n, length), np.full((n, 2), 1024), np.arange(n))
    assert (np.abs(starts[:, 0] - starts[:, 1]) >= 1024).all()


@pytest.mark.parametrize("windows", STRATEGIES, ids=lambda w: type(w).__name__)
def test_pairs_stay_inside_the_shortest_recording_and_depend_on_the_key_alone(windows: Windows) -> None:
    keys = np.arange(500)
    lengths = windows.shortest_pair(64) + keys % 97
    widths = np.where(derive(np.arange(1000), 0).reshape(500, 2) % 2 == 0, 64, 40)
    starts = windows.pairs(lengths, widths, keys)
    assert (starts >= 0).all()
    assert (starts + widths <= lengths[:, None]).all()
    alone = np.concatenate([windows.pairs(lengths[[i]], widths[[i]], keys[[i]]) for i in range(0, 500, 7)])
    assert np.array_equal(alone, starts[::7])


@pytest.mark.parametrize("windows", STRATEGIES[2:], ids=lambda w: type(w).__name__)
def test_pairs_of_a_grid_are_every_two_different_places(windows: Windows) -> None:
    n, length = 20_000, 64 + 4 * 50
    grid = windows.starts(np.array([length]), 64, np.arange(1))[0].tolist()
    pairs, counts = np.unique(
        windows.pairs(np.full(n, length), np.full((n, 2), 64), np.arange(n)), axis=0, return_counts=True
    )
    assert pairs.tolist() == [[a, b] for a in grid for b in grid if a != b]
    assert counts.min() > 850  # 1000 expected of each of the 20


@pytest.mark.parametrize("windows", STRATEGIES, ids=lambda w: type(w).__name__)
def test_the_shortest_recording_serves_and_one_sample_less_is_named(windows: Windows) -> None:
    shortest = windows.shortest(64)
    starts = windows.starts(np.array([shortest]), 64, np.arange(1))[0]
    assert starts.min() >= 0
    assert starts.max() + 64 <= shortest
    assert shortest == (320 if isinstance(windows, Disjoint) else 64)


def test_width_in_seconds_needs_a_rate() -> None:
    windows = Random(seconds=0.1)
    assert windows.width(12_000.0) == 1200
    with pytest.raises(ValueError, match=r"share no rate.*signal\.rate"):
        windows.width(0.0)
    assert Random(length=7).width(0.0) == 7


@pytest.mark.parametrize("given_width", [{}, {"length": 5, "seconds": 0.1}, {"length": 0}, {"seconds": -1.0}])
def test_width_is_given_once_and_is_positive(given_width: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="exactly one of length"):
        Random(**given_width)  # type: ignore[arg-type]


def test_counts_and_strides_are_positive() -> None:
    with pytest.raises(ValueError, match="stride must be at least 1, not 0"):
        Sequential(length=4, stride=0)
    for strategy in (Random, Disjoint, EvenlySpaced):
        with pytest.raises(ValueError, match="count must be at least 1, not 0"):
            strategy(length=4, count=0)
    with pytest.raises(ValueError, match="a pair needs count"):
        EvenlySpaced(length=4, count=1).pairs(np.array([9]), np.array([[4, 4]]), np.arange(1))
