"""Randomness without state: a number is a hash of a key, so it is the same in every worker, rank and batch.

The hash is splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014): a
bijection of 64 bits, hence distinct counters give distinct numbers. ``derive`` and ``uniforms`` choose: few numbers
a key, of 53 bits. ``uniform`` and ``normal`` make noise: many numbers a key, of 23 bits, from a hash of 32 bits.
Seeding a generator a row would cost more than the few numbers that a row needs. Not for cryptography.
"""

from __future__ import annotations

from functools import lru_cache
from math import pi
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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


def uniform(keys: Int, count: int, purpose: str) -> NDArray[np.float32]:
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


def normal(keys: Int, count: int, purpose: str) -> Tensor:
    """(B, count) float32 numbers of mean 0 and variance 1 (Box and Muller, 1958); see ``uniform``."""
    half = (count + 1) // 2
    draws = torch.from_numpy(uniform(keys, 2 * half, purpose))
    radius = draws[:, :half].log().mul_(-2.0).sqrt_()
    angle = draws[:, half:].mul_(2.0 * pi)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], 1)[:, :count]


def hashed_normal(keys: Tensor, places: Tensor, count: int) -> Tensor:
    """(n, count) float32 numbers of mean 0 and variance 1, row i decided by its key and its place alone.

    The same hash as ``normal`` in tensor arithmetic, on the device of the keys, for noise drawn inside a model. A place
    below 2**31 stands for the purpose: a row of a batch draws for its first set, its second, ...

    Args:
        keys: (n,) int64.
        places: (n,) int64, 0 or more.
        count: numbers a row.
    """
    seeds = _mix_tensor(keys ^ _mix_tensor(places + 1))
    half = (count + 1) // 2
    start, middle = (seeds >> 32).int(), seeds.int()
    counter = (torch.arange(2 * half, device=keys.device) * 0x9E3779B9).int()
    bits = _mix32_tensor(_mix32_tensor(counter + start.unsqueeze(1)).bitwise_xor_(middle.unsqueeze(1)))
    draws = (bits >> 9).bitwise_and_(2**23 - 1).float().add_(0.5).mul_(2.0**-23)
    radius = draws[:, :half].log_().mul_(-2.0).sqrt_()
    angle = draws[:, half:].mul_(2.0 * pi)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], 1)[:, :count]


def _mix_tensor(words: Tensor) -> Tensor:
    """``_mix`` in int64, which wraps as unsigned words do; shifts of negative words are cleared of their sign."""
    words = (words ^ ((words >> 30) & (2**34 - 1))) * _FIRST.astype(np.int64).item()
    words = (words ^ ((words >> 27) & (2**37 - 1))) * _SECOND.astype(np.int64).item()
    return words ^ ((words >> 31) & (2**33 - 1))


def _mix32_tensor(words: Tensor) -> Tensor:
    """``_mix32`` in int32, in place; see ``_mix_tensor``."""
    words ^= (words >> 16).bitwise_and_(2**16 - 1)
    words *= 0x7FEB352D
    words ^= (words >> 15).bitwise_and_(2**17 - 1)
    words *= 0x846CA68B - 2**32
    words ^= (words >> 16).bitwise_and_(2**16 - 1)
    return words


def _bits(keys: Int, count: int, purpose: str) -> NDArray[np.uint32]:
    seeds = _words(keys)
    salt = np.uint64(crc32(purpose.encode()) * 0x9E3779B97F4A7C15 % 2**64)
    seeds = _mix(_mix(seeds ^ salt) + _GAMMA)
    # Two words of 32 bits a row: one starts its sequence, the other enters between the rounds, so that no two
    # rows walk the same sequence at different places.
    start = (seeds >> np.uint64(32)).astype(np.uint32)[:, None]
    middle = seeds.astype(np.uint32)[:, None]
    counter = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B9)
    return _mix32(_mix32(counter + start) ^ middle)


def _mix32(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The ``lowbias32`` finaliser (Wellons, 2018), in place: its argument is a fresh array."""
    words ^= words >> np.uint32(16)
    words *= np.uint32(0x7FEB352D)
    words ^= words >> np.uint32(15)
    words *= np.uint32(0x846CA68B)
    words ^= words >> np.uint32(16)
    return words
