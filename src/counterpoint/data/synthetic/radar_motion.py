"""SIMULATED motion clips: who does what, when, how fast, how often and where, and the joints that come of it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from counterpoint.data.synthetic import radar_gaits as gaits
from counterpoint.data.synthetic import radar_gestures as gestures
from counterpoint.data.synthetic.radar_gaits import EDGE, Step
from counterpoint.data.synthetic.radar_skeleton import (
    MOTION_RATE,
    NEUTRAL,
    Body,
    Float,
    Pose,
    Start,
    joints,
    path,
)

FRAMES = 16
"""Clips are whole multiples of it long."""
SHORTEST, LONGEST = 96, 256
"""Frames of a clip."""
NEAREST, FARTHEST, WIDEST = 1.3, 9.5, 0.85
"""Metres the person keeps to, and the largest x / z."""


class Kind(NamedTuple):
    """What can be drawn of an activity.

    Attributes:
        label: the class it is given in the split files, as a person would say it.
        pose: from step, time and body to the channels it moves.
        tempo: smallest and largest; metres a second of gaits, else repetitions a second.
        counts: fewest and most repetitions; 0, 0 for what just goes on.
        sides: to choose from.
        modes: to choose from.
    """

    label: str
    pose: Callable[[Step, Float, Body], Pose]
    tempo: tuple[float, float]
    counts: tuple[int, int] = (0, 0)
    sides: tuple[str, ...] = ("",)
    modes: tuple[str, ...] = ("",)


_EITHER, _TURNS, _ALL = ("left", "right"), ("left", "right", "alternate"), ("left", "right", "both")
KINDS = {
    "walk": Kind("walking", gaits.walk, (0.6, 1.9), sides=_EITHER, modes=("", "", "", "backwards", "in a circle")),
    "run": Kind("running", gaits.run, (2.0, 3.6)),
    "march": Kind("marching in place", gaits.march, (0.6, 1.5)),
    "sidestep": Kind("stepping sideways", gaits.sidestep, (0.3, 0.9), sides=_EITHER),
    "turn": Kind("turning around", gaits.turn, (0.2, 0.6), sides=_EITHER, modes=tuple(gaits.TURNS)),
    "jump": Kind("jumping", gestures.jump, (0.6, 1.0), (1, 6)),
    "jacks": Kind("doing jumping jacks", gestures.jacks, (0.6, 1.3), (2, 8)),
    "squat": Kind("squatting", gestures.squat, (0.3, 0.75), (1, 4)),
    "lunge": Kind("lunging", gestures.lunge, (0.35, 0.65), (1, 4), _TURNS),
    "punch": Kind("boxing", gestures.punch, (0.9, 2.2), (1, 9), ("left", "right", "alternate", "alternate")),
    "wave": Kind("waving", gestures.wave, (0.8, 2.2), (3, 8), _ALL),
    "kick": Kind("kicking", gestures.kick, (0.5, 1.1), (1, 5), _TURNS),
    "bow": Kind("bowing", gestures.bow, (0.22, 0.55), (1, 3)),
    "sit": Kind("sitting down or standing up", gestures.sit, (0.2, 0.5), modes=("down", "up", "down and up")),
    "throw": Kind("throwing", gestures.throw, (0.4, 0.75), (1, 3), _EITHER, ("overarm", "overarm", "underarm")),
    "clap": Kind("clapping", gestures.clap, (1.0, 2.8), (3, 12)),
    "lift_arms": Kind("raising the arms", gestures.lift_arms, (0.25, 0.7), (1, 4), _ALL, ("ahead", "sideways")),
    "circle_arms": Kind("circling the arms", gestures.circle_arms, (0.5, 1.3), (3, 8), _ALL, ("forwards", "backwards")),
    "pick_up": Kind("picking something up", gestures.pick_up, (0.22, 0.5), (1, 3)),
    "fall": Kind("falling down", gestures.fall, (0.5, 0.9), modes=("forwards", "backwards")),
    "twist": Kind("twisting the trunk", gestures.twist, (0.35, 0.9), (2, 6)),
}
"""Everything the simulated people do."""
GAITS = ("walk", "run", "sidestep")
_STEPS = (0.35, 0.5, 0.15)
_LAST, _FIRST = {"fall"}, {"up"}
"""Activities nothing comes after, and modes nothing comes before."""
_FACING = {
    "going": {180: 0.3, 0: 0.22, 90: 0.12, 270: 0.12, 135: 0.06, 225: 0.06, 45: 0.06, 315: 0.06},
    "staying": {180: 0.6, 0: 0.16, 90: 0.12, 270: 0.12},
}
"""Degrees the person looks at first -> share of the clips that begin with a gait, and of the others."""


class Clip(NamedTuple):
    """T frames of one person.

    Attributes:
        body: of the person.
        steps: what the person does, in order.
        spans: first and last frame of each step, the last exclusive.
        route: (T, 2) x and z on the floor in metres.
        heading: (T,) degrees, 180 facing the radar.
        joints: (T, 22, 3) metres on the floor's axes, whose origin lies below the radar.
    """

    body: Body
    steps: tuple[Step, ...]
    spans: tuple[tuple[int, int], ...]
    route: Float
    heading: Float
    joints: Float

    @property
    def label(self) -> str:
        """Of the step that takes longest."""
        longest = max(self.steps, key=lambda step: step.seconds)
        return KINDS[longest.activity].label


def draw_clip(body: Body, chance: np.random.Generator) -> Clip:
    """A clip of a person, within reach of the radar."""
    count = int(chance.choice((1, 2, 3), p=_STEPS))
    while True:
        steps = _draw_steps(count, body, chance)
        poses = [_pose(step, body) for step in steps]
        pose, spans = _joined(poses, chance)
        start = _placed(pose, steps, chance)
        if start is not None and SHORTEST <= len(pose["speed"]) <= LONGEST:
            route, heading = path(pose, start)
            return Clip(body, steps, spans, route, heading, joints(_alive(pose, chance), body, start))


def _draw_steps(count: int, body: Body, chance: np.random.Generator) -> tuple[Step, ...]:
    while True:
        steps = tuple(_draw_step(body, chance, 1.8 / count**0.5) for _ in range(count))
        names = [step.activity for step in steps]
        ended = any(step.activity in _LAST or step.mode == "down" for step in steps[:-1])
        begun = any(step.mode in _FIRST for step in steps[1:])
        repeated = any(one == other for one, other in pairwise(names))
        if not (ended or begun or repeated):
            return steps


def _draw_step(body: Body, chance: np.random.Generator, stretch: float) -> Step:
    name = str(chance.choice(tuple(KINDS)))
    kind = KINDS[name]
    tempo = float(chance.uniform(*kind.tempo)) * body.vigour
    side, mode = (str(chance.choice(choices)) for choices in (kind.sides, kind.modes))
    count = int(chance.integers(kind.counts[0], kind.counts[1] + 1))
    side = "left" if side == "alternate" and count == 1 else side
    if kind.counts[1]:
        seconds = 2.0 * EDGE + count / tempo
    elif name in ("sit", "fall", "turn"):
        angle = gaits.TURNS[mode] / 180.0 if name == "turn" else 2.0 if mode == "down and up" else 1.0
        seconds = 2.0 * EDGE + (0.6 if name == "turn" else 0.9) * angle**0.7 / tempo
    else:
        seconds = float(chance.uniform(1.8, 3.6)) * stretch
        seconds = min(seconds, 6.0 / tempo) if name in GAITS and mode != "in a circle" else seconds
        seconds = max(seconds, 3.0) if mode == "in a circle" else seconds
    return Step(name, seconds, tempo, float(chance.random()), side, count, mode)


def _pose(step: Step, body: Body) -> Pose:
    """All channels of one step at the rate of motion."""
    time = np.arange(round(step.seconds * MOTION_RATE)) / MOTION_RATE
    moved = KINDS[step.activity].pose(step, time, body)
    return {channel: moved.get(channel, np.full(len(time), level)) for channel, level in NEUTRAL.items()}


def _joined(poses: list[Pose], chance: np.random.Generator) -> tuple[Pose, tuple[tuple[int, int], ...]]:
    """Steps after one another, pauses between them, stillness around them, and a whole multiple of frames in all."""
    counts = [len(pose["speed"]) for pose in poses]
    pauses = [int(pause) for pause in chance.integers(2, 8, len(poses) - 1)]
    before, after = (int(still) for still in chance.integers(4, 14, 2))
    total = sum(counts) + sum(pauses) + before + after
    after += max(SHORTEST, -(-total // FRAMES) * FRAMES) - total
    shift = int(chance.integers(0, after // 2 + 1))
    starts = np.cumsum([before + shift, *(n + pause for n, pause in zip(counts, [*pauses, 0], strict=True))])
    spans = tuple((int(start), int(start) + n) for start, n in zip(starts, counts, strict=False))
    times, length = np.concatenate([np.arange(*span) for span in spans]), int(spans[-1][1] + after - shift)
    joined = {}
    for channel in NEUTRAL:
        values = np.concatenate([pose[channel] for pose in poses])
        joined[channel] = np.interp(np.arange(length), times, values)
        if channel in ("speed", "strafe", "turn", "lift"):
            joined[channel][: spans[0][0]] = joined[channel][spans[-1][1] :] = 0.0
    return joined, spans


def _placed(pose: Pose, steps: tuple[Step, ...], chance: np.random.Generator) -> Start | None:
    """Somewhere to begin from which the person stays within reach; None where there is no such place."""
    shares = _FACING["going" if steps[0].activity in GAITS else "staying"]
    for _ in range(40):
        heading = float(chance.choice(tuple(shares), p=tuple(shares.values())) + chance.normal(0.0, 8.0))
        route, _ = path(pose, Start(0.0, 0.0, heading))
        middle = np.array([chance.uniform(-0.5, 0.5), 1.0]) * chance.uniform(1.6, 8.0)
        x, z = (route + middle - 0.5 * (route.max(0) + route.min(0))).T
        distance = np.hypot(x, z)
        if distance.min() > NEAREST and distance.max() < FARTHEST and (np.abs(x) < WIDEST * z).all():
            offset = np.array([x[0], z[0]]) - route[0]
            return Start(float(offset[0]), float(offset[1]), heading)
    return None


def _alive(pose: Pose, chance: np.random.Generator) -> Pose:
    """The pose with the small restlessness of anyone who stands: breath, sway, arms that never quite repeat."""
    time = np.arange(len(pose["speed"])) / MOTION_RATE
    moved = dict(pose)
    sway = [("lean", 0.8), ("tilt", 0.8), ("twist", 1.0)]
    arms = [(channel, 2.0) for channel in NEUTRAL if "arm" in channel]
    for channel, degrees in [*sway, *arms]:
        rates, phases = chance.uniform(0.1, 0.7, (3, 1)), chance.uniform(0.0, 2.0 * np.pi, (3, 1))
        moved[channel] = pose[channel] + degrees / 3.0 * np.sin(2.0 * np.pi * rates * time + phases).sum(0)
    return moved
