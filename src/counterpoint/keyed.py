"""Random numbers that are a pure function of a key: no state, no order, no seeding.

A counter-based hash (as Salmon et al., "Parallel Random Numbers: as Easy as 1, 2, 3", 2011) rather than a
generator a row, because seeding a generator costs more than the few numbers a row needs, and because the rows
of a batch are then drawn in one go. Good for augmentation, not for cryptography.
"""

from __future__ import annotations

from math import pi
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Keys = NDArray[np.int64]


def uniform(keys: Keys, count: int, purpose: str) -> NDArray[np.float32]:
    """Numbers strictly between 0 and 1, with 23 bits each.

    Args:
        keys: (B,) one a row.
        count: numbers a row.
        purpose: what they are for; another purpose draws other numbers from the same key.

    Returns:
        (B, count). The first numbers of a row stay the same when more are asked for.
    """
    bits = _bits(keys, count, purpose) >> np.uint32(9)
    return (bits.astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-23)


def normal(keys: Keys, count: int, purpose: str) -> Tensor:
    """(B, count) float32 numbers of mean 0 and variance 1 (Box and Muller, 1958); see ``uniform``."""
    half = (count + 1) // 2
    draws = torch.from_numpy(uniform(keys, 2 * half, purpose))
    radius = draws[:, :half].log().mul_(-2.0).sqrt_()
    angle = draws[:, half:].mul_(2.0 * pi)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], 1)[:, :count]


def _bits(keys: Keys, count: int, purpose: str) -> NDArray[np.uint32]:
    seeds = keys.astype(np.int64).view(np.uint64)
    salt = np.uint64(crc32(purpose.encode()) * 0x9E3779B97F4A7C15 % 2**64)
    seeds = _mixed64(_mixed64(seeds ^ salt) + np.uint64(0x9E3779B97F4A7C15))
    # Two words of 32 bits a row: one starts its sequence, the other enters between the rounds, so that no two
    # rows walk the same sequence at different places.
    start = (seeds >> np.uint64(32)).astype(np.uint32)[:, None]
    middle = seeds.astype(np.uint32)[:, None]
    counter = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B9)
    return _mixed32(_mixed32(counter + start) ^ middle)


def _mixed64(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele et al., 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _mixed32(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The ``lowbias32`` finaliser (Wellons, 2018), in place: its argument is a fresh array."""
    words ^= words >> np.uint32(16)
    words *= np.uint32(0x7FEB352D)
    words ^= words >> np.uint32(15)
    words *= np.uint32(0x846CA68B)
    words ^= words >> np.uint32(16)
    return words
