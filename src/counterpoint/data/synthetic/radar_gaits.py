"""SIMULATED ways of getting about: walking, running, marching in place, stepping aside, turning round.

The leg on the ground moves at an even rate that just makes up for the way the body goes, so that the foot stays where
it is; the other swings forward with the knee bent. Rates of strides against speed are about those of Grieve and Gear,
"The relationships between length of stride, step frequency, time of swing and speed of walking", Ergonomics 9 (1966).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from counterpoint.data.synthetic.radar_skeleton import Body, Float, Pose

EDGE = 0.45
"""Seconds in which an action is begun, and in which it is ended."""
TURNS = {"a quarter": 90.0, "half": 180.0, "full": 360.0}
"""Mode of turning -> degrees."""


class Step(NamedTuple):
    """One action of a clip.

    Attributes:
        activity: a key of ``radar_motion.KINDS``.
        seconds: it takes.
        tempo: metres a second where the person gets about, repetitions a second elsewhere.
        size: 0 to 1, how far the limbs go.
        side: left, right, both or alternate; empty where there is none to choose.
        times: it is repeated; 0 where the action just goes on.
        mode: a way of doing it, as ``radar_motion.KINDS`` lists them.
    """

    activity: str
    seconds: float
    tempo: float
    size: float
    side: str
    times: int
    mode: str


def smooth(share: Float) -> Float:
    """0 up to 0, 1 from 1 on, and level at both ends."""
    inside = np.clip(share, 0.0, 1.0)
    rise: Float = inside * inside * (3.0 - 2.0 * inside)
    return rise


def onset(step: Step, time: Float) -> Float:
    """(T,) 0 where the action begins and ends, 1 between."""
    return smooth(time / EDGE) * smooth((step.seconds - time) / EDGE)


def bump(cycles: Float) -> Float:
    """0 at whole cycles and 1 at the half ones."""
    raised: Float = 0.5 - 0.5 * np.cos(2.0 * np.pi * cycles)
    return raised


def sides(step: Step, cycles: Float) -> tuple[Float, Float]:
    """(T,) shares of the left and the right limb in what is done: both all the time, or by turns, the left first."""
    ones, odd = np.ones_like(cycles), np.floor(cycles) % 2.0
    return {
        "left": (ones, 0.0 * ones),
        "right": (0.0 * ones, ones),
        "both": (ones, ones),
        "alternate": (1.0 - odd, odd),
    }[step.side]


def walk(step: Step, time: Float, body: Body) -> Pose:
    """Walking, ahead or backwards, straight on or in a circle."""
    pose = _gait(step, time, body, _Style(0.5 + 0.34 * step.tempo, 0.62, 48.0, 22.0, 8.0, 0.0))
    if step.mode == "in a circle":
        pose["turn"] = pose["speed"] * (360.0 / float(pose["speed"].sum() / 20.0))
        pose["turn"] *= 1.0 if step.side == "left" else -1.0
    return pose


def run(step: Step, time: Float, body: Body) -> Pose:
    """Running."""
    return _gait(step, time, body, _Style(1.15 + 0.09 * step.tempo, 0.42, 95.0, 38.0, 85.0, 8.0))


def march(step: Step, time: Float, body: Body) -> Pose:
    """Marching in place, the knees lifted by turns."""
    ramp, cycles = onset(step, time), step.tempo * time
    pose = {}
    for hand, phase in (("left", 0.0), ("right", 0.5)):
        lifted = ramp * np.maximum(0.0, np.sin(2.0 * np.pi * (cycles + phase))) ** 1.5
        pose[f"{hand} thigh raise"] = -90.0 + (35.0 + 55.0 * step.size) * lifted
        pose[f"{hand} shank raise"] = -90.0 - 15.0 * lifted
        swing = ramp * 30.0 * body.swing * np.sin(2.0 * np.pi * (cycles + phase + 0.5))
        pose[f"{hand} upper arm raise"] = -90.0 + swing
        pose[f"{hand} forearm raise"] = -90.0 + swing + ramp * 50.0
    return pose


def sidestep(step: Step, time: Float, body: Body) -> Pose:
    """Stepping sideways: one leg out, the other after it."""
    ramp = onset(step, time)
    direction = 1.0 if step.side == "left" else -1.0
    rate = 0.9 + 0.5 * step.tempo
    opened = np.degrees(np.arcsin(np.clip(step.tempo / rate / (2.0 * body.leg), 0.0, 0.6)))
    cycles = rate * time
    pose = {"strafe": direction * step.tempo * ramp * 1.2 * bump(cycles) ** 0.5}
    for hand in ("left", "right"):
        out = ramp * opened * bump(cycles)
        for limb in ("thigh", "shank"):
            pose[f"{hand} {limb} side"] = np.full_like(time, 90.0)
            pose[f"{hand} {limb} raise"] = -90.0 + out
        pose[f"{hand} forearm raise"] = -90.0 + ramp * 35.0
    return pose


def turn(step: Step, time: Float, body: Body) -> Pose:
    """Turning on the spot with small steps."""
    left = 1.0 if step.side == "left" else -1.0
    angle = TURNS[step.mode] * left * smooth(time / step.seconds)
    pose = march(step._replace(size=-0.3, tempo=1.2), time, body._replace(swing=0.3 * body.swing))
    return pose | {"turn": np.gradient(angle) * 20.0}


class _Style(NamedTuple):
    """Strides a second, share of a stride a foot is down, degrees of knee, arm swing, bent elbow and lean."""

    strides: float
    down: float
    knee: float
    arms: float
    elbow: float
    lean: float


def _gait(step: Step, time: Float, body: Body, style: _Style) -> Pose:
    ramp = onset(step, time)
    backwards = -1.0 if step.mode == "backwards" else 1.0
    cycles = style.strides * time * backwards
    reach = min(step.tempo * style.down / (2.0 * style.strides * body.leg), math.radians(48.0))
    pose = {"speed": backwards * step.tempo * ramp, "lean": ramp * style.lean}
    pose["twist"] = ramp * 5.0 * np.sin(2.0 * np.pi * cycles)
    for hand, phase in (("left", 0.0), ("right", 0.5)):
        leg, bent = _swing(cycles + phase, style.down)
        thigh = -90.0 + ramp * math.degrees(reach) * leg
        pose[f"{hand} thigh raise"] = thigh + ramp * 0.25 * style.knee * bent
        pose[f"{hand} shank raise"] = thigh - ramp * style.knee * bent
        arm, _ = _swing(cycles + phase + 0.5, 0.5)
        pose[f"{hand} upper arm raise"] = -90.0 + ramp * style.arms * body.swing * arm
        pose[f"{hand} forearm raise"] = pose[f"{hand} upper arm raise"] + ramp * (style.elbow + 12.0 * arm)
    return pose


def _swing(cycles: Float, down: float) -> tuple[Float, Float]:
    """(T,) where a leg is, 1 ahead to -1 behind, and how far its knee is bent, 0 to 1; it lands at whole cycles."""
    phase = cycles % 1.0
    air = np.clip((phase - down) / (1.0 - down), 0.0, 1.0)
    leg = np.where(phase < down, 1.0 - 2.0 * phase / down, -np.cos(np.pi * air))
    return leg, np.sin(np.pi * air) ** 2
