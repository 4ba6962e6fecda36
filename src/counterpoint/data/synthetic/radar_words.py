"""Sentences on a SIMULATED motion clip, made of what it was made from; several a clip, worded differently.

A sentence tells much and not all: what is done, often how fast, how far, how many times and which way, seldom which arm
or leg, for a radar in front of someone hardly sees that. Words for directions come from where the person really went,
words for speed and size from what was drawn. Some sentences are coarse on purpose, as people's are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from counterpoint.data.synthetic.radar_motion import GAITS, KINDS, Clip
from counterpoint.data.synthetic.radar_verbs import LIMBS, SIZES, VERBS

SUBJECTS = ("a person", "someone", "somebody", "the person", "a human", "the subject")
SLOW = ("slowly", "at a slow pace", "unhurriedly", "without haste")
FAST = ("quickly", "fast", "rapidly", "at a brisk pace")
COUNTS = ("", "once", "twice", "three times", "four times", "five times", "six times")
NUMBERS = ("", "one", "two", "three", "four", "five", "six")
MANY, A_FEW = ("several times", "many times", "repeatedly", "again and again"), ("several", "many", "a number of")

ONE = (
    "{who} {does}",
    "{who} is {doing}",
    "{who} can be seen {doing}",
    "there is {who} {doing}",
    "the radar sees {who} {doing}",
    "{doing}",
)
TWO = (
    "{who} {does}, then {does2}",
    "{who} {does} and then {does2}",
    "{who} {does} and afterwards {does2}",
    "{who} {does}; next the person {does2}",
    "after {doing}, {who} {does2}",
    "{who} {does2} after {doing}",
    "{who} {does} before {doing2}",
    "first {who} {does}, later the person {does2}",
    "{who} begins by {doing} and ends by {doing2}",
    "{doing}, then {doing2}",
)
THREE = (
    "{who} {does}, then {does2}, and finally {does3}",
    "{who} {does}, {does2} and {does3}",
    "first {who} {does}, then the person {does2}, and at last the person {does3}",
    "after {doing}, {who} {does2} and then {does3}",
    "{doing}, then {doing2}, then {doing3}",
)

UNCOUNTED = ("wave", "clap", "circle_arms")
"""Activities whose repetitions nobody counts."""
Chance = np.random.Generator


def describe(clip: Clip, chance: Chance) -> list[str]:
    """Two to four sentences on a clip, the first the most telling, no two alike.

    Args:
        clip: what happened.
        chance: of the words.
    """
    count = int(chance.choice((2, 3, 4), p=(0.3, 0.4, 0.3)))
    detail = [0.95, 0.75, 0.6, 0.45][:count]
    if count > 2 and chance.random() < 0.5:
        detail[-1] = 0.0
    captions: list[str] = []
    for share in detail:
        for _ in range(8):
            caption = _sentence(clip, share, chance)
            if caption not in captions:
                captions.append(caption)
                break
    return captions


def _sentence(clip: Clip, detail: float, chance: Chance) -> str:
    """One sentence that mentions each thing it could with probability ``detail``."""
    order = range(len(clip.steps))
    if detail == 0.0 and chance.random() < 0.6:  # of all that happened, only what took longest
        longest = int(np.argmax([step.seconds for step in clip.steps]))
        order = range(longest, longest + 1)
    forms = [_clause(clip, number, detail, chance) for number in order]
    frame = _one(chance, {1: ONE, 2: TWO, 3: THREE}[len(forms)])
    words = {"who": _one(chance, SUBJECTS)}
    for suffix, (finite, gerund) in zip(("", "2", "3"), forms, strict=False):
        words |= {f"does{suffix}": finite, f"doing{suffix}": gerund}
    sentence = frame.format(**words)
    if chance.random() < 0.7 * detail:
        place = _place(clip, chance)
        sentence = f"{place}, {sentence}" if chance.random() < 0.3 else f"{sentence}, {place}"
    return sentence


def _clause(clip: Clip, number: int, detail: float, chance: Chance) -> tuple[str, str]:
    """A step as "walks slowly away" and as "walking slowly away"."""
    step = clip.steps[number]
    said = _one(chance, VERBS[step.activity, step.mode])
    going = step.activity in GAITS
    parts, pace = [], _pace(clip, number, chance) if chance.random() < detail else ""
    if "{limb}" in said:
        said = said.replace("{limb}", _one(chance, LIMBS[step.activity][step.side]))
    elif step.activity in LIMBS and chance.random() < 0.4 * detail:
        parts.append(_one(chance, LIMBS[step.activity][step.side]))
    if going and step.mode != "in a circle" and chance.random() < detail:
        parts.append(_way(clip, number, chance))
    if step.activity in SIZES and abs(step.size - 0.5) > 0.2 and chance.random() < detail:
        parts.append(_one(chance, SIZES[step.activity][step.size > 0.5]))
    if pace.endswith("ly") and chance.random() < 0.4:
        said = f"{pace} {said}"
    else:
        parts.append(pace)
    if "{n}" in said:
        said = said.replace("{n}", _number(step.times, chance))
    elif step.activity not in UNCOUNTED and chance.random() < detail:
        parts.append(_times(step.times, chance))
    if not going and chance.random() < 0.45 * detail:
        parts.append(_facing(clip, number, chance))
    phrase = " ".join([said, *(part for part in parts if part)])
    return _form(phrase, 1), _form(phrase, 2)


def _form(phrase: str, which: int) -> str:
    """Of every "walks/walking" the first or the second."""
    return re.sub(r"([^\s/]+)/([^\s/]+)", lambda match: match.group(which), phrase)


def _one(chance: Chance, choices: Sequence[str]) -> str:
    return choices[int(chance.integers(len(choices)))]


def _pace(clip: Clip, number: int, chance: Chance) -> str:
    """Nothing where the pace is neither among the lower nor the upper third of its kind."""
    step = clip.steps[number]
    low, high = KINDS[step.activity].tempo
    share = (step.tempo - low) / (high - low)
    return _one(chance, SLOW) if share < 1 / 3 else _one(chance, FAST) if share > 2 / 3 else ""


def _times(count: int, chance: Chance) -> str:
    if count < 4 or (count < len(COUNTS) and chance.random() < 0.6):
        return COUNTS[count]
    return _one(chance, MANY)


def _number(count: int, chance: Chance) -> str:
    if count < 4 or (count < len(NUMBERS) and chance.random() < 0.6):
        return NUMBERS[count]
    return _one(chance, A_FEW)


def _way(clip: Clip, number: int, chance: Chance) -> str:
    """Which way a step went as the radar sees it: nearer or farther, and from which of its sides to which."""
    first, last = (clip.route[index] for index in (clip.spans[number][0], clip.spans[number][1] - 1))
    gone = float(np.hypot(*(last - first)))
    nearer = float(np.hypot(*first) - np.hypot(*last)) / max(gone, 0.1)
    sides = ("right", "left") if last[0] > first[0] else ("left", "right")
    towards = "towards" if nearer > 0.0 else "away from"
    if abs(nearer) > 0.88:
        near, far = ("towards", "closer to", "straight towards"), ("away from", "farther from", "straight away from")
        return f"{_one(chance, near if nearer > 0.0 else far)} the radar"
    if abs(nearer) > 0.45:
        return _one(chance, (f"diagonally {towards} the radar", f"{towards} the radar and to the {sides[1]}"))
    across = ("past the radar", "across", "across the field of view")
    return _one(chance, (*(f"{word} from {sides[0]} to {sides[1]}" for word in across), f"to the {sides[1]}"))


def _facing(clip: Clip, number: int, chance: Chance) -> str:
    """How a person stands to the radar when a step begins."""
    off = abs((float(clip.heading[clip.spans[number][0]]) - 180.0 + 180.0) % 360.0 - 180.0)
    if off < 40.0:
        return _one(chance, ("facing the radar", "looking at the radar"))
    if off > 140.0:
        return _one(chance, ("facing away from the radar", "with the back to the radar"))
    return _one(chance, ("side-on to the radar", "sideways to the radar", "turned sideways"))


def _place(clip: Clip, chance: Chance) -> str:
    """How far from the radar it all begins."""
    away = float(np.hypot(*clip.route[clip.spans[0][0]]))
    near = f"{NUMBERS[min(round(away), 6)]} metres"
    choices = [f"about {near} from the radar", f"starting {near} away"]
    if away > 6.5:
        choices = ["more than six metres from the radar", "starting more than six metres away"]
    if away < 2.8:
        choices += ["close to the radar", "near the radar"]
    if away > 5.5:
        choices += ["far from the radar", "at a distance", "far away"]
    return _one(chance, choices)
