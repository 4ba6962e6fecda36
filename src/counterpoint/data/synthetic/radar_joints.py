"""Motions somebody recorded, as HumanML3D has them, to be looked at by the SIMULATED radar: joints and sentences.

A folder holds ``<id>.npy``, (T, 22, 3) joints in metres at 20 a second, and ``texts/<id>.txt`` with a line a sentence,
``a man kicks.#a/DET man/NOUN kick/VERB#0.0#0.0``: the sentence, its parts of speech, and the seconds it is about, both
0 where it is about all of the motion. A sentence on a part of a motion makes that part a clip of its own. Mirrored
motions have ids that begin with M and belong to the group of the motion they mirror.

After Guo et al., "Generating Diverse and Natural 3D Human Motions From Text", CVPR 2022.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from counterpoint.data.synthetic.radar_skeleton import JOINTS, MOTION_RATE, Float

FEWEST = 16
"""Frames of a clip; a part of a motion that is shorter is left out."""
_NEAREST, _FARTHEST = 1.2, 10.8


class Motion(NamedTuple):
    """A clip to be made.

    Attributes:
        name: of the clip: the id, and the first and the last frame where it is a part.
        group: the id without the M of mirrored ones: a motion, its parts and its mirror image are one.
        path: of the joints.
        frames: first and last, the last exclusive.
        captions: on these frames.
    """

    name: str
    group: str
    path: Path
    frames: tuple[int, int]
    captions: tuple[str, ...]


def motions(folder: Path) -> list[Motion]:
    """All clips of a folder in the order of their names.

    Raises:
        ValueError: no motion, a motion without sentences, or a file that is not what it should be.
    """
    paths = sorted(folder.glob("*.npy"))
    if not paths:
        raise ValueError(f"{folder}: holds no motions; wants <id>.npy of joints (T, 22, 3) and texts/<id>.txt")
    found = []
    for path in paths:
        text = folder / "texts" / f"{path.stem}.txt"
        if not text.is_file():
            raise ValueError(f"{path}: has no sentences; wants {text}")
        length = len(read_joints(path))
        for frames, captions in _captions(text, length).items():
            part = "" if frames == (0, length) else f"_{frames[0]}_{frames[1]}"
            found.append(Motion(path.stem + part, path.stem.removeprefix("M"), path, frames, tuple(captions)))
    if not found:
        raise ValueError(f"{folder / 'texts'}: no sentence is about {FEWEST} frames or more")
    return found


def read_joints(path: Path) -> Float:
    """(T, 22, 3) joints of a file.

    Raises:
        ValueError: the file holds something else, or numbers that are not finite.
    """
    try:
        joints = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path}: is no array of NumPy ({error})") from error
    wanted = (len(JOINTS), 3)
    if not isinstance(joints, np.ndarray) or joints.dtype.kind not in "fiu" or joints.ndim != 3:
        raise ValueError(f"{path}: wants joints (T, 22, 3) in numbers, is {np.shape(joints)}")
    if joints.shape[1:] != wanted or len(joints) < FEWEST:
        raise ValueError(f"{path}: wants joints (T, 22, 3) with T at least {FEWEST}, is {joints.shape}")
    if not np.isfinite(joints).all():
        frame, joint, _ = (int(index) for index in np.argwhere(~np.isfinite(joints))[0])
        raise ValueError(f"{path}: joint {joint} of frame {frame} in {joints.shape} is not finite; mend or remove it")
    found: Float = joints.astype(np.float64)
    return found


def placed(joints: Float, path: Path, chance: np.random.Generator) -> Float:
    """(T, 22, 3) the motion in front of the radar, 2.5 to 5 m away if it stays in place, facing it if it faces +z.

    Raises:
        ValueError: the motion leaves the reach of the radar.
    """
    turned = joints * np.array([-1.0, 1.0, -1.0])
    root = turned[:, 0]
    middle = 0.5 * (root.max(0) + root.min(0))
    moved: Float = turned - np.array([middle[0], turned[..., 1].min(), middle[2]])
    away = max(float(chance.uniform(2.5, 5.0)), _NEAREST - float(moved[..., 2].min()))
    moved[..., 2] += away
    farthest = float(np.sqrt((moved**2).sum(-1)).max())
    if farthest > _FARTHEST:
        raise ValueError(f"{path}: goes {farthest:.1f} m from the radar, which sees {_FARTHEST} m; cut the motion")
    return moved


def _captions(path: Path, length: int) -> dict[tuple[int, int], list[str]]:
    """Frames -> sentences on them, each once."""
    found: dict[tuple[int, int], list[str]] = {}
    for row, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        sentence, *tail = (cell.strip() for cell in line.split("#"))
        if not sentence:
            if line.strip():
                raise ValueError(f"{path}, line {row}: has no sentence before its #")
            continue
        frames = _frames(path, row, tail, length)
        if frames[1] - frames[0] >= FEWEST and sentence not in found.setdefault(frames, []):
            found[frames].append(sentence)
    return {frames: sentences for frames, sentences in found.items() if sentences}


def _frames(path: Path, row: int, tail: list[str], length: int) -> tuple[int, int]:
    if len(tail) < 3:
        return 0, length
    try:
        start, end = (0.0 if math.isnan(float(cell)) else float(cell) for cell in tail[1:3])
    except ValueError:
        raise ValueError(f"{path}, line {row}: {tail[1:3]} are no seconds") from None
    if start == end == 0.0:
        return 0, length
    first, last = round(start * MOTION_RATE), min(round(end * MOTION_RATE), length)
    if not 0 <= first < last:
        raise ValueError(f"{path}, line {row}: {start:g} to {end:g} s is no part of {length / MOTION_RATE:g} s")
    return first, last
