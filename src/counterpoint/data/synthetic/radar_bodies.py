"""SIMULATED scatterers: the points of a person, and of a room, that send a radar's wave back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline

from counterpoint.data.synthetic.radar_signal import FRAME_RATE, Targets
from counterpoint.data.synthetic.radar_skeleton import JOINTS, PARENTS, Float

HEIGHT = 1.0
"""Of the radar over the floor in metres."""
SECTION = 0.6
"""Radar cross-section of the middling person in square metres, all scatterers together."""
JOINT_SHARES = {
    **{"pelvis": 12, "spine 1": 10, "spine 2": 12, "spine 3": 12, "neck": 3, "head": 8},
    **{"shoulder": 3, "elbow": 2, "wrist": 2.5, "knee": 3, "ankle": 2.5, "foot": 2},
}
"""Joint, on either side where there are two -> share of the cross-section, in parts of all."""
SEGMENT_SHARES = {"knee": 5, "ankle": 2.5, "elbow": 2, "wrist": 1.5}
"""Joint -> share of the middle of the segment that ends there."""
_CLUTTER = 6


class Room(NamedTuple):
    """What stands about: (n, 3) metres on the floor's axes, and (n,) cross-sections in square metres."""

    position: Float
    section: Float


def draw_room(chance: np.random.Generator) -> Room:
    """Furniture and walls: up to six static scatterers, weaker than a person and often nearer."""
    low, high = np.array([-3.0, 0.1, 2.5]), np.array([3.0, 2.4, 10.0])
    section = 0.01 * np.exp(chance.normal(0.0, 1.0, _CLUTTER))
    section[int(chance.integers(0, _CLUTTER + 1)) :] = 0.0
    return Room(chance.uniform(low, high, (_CLUTTER, 3)), section)


def scatterers(joints: Float, bulk: float, room: Room) -> Targets:
    """What the radar sees of a person in a room.

    Positions are the joints' and those halfway along the limbs; speeds are the slopes of cubic splines through them.

    Args:
        joints: (T, 22, 3) metres on the floor's axes at ``FRAME_RATE``; the radar is at (0, ``HEIGHT``, 0).
        bulk: cross-section of the person over that of the middling one.
        room: around.
    """
    names = [name.split()[-1] if name.startswith(("left", "right")) else name for name in JOINTS]
    own = [index for index, name in enumerate(names) if name in JOINT_SHARES]
    ends = [index for index, name in enumerate(names) if name in SEGMENT_SHARES]
    middles = 0.5 * (joints[:, ends] + joints[:, [PARENTS[index] for index in ends]])
    points = np.concatenate([joints[:, own], middles], 1)
    shares = [JOINT_SHARES[names[index]] for index in own] + [SEGMENT_SHARES[names[index]] for index in ends]
    section = SECTION * bulk * np.array(shares) / sum(shares)
    count = len(joints)
    speed = CubicSpline(np.arange(count) / FRAME_RATE, points, axis=0)(np.arange(count) / FRAME_RATE, 1)
    still = np.broadcast_to(room.position, (count, *room.position.shape))
    return Targets(
        position=np.concatenate([points, still], 1) - np.array([0.0, HEIGHT, 0.0]),
        velocity=np.concatenate([speed, np.zeros_like(still)], 1),
        section=np.concatenate([section, room.section]),
    )
