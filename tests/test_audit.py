"""Leaks that were planted are found, and none is found where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoint.data.audit import MEANT, audit, content_values
from counterpoint.data.splits import Fold, KnownGroups

FOLD = Fold(np.arange(0, 60), np.arange(60, 80), np.arange(80, 100))


def clean() -> dict[str, list[str]]:
    return {
        "id": [f"r{i}" for i in range(100)],
        "group": [f"g{i // 5}" for i in range(100)],
        "content": [f"c{i}" for i in range(100)],
    }


@pytest.mark.parametrize("trait", ["id", "group", "content"])
@pytest.mark.parametrize("seed", range(25))
def test_every_planted_leak_is_found_and_nothing_else(trait: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    one, other = random.choice(3, 2, replace=False)
    source, copy = int(random.choice(FOLD[one])), int(random.choice(FOLD[other]))
    traits = clean()
    traits[trait][copy] = traits[trait][source]
    found = audit(FOLD, traits)
    assert len(found) == 1
    first, second = sorted([one, other])
    assert found[0].startswith(f"{Fold._fields[first]} and {Fold._fields[second]} share 1 of {trait}")
    assert traits[trait][source] in found[0]


def test_no_alarm_on_a_clean_fold_nor_on_what_is_unknown() -> None:
    assert audit(FOLD, clean()) == []
    assert audit(FOLD, {"group": [""] * 100}) == []


def test_the_sentence_counts_values_and_recordings() -> None:
    traits = {"group": ["a"] * 80 + ["a"] * 15 + ["b"] * 5}
    assert audit(FOLD, traits) == [
        "train and valid share 1 of group over 80 recordings: a",
        "train and test share 1 of group over 75 recordings: a",
        "valid and test share 1 of group over 35 recordings: a",
    ]


def test_groups_that_a_split_says_are_shared_are_told_and_marked_and_nothing_else_is() -> None:
    same = ["a"] * 100
    found = audit(KnownGroups(*FOLD), {"group": same, "id": same})
    assert [sentence.endswith(MEANT) for sentence in found] == [True, False] * 3
    assert [sentence.removesuffix(MEANT) for sentence in found] == audit(FOLD, {"group": same, "id": same})


def test_equal_contents_carry_the_name_of_the_first() -> None:
    assert content_values(["x", "y", "z"], ["aa", "bb", "aa"]) == [
        "samples of x",
        "samples of y",
        "samples of x",
    ]
