"""Which clips there are: split files of ids, files, captions and what else is known of a clip."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, NamedTuple

from counterpoint.data.ledger import Quarantine
from counterpoint.data.splits import text

Captions = Literal["required", "optional", "ignored"]
PARTS = ("train", "valid", "test")
_MIRRORED = re.compile(r"M(?=\d)")


@dataclass(frozen=True, kw_only=True)
class ClipFiles:
    """Where the clips are listed, how they are looked at and what becomes of bad ones.

    Args:
        train: the split file to train on, a name in the root.
        val: the split file to choose by; none to choose by a share of the training clips, as ``split`` says. So it is
            where there is no ``val.json``.
        test: the split file to test on.
        check: look at the headers of all arrays at the start, or read everything once.
        memory: how much of what was read is kept, in MB (2**20 bytes); 0 to read it anew each time.
        quarantine: what becomes of clips that cannot be used.
    """

    train: str | None = "train.json"
    val: str | None = "val.json"
    test: str | None = "test.json"
    check: Literal["headers", "samples"] = "headers"
    memory: int = 2048
    quarantine: Quarantine = field(default_factory=Quarantine)

    def __post_init__(self) -> None:
        """Check the memory.

        Raises:
            ValueError: if it is below 0.
        """
        if self.memory < 0:
            raise ValueError(f"files.memory is {self.memory}; megabytes, 0 to keep nothing")


class Clip(NamedTuple):
    """One clip as one split file lists it.

    Attributes:
        name: its id.
        part: which split file: train, valid or test.
        listed: that file.
        path: of the arrays.
        captions: without tags and time stamps; empty where there are none.
        label: name of the class, "" where none is given.
        group: what must stay on one side of a split.
        simulated: whether it says so.
        reason: why it cannot be used; "" where it can.
    """

    name: str
    part: str
    listed: Path
    path: Path
    captions: tuple[str, ...]
    label: str
    group: str
    simulated: bool
    reason: str


class Listing(NamedTuple):
    """All split files.

    Attributes:
        clips: in the order of the files; an id that two files list stands twice.
        same: a sentence for every two split files that list the same clips.
        sources: the files.
    """

    clips: list[Clip]
    same: dict[tuple[str, str], str]
    sources: list[Path]


def stripped(caption: str) -> str:
    """A caption without what follows a ``#`` (tagged words, time stamps) and without superfluous space.

    ``a man walks.#a/DET man/NOUN walk/VERB#0.0#0.0`` is ``a man walks.``
    """
    return " ".join(caption.split("#", 1)[0].split())


def base_of(name: str) -> str:
    """The id of the clip that a mirrored one, ``M000000``, was made of; any other as it is."""
    return _MIRRORED.sub("", name, count=1) if _MIRRORED.match(name) else name


def list_clips(root: Path, files: ClipFiles, captions: Captions) -> Listing:
    """Read the split files.

    Args:
        root: holds them and the clips.
        files: their names.
        captions: whether a clip must have one.

    Raises:
        ValueError: a file is missing or no JSON of this form, an id stands twice in it, two ids are of one file of
            arrays, or a path leads out of the root.
    """
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; give the one that holds train.json and the clips")
    paths = _paths(root, files)
    entries = {part: _read(path) for part, path in paths.items()}
    groups = {
        name: text(entry["group"]) for some in entries.values() for name, entry in some.items() if "group" in entry
    }
    clips = [
        _clip(root, paths[part], part, name, entry, groups, captions)
        for part, some in entries.items()
        for name, entry in some.items()
    ]
    _check_once(clips)
    _check_inside(clips, root)
    return Listing(clips, _same(paths, entries), list(paths.values()))


def once(clips: Sequence[Clip]) -> list[Clip]:
    """Each id once, as its first split file has it: for splits that divide all clips anew."""
    first: dict[str, Clip] = {}
    for clip in clips:
        first.setdefault(clip.name, clip)
    return list(first.values())


def _paths(root: Path, files: ClipFiles) -> dict[str, Path]:
    """Part -> split file; a ``val.json`` that nobody asked for may be absent."""
    found = {}
    named = (("train", files.train), ("val", files.val), ("test", files.test))
    for part, (option, name) in zip(PARTS, named, strict=True):
        if name is None or (part == "valid" and name == "val.json" and not (root / name).exists()):
            continue
        path = root / name
        if not path.is_file():
            known = ", ".join(sorted(one.name for one in root.glob("*.json"))) or "no .json"
            raise ValueError(
                f"{path}: no such file; the folder has {known}. Name the split files (files.{option}), or give null"
            )
        found[part] = path
    if not found:
        raise ValueError(f"{root}: no split file is named; give files.train and files.test")
    return found


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Id -> entry. JSON takes the last of two equal keys without a word, so they are looked for."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for key, value in pairs:
            if key in seen:
                raise ValueError(f"{key!r} stands there twice; remove one of them")
            seen[key] = value
        return seen

    try:
        with path.open(encoding="utf-8") as file:
            found = json.load(file, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(found, dict) or not found:
        raise ValueError(f"{path}: no clips; a split file is {{id: {{filefolder, fileindex, captions}}}}")
    for name, entry in found.items():
        if not isinstance(entry, dict) or not name.strip():
            raise ValueError(f"{path}: clip {name!r} is {entry!r:.60}; it is {{filefolder, fileindex, captions}}")
    return found


def _clip(
    root: Path,
    listed: Path,
    part: str,
    name: str,
    entry: Mapping[str, Any],
    groups: Mapping[str, str],
    captions: Captions,
) -> Clip:
    cells = {key: _cell(listed, name, entry, key) for key in ("filefolder", "fileindex", "label", "group")}
    path = root / cells["filefolder"] / f"{cells['fileindex'] or name}.npz"
    plain = root / f"{name}.npz"
    if not path.is_file() and plain.is_file():
        path = plain
    sentences, reason = ((), "") if captions == "ignored" else _sentences(entry.get("captions", []))
    if captions == "required" and not sentences and not reason:
        reason = "no caption: its list is empty; caption it, or set captions: optional"
    base = base_of(name)
    group = groups.get(name) or groups.get(base) or base
    return Clip(name, part, listed, path, sentences, cells["label"], group, entry.get("simulated") is True, reason)


def _cell(listed: Path, name: str, entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str | int | float | None) or isinstance(value, bool):
        raise ValueError(f"{listed}: clip {name}: {key} is {value!r:.60}; it is a text or a number")
    return text(value)


def _sentences(found: Any) -> tuple[tuple[str, ...], str]:
    """Captions, or why there are none."""
    some = [found] if isinstance(found, str) else found
    if not isinstance(some, list) or not all(isinstance(one, str) for one in some):
        return (), f"captions of another form: {found!r:.60} is no list of texts"
    return tuple(sentence for sentence in map(stripped, some) if sentence), ""


def _check_once(clips: Sequence[Clip]) -> None:
    first: dict[Path, Clip] = {}
    for clip in clips:
        other = first.setdefault(clip.path, clip)
        if other.name != clip.name:
            raise ValueError(
                f"{clip.listed}: clips {other.name} (of {other.listed.name}) and {clip.name} are both of {clip.path}; "
                "remove one of them"
            )


def _check_inside(clips: Sequence[Clip], root: Path) -> None:
    home = root.resolve()
    for clip in clips:
        if not clip.path.resolve().is_relative_to(home):
            raise ValueError(f"{clip.listed}: clip {clip.name} leads to {clip.path}; clips stay under {root}")


def _same(paths: Mapping[str, Path], entries: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    found = {}
    for one, other in combinations(paths, 2):
        if entries[one].keys() == entries[other].keys():
            found[one, other] = (
                f"{paths[one].name} and {paths[other].name} hold the same {len(entries[one])} clips: what was trained "
                "or chosen by them cannot be tested on them, so this is no test. Give a test.json of other clips, or "
                "leave val out (files: {val: null}), and a share of the training clips is chosen by"
            )
    return found
