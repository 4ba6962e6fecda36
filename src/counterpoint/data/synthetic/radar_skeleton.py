"""Twenty-two joints of a SIMULATED person, in the order and the axes of HumanML3D, from the angles of limbs and trunk.

Axes are HumanML3D's: metres, y up, a person of heading 0 looks along +z and has the left hand on +x. The lowest joint
stands on the floor, y = 0, unless the person is in the air, so that the trunk rises and sinks with the legs.

Order of the joints after Guo et al., "Generating Diverse and Natural 3D Human Motions From Text", CVPR 2022; lengths of
the segments are about those of Winter, Biomechanics and Motor Control of Human Movement, 4th ed., Wiley 2009.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Pose = dict[str, Float]
"""Channel -> (T,) values; see ``NEUTRAL``."""
Hand = Literal["left", "right"]

MOTION_RATE = 20.0
"""Poses a second, as in HumanML3D."""
JOINTS = (
    *("pelvis", "left hip", "right hip", "spine 1", "left knee", "right knee", "spine 2", "left ankle", "right ankle"),
    *("spine 3", "left foot", "right foot", "neck", "left collar", "right collar", "head"),
    *("left shoulder", "right shoulder", "left elbow", "right elbow", "left wrist", "right wrist"),
)
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
"""The joint that each hangs on; -1 for the root."""

LIMBS = ("upper arm", "forearm", "thigh", "shank")
_TRUNK = ("speed", "strafe", "turn", "lift", "lean", "tilt", "twist", "pitch", "rooted")
NEUTRAL = dict.fromkeys(_TRUNK, 0.0) | {
    f"{hand} {limb} {angle}": {"raise": -90.0, "side": 0.0}[angle]
    for hand in ("left", "right")
    for limb in LIMBS
    for angle in ("raise", "side")
}
"""Channels of a pose and their values in someone who stands still.

``speed`` ahead and ``strafe`` to the own left are m/s, ``turn`` to the left is degrees a second, ``lift`` off the floor
is metres; the rest are degrees: ``lean`` forward and ``tilt`` to the left from the hips up, ``twist`` to the left,
``pitch`` of the whole body forward, and where a segment of a limb points: ``raise`` over the horizon, ``side`` outwards
from straight ahead. ``rooted`` is 1 where the feet stay and the hips give way, 0 where the hips go their own way.
"""


class Body(NamedTuple):
    """What a person brings along.

    Attributes:
        height: in metres.
        legs: length over that of the middling person of this height.
        shoulders: width over that of the middling person of this height.
        bulk: radar cross-section over that of the middling person.
        vigour: factor on the rate of whatever the person does.
        swing: factor on what the arms do while walking.
        stoop: degrees the trunk leans forward all the time.
        bend: degrees the elbows are bent all the time.
    """

    height: float = 1.72
    legs: float = 1.0
    shoulders: float = 1.0
    bulk: float = 1.0
    vigour: float = 1.0
    swing: float = 1.0
    stoop: float = 2.0
    bend: float = 10.0

    @property
    def leg(self) -> float:
        """Metres from hip to floor."""
        return 0.51 * self.height * self.legs


class Start(NamedTuple):
    """Where a person begins: metres to the radar's left and away from it, and degrees, 180 facing the radar."""

    x: float
    z: float
    heading: float


def draw_body(chance: np.random.Generator) -> Body:
    """A person."""
    return Body(
        height=float(np.clip(chance.normal(1.72, 0.10), 1.45, 2.0)),
        legs=float(chance.uniform(0.95, 1.05)),
        shoulders=float(chance.uniform(0.88, 1.12)),
        bulk=float(np.exp(chance.normal(0.0, 0.25))),
        vigour=float(np.exp(chance.normal(0.0, 0.08))),
        swing=float(chance.uniform(0.6, 1.4)),
        stoop=float(chance.uniform(-1.0, 6.0)),
        bend=float(chance.uniform(4.0, 25.0)),
    )


def path(pose: Pose, start: Start) -> tuple[Float, Float]:
    """(T, 2) x and z of the person on the floor, and (T,) headings in degrees."""
    heading = start.heading + np.cumsum(pose["turn"]) / MOTION_RATE
    sine, cosine = np.sin(np.radians(heading)), np.cos(np.radians(heading))
    x = pose["speed"] * sine + pose["strafe"] * cosine
    z = pose["speed"] * cosine - pose["strafe"] * sine
    steps = np.stack([x, z], 1) / MOTION_RATE
    return np.array([start.x, start.z]) + np.cumsum(steps, 0), heading


def joints(pose: Pose, body: Body, start: Start) -> Float:
    """(T, 22, 3) joints of a pose of all channels, standing at ``start`` when the clip begins."""
    trunk = _trunk(body)
    count = len(pose["speed"])
    placed = np.zeros((count, len(JOINTS), 3))
    for joint, offset in trunk.items():
        # Hips turn with the pelvis alone; what is above it leans, tilts and twists from there.
        upper = _turned(offset, pose["lean"] + body.stoop, pose["tilt"], pose["twist"])
        placed[:, joint] = offset if joint in (1, 2) else upper
    for side, hand in ((1.0, "left"), (-1.0, "right")):
        first = 0 if hand == "left" else 1
        _legs(placed, pose, body, hand, side, first)
        _arms(placed, pose, body, hand, side, first)
    placed = _about_x(placed, pose["pitch"][:, None])
    placed[..., 1] += (pose["lift"] - placed[..., 1].min(1))[:, None]
    placed[..., 2] -= (pose["rooted"] * placed[:, (7, 8), 2].mean(1))[:, None]
    route, heading = path(pose, start)
    placed = _about_y(placed, heading[:, None])
    placed[..., (0, 2)] += route[:, None]
    return placed


def _trunk(body: Body) -> dict[int, Float]:
    """Joints of trunk and head, of someone who stands upright, from the pelvis."""
    height, wide = body.height, body.height * body.shoulders
    up = {0: 0.0, 1: -0.045, 2: -0.045, 3: 0.065, 6: 0.145, 9: 0.18, 12: 0.30, 15: 0.385}
    offsets = {joint: np.array([0.0, share * height, 0.0]) for joint, share in up.items()}
    for side, hip, collar, shoulder in ((1.0, 1, 13, 16), (-1.0, 2, 14, 17)):
        offsets[hip][0] = side * 0.05 * height
        offsets[collar] = np.array([side * 0.045 * wide, 0.245 * height, 0.0])
        offsets[shoulder] = np.array([side * 0.112 * wide, 0.255 * height, 0.0])
    return offsets


def _legs(placed: Float, pose: Pose, body: Body, hand: str, side: float, first: int) -> None:
    hip, knee, ankle, foot = 1 + first, 4 + first, 7 + first, 10 + first
    shank = pose[f"{hand} shank raise"]
    placed[:, knee] = placed[:, hip] + 0.48 * body.leg * _ahead(pose, f"{hand} thigh", side)
    placed[:, ankle] = placed[:, knee] + 0.46 * body.leg * _ahead(pose, f"{hand} shank", side)
    toes = _direction(-25.0 + 0.7 * (shank + 90.0), np.full_like(shank, 10.0), side)
    placed[:, foot] = placed[:, ankle] + 0.085 * body.height * toes


def _arms(placed: Float, pose: Pose, body: Body, hand: str, side: float, first: int) -> None:
    shoulder, elbow, wrist = 16 + first, 18 + first, 20 + first
    angles = pose["lean"] + body.stoop, pose["tilt"], pose["twist"]
    upper = _turned(_ahead(pose, f"{hand} upper arm", side), *angles)
    fore = _turned(_ahead(pose, f"{hand} forearm", side), *angles)
    placed[:, elbow] = placed[:, shoulder] + 0.17 * body.height * upper
    placed[:, wrist] = placed[:, elbow] + 0.15 * body.height * fore


def _ahead(pose: Pose, limb: str, side: float) -> Float:
    return _direction(pose[f"{limb} raise"], pose[f"{limb} side"], side)


def _direction(above: Float, outwards: Float, side: float) -> Float:
    """(T, 3) unit vectors."""
    up, out = np.radians(above), np.radians(outwards)
    return np.stack([np.cos(up) * np.sin(out) * side, np.sin(up), np.cos(up) * np.cos(out)], -1)


def _turned(vector: Float, lean: Float, tilt: Float, twist: Float) -> Float:
    """(T, 3) a vector, or one a frame, twisted to the left, tilted to the left and leant forward, in degrees."""
    vectors = np.broadcast_to(vector, (len(lean), 3))
    x, y, z = np.moveaxis(_about_y(vectors, twist), -1, 0)
    sine, cosine = np.sin(np.radians(tilt)), np.cos(np.radians(tilt))
    tilted = np.stack([x * cosine + y * sine, y * cosine - x * sine, z], -1)
    return _about_x(tilted, lean)


def _about_x(points: Float, forward: Float) -> Float:
    x, y, z = np.moveaxis(points, -1, 0)
    sine, cosine = np.sin(np.radians(forward)), np.cos(np.radians(forward))
    return np.stack([x, y * cosine - z * sine, y * sine + z * cosine], -1)


def _about_y(points: Float, left: Float) -> Float:
    x, y, z = np.moveaxis(points, -1, 0)
    sine, cosine = np.sin(np.radians(left)), np.cos(np.radians(left))
    return np.stack([x * cosine + z * sine, y, z * cosine - x * sine], -1)
