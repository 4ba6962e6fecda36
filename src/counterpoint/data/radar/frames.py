"""How long clips are and where they are cut: at random by key in training, in the middle otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from counterpoint.keys import Int, derive, uniforms

_CROP = 81


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Lengths of the clips.

    A clip is cut to the largest multiple of ``unit`` it holds, ``longest`` at most, all its views at the same place.

    Args:
        longest: what is longer is cropped.
        shortest: what is shorter cannot be used.
        unit: lengths are multiples of it.
        rate: frames a second; 0 where the clips do not share one.
    """

    longest: int = 496
    shortest: int = 96
    unit: int = 16
    rate: float = 0.0

    def __post_init__(self) -> None:
        """Check that the lengths fit together.

        Raises:
            ValueError: naming the length.
        """
        if self.unit < 1 or self.rate < 0:
            raise ValueError(f"frames.unit is {self.unit} and rate {self.rate}; from 1 and from 0")
        for name, length in (("shortest", self.shortest), ("longest", self.longest)):
            if length < 1 or length % self.unit:
                raise ValueError(f"frames.{name} is {length}; it is a multiple of frames.unit, {self.unit}")
        if self.longest < self.shortest:
            raise ValueError(f"frames.longest is {self.longest}, below frames.shortest, {self.shortest}")


class Cuts(NamedTuple):
    """Where clips are cut.

    Attributes:
        starts: (B,) first frame.
        lengths: (B,) frames from there.
    """

    starts: Int
    lengths: Int


def cuts(recorded: Int, frames: Frames, keys: Int | None, view: int = 0) -> Cuts:
    """Where each clip is cut.

    Args:
        recorded: (B,) frames on disk, ``frames.shortest`` at least.
        frames: lengths there may be.
        keys: (B,) each alone decides the place of its row; None for the middle.
        view: number of the view that is drawn; views draw different places.
    """
    lengths = np.minimum(recorded // frames.unit * frames.unit, frames.longest)
    spare = recorded - lengths
    if keys is None:
        return Cuts(spare // 2, lengths)
    share = uniforms(derive(keys, _CROP + 16 * view), 1)[:, 0]
    return Cuts((share * (spare + 1)).astype(np.int64), lengths)
