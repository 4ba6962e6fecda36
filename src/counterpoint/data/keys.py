"""Randomness without state: a number is a hash of a key, so it is the same in every worker, rank and batch.

The hash is splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014): a
bijection of 64 bits, hence distinct counters give distinct numbers.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]
Word = NDArray[np.uint64]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def _mix(words: Word) -> Word:
    """In place: its argument is a fresh array."""
    words ^= words >> np.uint64(30)
    words *= _FIRST
    words ^= words >> np.uint64(27)
    words *= _SECOND
    words ^= words >> np.uint64(31)
    return words


def _words(keys: Int) -> Word:
    return np.atleast_1d(np.asarray(keys, dtype=np.int64)).view(np.uint64)


def derive(keys: Int | int, stream: int) -> Int:
    """New keys (n,), non-negative, from keys (n,) for one named use: a view, a transform, an epoch.

    Args:
        keys: (n,) whole numbers.
        stream: which use; keys of different streams are independent.
    """
    seeds = _mix(_words(np.asarray(keys)) + _GAMMA)
    seeds ^= _salt(stream)
    return (_mix(seeds) >> np.uint64(1)).view(np.int64)


@lru_cache(maxsize=1024)
def _salt(stream: int) -> np.uint64:
    salt: np.uint64 = _mix(np.array([stream % 2**64], dtype=np.uint64) * _GAMMA + _GAMMA)[0]
    return salt


def uniforms(keys: Int, count: int) -> NDArray[np.float64]:
    """Numbers (n, count) uniform on [0, 1), row i decided by ``keys[i]`` alone."""
    counters = np.arange(1, count + 1, dtype=np.uint64) * _GAMMA
    words = _mix(_mix(_words(keys) + _GAMMA)[:, None] + counters[None, :])
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
