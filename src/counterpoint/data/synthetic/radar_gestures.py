"""SIMULATED things people do on the spot: jumps, kicks, punches, waves, bows, throws and the like.

Every action is counted in repetitions; ``step.tempo`` of them go to a second between a lead-in and a lead-out of
``radar_gaits.EDGE``. Angles are channels of ``radar_skeleton.NEUTRAL``.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator

from counterpoint.data.synthetic.radar_gaits import EDGE, Step, bump, onset, sides, smooth
from counterpoint.data.synthetic.radar_skeleton import Body, Float, Pose

GRAVITY = 9.81


def repetitions(step: Step, time: Float) -> Float:
    """(T,) how many have been done, as a number that grows evenly from 0 to ``times``."""
    done: Float = np.clip((time - EDGE) * step.tempo, 0.0, step.times)
    return done


def jump(step: Step, time: Float, body: Body) -> Pose:
    """Jumping up: down into the knees, a flight as long as gravity makes it, and a soft landing."""
    phase = repetitions(step, time) % 1.0
    flight = 0.28 + 0.24 * step.size
    share = flight * step.tempo
    start = 0.55 - 0.5 * share
    air = np.clip((phase - start) / share, 0.0, 1.0)
    knees = 0.6 * bump(np.clip(phase / start, 0.0, 1.0)) + 0.5 * bump(
        np.clip((phase - start - share) / (1.0 - start - share), 0.0, 1.0)
    )
    lift = 0.5 * GRAVITY * flight**2 * air * (1.0 - air)
    arms = np.interp(phase, [0.0, start * 0.6, start + 0.5 * share, 1.0], [0.0, -40.0, 60.0 + 70.0 * step.size, 0.0])
    return (
        _legs_alike(60.0 * knees, -45.0 * knees) | _arms_alike(arms, arms + 15.0) | {"lift": lift, "lean": 22.0 * knees}
    )


def jacks(step: Step, time: Float, body: Body) -> Pose:
    """Jumping jacks: arms up and legs apart at once, and back."""
    cycles = repetitions(step, time)
    opened = bump(cycles)
    pose = {"lift": 0.10 * np.abs(np.sin(2.0 * np.pi * cycles))}
    for hand in ("left", "right"):
        for limb, wide in (("upper arm", 110.0 + 50.0 * step.size), ("forearm", 120.0 + 50.0 * step.size)):
            pose[f"{hand} {limb} side"] = np.full_like(time, 90.0)
            pose[f"{hand} {limb} raise"] = -86.0 + wide * opened
        for limb in ("thigh", "shank"):
            pose[f"{hand} {limb} side"] = np.full_like(time, 90.0)
            pose[f"{hand} {limb} raise"] = -90.0 + (18.0 + 10.0 * step.size) * opened
    return pose


def squat(step: Step, time: Float, body: Body) -> Pose:
    """Squats, the arms stretched forward."""
    down = bump(repetitions(step, time)) ** 0.8
    arms = 80.0 * down
    legs = _legs_alike((45.0 + 45.0 * step.size) * down, -(22.0 + 18.0 * step.size) * down)
    return legs | _arms_alike(arms, arms) | {"lean": (20.0 + 15.0 * step.size) * down}


def lunge(step: Step, time: Float, body: Body) -> Pose:
    """Lunges: one foot far ahead, the hips down, and back."""
    cycles = repetitions(step, time)
    down = bump(cycles)
    pose = {}
    for hand, ahead in zip(("left", "right"), sides(step, cycles), strict=True):
        pose[f"{hand} thigh raise"] = -90.0 + down * (ahead * (45.0 + 25.0 * step.size) - (1.0 - ahead) * 20.0)
        pose[f"{hand} shank raise"] = -90.0 - down * (1.0 - ahead) * (55.0 + 15.0 * step.size)
    return pose


def punch(step: Step, time: Float, body: Body) -> Pose:
    """Boxing: from the guard straight ahead and back."""
    cycles, guard = repetitions(step, time), onset(step, time)
    struck = bump(cycles) ** 3
    pose = {}
    for hand, own in zip(("left", "right"), sides(step, cycles), strict=True):
        out = struck * own
        pose[f"{hand} upper arm raise"] = -90.0 + guard * (25.0 + 65.0 * out)
        pose[f"{hand} forearm raise"] = -90.0 + guard * (140.0 - 50.0 * out)
        pose[f"{hand} forearm side"] = guard * -15.0 * (1.0 - out)
    left, right = sides(step, cycles)
    return pose | {"twist": (15.0 + 20.0 * step.size) * struck * (right - left), "lean": 6.0 * guard}


def wave(step: Step, time: Float, body: Body) -> Pose:
    """Waving: the upper arm out, the forearm to and fro over it."""
    cycles, up = repetitions(step, time), onset(step, time)
    pose = {}
    for hand, own in zip(("left", "right"), sides(step, cycles), strict=True):
        held = up * own
        pose[f"{hand} upper arm side"] = 90.0 * own
        pose[f"{hand} forearm side"] = 90.0 * own
        pose[f"{hand} upper arm raise"] = -90.0 + held * (85.0 + 35.0 * step.size)
        swing = (25.0 + 30.0 * step.size) * np.sin(2.0 * np.pi * cycles)
        pose[f"{hand} forearm raise"] = -90.0 + held * (175.0 + swing)
    return pose


def kick(step: Step, time: Float, body: Body) -> Pose:
    """Kicking ahead: the knee first, then the foot."""
    cycles = repetitions(step, time)
    raised = bump(cycles)
    pose = {"lean": -12.0 * raised}
    for hand, own in zip(("left", "right"), sides(step, cycles), strict=True):
        pose[f"{hand} thigh raise"] = -90.0 + own * raised * (45.0 + 45.0 * step.size)
        out = np.sin(2.0 * np.pi * (cycles % 1.0) - 0.9) * raised
        pose[f"{hand} shank raise"] = -90.0 + own * (raised * (35.0 + 45.0 * step.size) + 45.0 * out)
        pose[f"{hand} forearm raise"] = -90.0 + 60.0 * onset(step, time)
    return pose


def bow(step: Step, time: Float, body: Body) -> Pose:
    """Bowing from the hips."""
    return {"lean": (30.0 + 50.0 * step.size) * bump(repetitions(step, time)) ** 0.7}


def sit(step: Step, time: Float, body: Body) -> Pose:
    """Sitting down on a chair, standing up from it, or both."""
    share = (time - EDGE) / (step.seconds - 2.0 * EDGE)
    if step.mode == "down":
        low = smooth(share / 0.9)
    elif step.mode == "up":
        low = 1.0 - smooth(share / 0.9)
    else:
        low = smooth(share / 0.36) - smooth((share - 0.64) / 0.36)
    leant = 40.0 * np.sin(np.pi * low) + 4.0 * low
    return _legs_alike(84.0 * low, 2.0 * low) | _arms_alike(35.0 * low, 70.0 * low) | {"lean": leant}


def throw(step: Step, time: Float, body: Body) -> Pose:
    """Throwing overarm or underarm: far back, sharply ahead, and down."""
    cycles = repetitions(step, time)
    phase = np.where(cycles >= step.times, 1.0, cycles % 1.0)
    knots = [0.0, 0.45, 0.62, 0.75, 1.0]
    arms = {
        "overarm": ([-90.0, 70.0, 30.0, -30.0, -90.0], [-90.0, 165.0, 60.0, -45.0, -90.0]),
        "underarm": ([-90.0, -140.0, -70.0, 10.0, -90.0], [-90.0, -150.0, -75.0, 25.0, -90.0]),
    }[step.mode]
    upper, fore = (_through(knots, angles, phase) for angles in arms)
    pose = {}
    for hand, own in zip(("left", "right"), sides(step, cycles), strict=True):
        pose[f"{hand} upper arm raise"] = -90.0 + own * (upper + 90.0)
        pose[f"{hand} forearm raise"] = -90.0 + own * (fore + 90.0)
    left, right = sides(step, cycles)
    twisted = _through(knots, [0.0, -30.0, 10.0, 25.0, 0.0], phase)
    ahead = _through(knots, [0.0, -8.0, 10.0, 22.0, 0.0], phase)
    return pose | {"twist": (0.5 + 0.5 * step.size) * (right - left) * twisted, "lean": ahead}


def clap(step: Step, time: Float, body: Body) -> Pose:
    """Clapping in front of the chest."""
    up, apart = onset(step, time), 0.5 + 0.5 * np.cos(2.0 * np.pi * repetitions(step, time))
    pose = _arms_alike(45.0 * up, 90.0 * up)
    for hand in ("left", "right"):
        pose[f"{hand} upper arm side"] = up * (10.0 + 18.0 * apart)
        pose[f"{hand} forearm side"] = up * (-32.0 + (30.0 + 30.0 * step.size) * apart)
    return pose


def lift_arms(step: Step, time: Float, body: Body) -> Pose:
    """Raising the arms ahead or sideways, up to the height of the shoulders or over the head."""
    cycles = repetitions(step, time)
    up = (90.0 + 80.0 * step.size) * bump(cycles) ** 0.8
    pose = {}
    for hand, own in zip(("left", "right"), sides(step, cycles), strict=True):
        for limb in ("upper arm", "forearm"):
            pose[f"{hand} {limb} side"] = np.full_like(time, 90.0 if step.mode == "sideways" else 5.0)
            pose[f"{hand} {limb} raise"] = -90.0 + own * up
    return pose


def circle_arms(step: Step, time: Float, body: Body) -> Pose:
    """Circling stretched arms forward or backward."""
    cycles = repetitions(step, time)
    way = 1.0 if step.mode == "backwards" else -1.0
    pose = {}
    for hand, own in zip(("left", "right"), sides(step, cycles), strict=True):
        for limb in ("upper arm", "forearm"):
            pose[f"{hand} {limb} raise"] = -90.0 + way * 360.0 * (cycles % 1.0) * own
            pose[f"{hand} {limb} side"] = 15.0 * own * onset(step, time)
    return pose


def pick_up(step: Step, time: Float, body: Body) -> Pose:
    """Bending down for something on the floor and coming up again."""
    down = bump(repetitions(step, time)) ** 0.7
    arms = _arms_alike(55.0 * down, 50.0 * down)
    return _legs_alike(45.0 * down, -35.0 * down) | arms | {"lean": (60.0 + 20.0 * step.size) * down}


def fall(step: Step, time: Float, body: Body) -> Pose:
    """Falling over, ever faster, and lying there."""
    down = np.clip((time - EDGE) / (step.seconds - 2.0 * EDGE), 0.0, 1.0) ** 2.2
    way = -1.0 if step.mode == "backwards" else 1.0
    thrown = 70.0 * bump(down)
    bent = 25.0 * bump(down)
    return _arms_alike(thrown, thrown) | _legs_alike(bent, -bent) | {"pitch": way * 86.0 * down}


def twist(step: Step, time: Float, body: Body) -> Pose:
    """Twisting the trunk to the left and to the right, the arms held out."""
    held = onset(step, time)
    pose = {"twist": (30.0 + 35.0 * step.size) * np.sin(2.0 * np.pi * repetitions(step, time))}
    for hand in ("left", "right"):
        for limb in ("upper arm", "forearm"):
            pose[f"{hand} {limb} side"] = np.full_like(time, 90.0)
            pose[f"{hand} {limb} raise"] = -90.0 + 88.0 * held
    return pose


def _arms_alike(upper: Float, fore: Float) -> Pose:
    limbs = {"upper arm": upper, "forearm": fore}
    return {f"{hand} {limb} raise": angle - 90.0 for hand in ("left", "right") for limb, angle in limbs.items()}


def _legs_alike(thigh: Float, shank: Float) -> Pose:
    limbs = {"thigh": thigh, "shank": shank}
    pose = {f"{hand} {limb} raise": angle - 90.0 for hand in ("left", "right") for limb, angle in limbs.items()}
    return pose | {"rooted": np.ones_like(thigh)}


def _through(knots: list[float], angles: list[float], phase: Float) -> Float:
    """(T,) a curve through (knot, angle) without overshoot."""
    curve: Float = PchipInterpolator(knots, angles)(phase)
    return curve
