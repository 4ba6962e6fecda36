"""What is freed is given back."""

from __future__ import annotations

import sys

import pytest
import torch

from counterpoint.memory import SLACK, Heap, resident


@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc")
def test_gaps_in_the_heap_are_given_back() -> None:
    heap = Heap()
    start = resident()
    # Small enough to come from the heap, with something kept between them so that it cannot shrink by itself.
    pieces = [torch.ones(24 * 1024) for _ in range(6 * SLACK // 2**19)]
    kept = pieces[::64]
    full = resident()
    assert full > start + SLACK
    pieces.clear()
    heap.tidy()
    assert resident() < start + (full - start) / 2
    assert float(kept[0].sum()) == 24 * 1024
