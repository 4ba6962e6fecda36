"""A SIMULATOR of people in front of a 77 GHz radar, with sentences: nothing that comes out of it was recorded.

A person of some height and build does one to three things of ``radar_motion.KINDS``, fast or slowly, once or often,
near or far, towards the radar or past it. Twenty-two joints move accordingly; points on them and between them send back
chirps, from whose beat signal the views are computed (``radar_signal``). Sentences say some of what was drawn
(``radar_words``). The person is the group: splits share no person and so no clip.

Or somebody else's motions, as HumanML3D has them, take the place of the drawn ones (``radar_joints``): then motions and
sentences are real and the radar alone is simulated.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from counterpoint.data.synthetic.radar_bodies import draw_room, scatterers
from counterpoint.data.synthetic.radar_files import Clip, write_clips
from counterpoint.data.synthetic.radar_joints import Motion, motions, placed, read_joints
from counterpoint.data.synthetic.radar_motion import draw_clip
from counterpoint.data.synthetic.radar_signal import Receiver, Views, views
from counterpoint.data.synthetic.radar_skeleton import Float, draw_body
from counterpoint.data.synthetic.radar_words import describe

PER_PERSON = 20
"""Clips of a person in a large set; five persons share a small one."""


class Scene(NamedTuple):
    """A simulated clip before anyone looks at it.

    Attributes:
        joints: (T, 22, 3) metres on the floor's axes; the radar is 1 m over their origin and looks along +z.
        bulk: cross-section of the person over the middling one.
        label: class of what takes longest.
        captions: two to four sentences, the first the most telling.
        person: number of the person.
    """

    joints: Float
    bulk: float
    label: str
    captions: tuple[str, ...]
    person: int


def scene(seed: int, clip: int, *, per_person: int = PER_PERSON) -> Scene:
    """Clip number ``clip`` of the simulation ``seed``.

    Args:
        seed: of the simulation.
        clip: its number, from 0.
        per_person: clips one person does in a row.
    """
    person = clip // per_person
    body = draw_body(np.random.default_rng((seed, 0, person)))
    chance = np.random.default_rng((seed, 1, clip))
    drawn = draw_clip(body, chance)
    return Scene(drawn.joints, body.bulk, drawn.label, tuple(describe(drawn, chance)), person)


def look(joints: Float, bulk: float, chance: np.random.Generator) -> Views:
    """What the radar sees of (T, 22, 3) joints in a room drawn for them."""
    return views(scatterers(joints, bulk, draw_room(chance)), Receiver(), chance)


def generate(folder: Path, *, count: int | None = None, seed: int = 0, recorded: Path | None = None) -> Path:
    """Write SIMULATED clips as ``FOLDER/ID.npz``, ``train.json``, ``val.json``, ``test.json`` and ``import.json``.

    Args:
        folder: to be made; may exist when empty.
        count: of clips; 1000, or all of the recorded motions, by default.
        seed: everything is a function of the arguments.
        recorded: folder of motions to be looked at in place of drawn ones, see ``radar_joints``.

    Returns:
        The folder. Every entry of the split files says ``"simulated": true``.

    Raises:
        ValueError: too few clips, the folder holds something, or a motion that is not what it should be.
    """
    if recorded is not None:
        chosen = motions(recorded)[:count]
        groups = sorted({motion.group for motion in chosen})
        np.random.default_rng((seed, 2)).shuffle(groups)
        about = {"seed": seed, "clips": len(chosen), "motions": "recorded, not simulated"}
        return _written(folder, _recorded(chosen, seed), groups, about)
    count = 1000 if count is None else count
    if count < 3:
        raise ValueError(f"{count} clips: wants 3 at least, one each to train on, to choose by and to test")
    per_person = min(PER_PERSON, max(1, count // 5))
    persons = [_person(number) for number in range(-(-count // per_person))]
    about = {"seed": seed, "clips": count, "motions": "simulated"}
    return _written(folder, _drawn(count, seed, per_person), persons, about)


def _written(folder: Path, clips: Iterator[Clip], groups: list[str], about: dict[str, Any]) -> Path:
    with threadpool_limits(1):  # products of small matrices are slower on many threads than on one
        return write_clips(folder, clips, groups, about)


def _person(number: int) -> str:
    return f"person_{number:04d}"


def _drawn(count: int, seed: int, per_person: int) -> Iterator[Clip]:
    for number in range(count):
        drawn, chance = scene(seed, number, per_person=per_person), np.random.default_rng((seed, 3, number))
        person = _person(drawn.person)
        seen = partial(look, drawn.joints, drawn.bulk, chance)
        yield Clip(person, f"{number:06d}", person, drawn.label, drawn.captions, seen)


def _recorded(chosen: list[Motion], seed: int) -> Iterator[Clip]:
    for number, motion in enumerate(chosen):
        chance = np.random.default_rng((seed, 3, number))
        joints = placed(read_joints(motion.path)[slice(*motion.frames)], motion.path, chance)
        bulk = float(np.exp(chance.normal(0.0, 0.25)))
        yield Clip("clips", motion.name, motion.group, "", motion.captions, partial(look, joints, bulk, chance))
