"""What is freed is given back."""

from __future__ import annotations

import subprocess
import sys

import pytest

# In a process of its own: one that has run other tests has gaps of its own to fill first.
SCRIPT = """
import torch
from counterpoint.memory import SLACK, Heap, resident

heap, start = Heap(), resident()
# Small enough to come from the heap, with something kept between them so that it cannot shrink by itself.
pieces = [torch.ones(24 * 1024) for _ in range(6 * SLACK // 2**19)]
kept, full = pieces[::64], resident()
pieces.clear()
before = resident()
heap.tidy()
print(full - start - SLACK, before - start, resident() - start, float(kept[0].sum()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc")
def test_gaps_in_the_heap_are_given_back() -> None:
    found = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=120)
    beyond, before, after, kept = (float(word) for word in found.stdout.split())
    assert beyond > 0, "enough is held that it is worth giving back"
    assert after < 0.5 * before
    assert kept == 24 * 1024
