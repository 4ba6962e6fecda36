"""Sentences of people on motions of the same activities, divided so that those of the test are never trained on."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from zlib import crc32

import numpy as np

from counterpoint.data.ledger import DAMAGED
from counterpoint.data.radar.listing import stripped
from counterpoint.keys import uniforms

WORDS = {
    "boxing": r"\bbox|\bpunch",
    "jack": r"\bjumping[ -]?jack",
    "jump": r"\bjump(?!ing[ -]?jack)",
    "squats": r"\bsquat",
    "walk": r"\bwalk",
}
"""Activity of RadHAR -> what a sentence that names it holds."""
_OTHERS = r"\b(gets|evad|avoid|dodg|absorb|being boxed|as if|kick|ping-pong|fencing|elbows bent)"
"""What makes a sentence with "box" or "punch" one on another motion: of being hit, of dodging, of other sports."""
SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}
MAX_BYTES = 2**28

Sentences = dict[str, dict[str, list[str]]]


def read_sentences(path: Path) -> list[str]:
    """Every sentence once, spelling of case and punctuation apart, of the annotations of KIT-ML as TMR has them.

    Args:
        path: ``annotations.json``, or ``annotations.json.gz``: id -> ``annotations``, each with its ``text``.

    Raises:
        ValueError: the file is none of these.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES:,} bytes")
        found = json.loads(raw)
        sentences = [str(one["text"]) for motion in found.values() for one in motion["annotations"]]
    except DAMAGED as error:
        raise ValueError(
            f"{path}: not the annotations of KIT-ML, {{id: {{annotations: [{{text}}]}}}} ({error})"
        ) from error
    once: dict[str, str] = {}
    for sentence in map(stripped, sentences):
        if sentence:
            once.setdefault(_plain(sentence), sentence)
    return list(once.values())


def activity_of(sentence: str) -> str:
    """The activity a sentence is on; "" where it names none, or more than one."""
    plain = sentence.lower()
    named = [activity for activity, words in WORDS.items() if re.search(words, plain)]
    if len(named) != 1 or (named == ["boxing"] and re.search(_OTHERS, plain)):
        return ""
    return named[0]


def divided(sentences: Sequence[str]) -> Sentences:
    """Part -> activity -> sentences. A sentence is in one part, which its own text decides among those of an activity.

    Raises:
        ValueError: an activity has fewer sentences than there are parts.
    """
    found: Sentences = {part: {} for part in SHARES}
    named = [activity_of(one) for one in sentences]
    for activity in WORDS:
        own = sorted((one for one, of in zip(sentences, named, strict=True) if of == activity), key=_plain)
        if len(own) < len(SHARES):
            raise ValueError(f"captions: {len(own)} sentences on {activity}; {len(SHARES)} are needed, one a part")
        numbers = uniforms(np.array([crc32(_plain(one).encode()) for one in own], dtype=np.int64), 1)[:, 0]
        mixed = [own[at] for at in np.argsort(numbers)]
        test, val = (max(1, round(SHARES[part] * len(own))) for part in ("test", "val"))
        cut = {"test": mixed[:test], "val": mixed[test : test + val], "train": mixed[test + val :]}
        for part, some in cut.items():
            found[part][activity] = some
    return found


def dealt(sentences: Sequence[str], number: int, count: int) -> list[str]:
    """Captions of one clip of an activity: different ones, each as often as any other over the clips, first or not.

    Args:
        sentences: there are.
        number: of the clip among those of its activity and part.
        count: how many, all there are at most.
    """
    step = max(1, len(sentences) // count)
    return [sentences[(number + turn * step) % len(sentences)] for turn in range(min(count, len(sentences)))]


def counts(found: Mapping[str, Mapping[str, Sequence[str]]]) -> str:
    """Sentences of each part and activity, for people."""
    return "; ".join(
        f"{part}: " + ", ".join(f"{activity} {len(some)}" for activity, some in own.items())
        for part, own in found.items()
    )


def _plain(sentence: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", sentence.lower()))
