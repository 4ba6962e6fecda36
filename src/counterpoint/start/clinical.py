"""What a folder of stays holds, in which form, and a recipe for it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from counterpoint.data.clinical.events import EventConfig, event_store
from counterpoint.data.clinical.long_table import LongTable, read_columns
from counterpoint.data.clinical.stay_folder import StayFolder
from counterpoint.data.clinical.stays import Stays, describe_stays
from counterpoint.data.splits import text
from counterpoint.start.layouts import OUTCOMES, PATIENT, Layout, Reader, spelt

_CATEGORICAL = ("Gender", "ICUType")
_LONGEST = 1000
"""Sets of a stay, beyond which memory of attention runs short."""
_CLASSES = 10
_SHOTS, _RAREST, _SHARE = (100, 400), 5, 0.8
"""Numbers of labels; of the rarest class to expect among them; largest share of the labelled training stays."""


@dataclass(frozen=True)
class Understood:
    """What was made of a layout.

    Attributes:
        column: of the outcome; "" where none has a usual name.
        names: cell -> name of its class; empty where there are not two to ten different cells.
        group: columns that say which stays are of one person.
        split: as a recipe has it.
        train: how many labelled stays are trained on, about.
        events: settings that differ from their defaults.
        sets: (n,) sets of each stay.
        stays: as read, with the account of duplicates and stays that cannot be used.
    """

    column: str
    names: dict[str, str]
    group: list[str]
    split: dict[str, object]
    train: int
    events: dict[str, object]
    sets: Sequence[int]
    stays: Stays


def understand(found: Layout) -> Understood:
    """Say which column is the outcome, who is of one person, and how to divide."""
    stays = found.stays
    columns = [name for name in stays.cells if name != found.source]
    column = spelt(columns, [found.reader.outcome] if found.reader.outcome in columns else OUTCOMES)
    patient = spelt([name for name in columns if len(set(map(text, stays.cells[name]))) > 1], PATIENT)
    own = isinstance(found.reader, LongTable) and bool(spelt([patient], [found.reader.stay]))
    group = [patient] if patient and not own else []
    categorical = [name for name in _CATEGORICAL if name in stays.variables]
    store, _, reasons = event_store(stays, EventConfig(categorical=categorical))
    sets = np.diff(store.rows)
    events: dict[str, object] = {"categorical": categorical} if categorical and not _vectors(found) else {}
    if sets.max(initial=0) > _LONGEST:
        events["max_sequence_length"] = _LONGEST
    split, train = _split(stays, column, found.source)
    names = _class_names(stays, column)
    return Understood(column, names, group, split, train, events, sets.tolist(), replace(stays, rejected=reasons))


def _class_names(stays: Stays, column: str) -> dict[str, str]:
    """Cell -> name of its class; of two classes the rarer comes last, the one to be found."""
    counts = Counter(text(cell) for cell in stays.cells.get(column, []))
    cells = sorted(set(counts) - {""})
    if cells == ["0", "1"]:
        words = ("no", "yes") if spelt([column], ["outcome", "label", "target"]) else ("survived", "died")
        return dict(zip(cells, words, strict=True))
    if len(cells) == 2:
        cells.sort(key=lambda cell: -counts[cell])
    return {cell: cell for cell in cells} if 2 <= len(cells) <= _CLASSES else {}


def _split(stays: Stays, column: str, source: str) -> tuple[dict[str, object], int]:
    """How to divide, and how many labelled stays that leaves to train on, about."""
    labelled = [bool(text(cell)) for cell in stays.cells.get(column, [None] * len(stays.names))]
    places = [text(cell) for cell in stays.cells[source]]
    counts = Counter(place for place, known in zip(places, labelled, strict=True) if known)
    values = sorted(set(places))
    if {"train", "test"} <= set(values) <= {"train", "valid", "test"}:
        more = {} if "valid" in values else {"valid": 0.1}
        return {"type": "ByColumn", "column": source, **more}, counts["train"]
    if [value.lower().removeprefix("set-") for value in values] == ["a", "b"] and len(counts) == 2:
        one, other = values
        split = {"type": "ByValue", "column": source, "train": [one], "test": [other], "valid": 0.1}
        return split, int(0.9 * counts[one])
    return {"type": "ByGroup", "test": 0.2, "valid": 0.1}, int(0.7 * sum(labelled))


def describe(found: Layout) -> str:
    """Say what the stays are, a line a fact: events, variables, outcomes, and what is odd about them."""
    seen = understand(found)
    stays = seen.stays
    lines = [found.form, describe_stays(stays)]
    if len(seen.sets):
        lines.append(
            f"sets: {sum(seen.sets)}, {int(np.median(seen.sets))} a stay in the middle, {max(seen.sets)} at most"
        )
    lines += _outcome_lines(stays, seen, found.source)
    if seen.group:
        people = len(set(map(text, stays.cells[seen.group[0]])))
        lines.append(f"groups: {people} of column {seen.group[0]!r}; all stays of one stand on one side of the split")
    else:
        lines.append(
            "groups: none named, so each stay is its own; if a person may have several, name the column of the "
            "outcomes that tells people apart in data.columns.group"
        )
    lines.append("division: " + ", ".join(f"{name} {value}" for name, value in seen.split.items()))
    lines += found.notes
    if any(text(cell).lower() == "true" for cell in stays.cells.get("simulated", [])):
        lines.append("These stays are SIMULATED.")
    return "\n".join(lines)


def _outcome_lines(stays: Stays, seen: Understood, source: str) -> list[str]:
    if not seen.column:
        known = ", ".join(name for name in stays.cells if name != source)
        return [
            "outcome: none; "
            + (
                f"set data.outcome.column to one of {known}"
                if known
                else "no table of outcomes stands beside the stays"
            )
        ]
    if not seen.names:
        cells = len({text(cell) for cell in stays.cells[seen.column]} - {""})
        return [f"outcome {seen.column!r}: {cells} different cells; classes are two to {_CLASSES}"]
    places = [text(cell) for cell in stays.cells[source]]
    lines = []
    for place in ["", *(sorted(set(places)) if len(set(places)) > 1 else [])]:
        counts = Counter(
            text(cell) for cell, at in zip(stays.cells[seen.column], places, strict=True) if place in ("", at)
        )
        labelled = sum(counts[cell] for cell in seen.names)
        shares = ", ".join(
            f"{name} {counts[cell]} ({counts[cell] / max(1, labelled):.1%})" for cell, name in seen.names.items()
        )
        where = f"  in {place}" if place else f"outcome {seen.column!r}"
        lines.append(f"{where}: {shares} of {labelled} labelled stays, {counts['']} unlabelled")
    return lines


def recipe_for(found: Layout) -> str:
    """A recipe in YAML for stays."""
    seen = understand(found)
    data: dict[str, object] = {"type": "Clinical", "stays": _settings(found.reader)}
    if seen.names:
        data["outcome"] = {"column": seen.column, "names": seen.names}
    data |= {"columns": {"group": seen.group}} if seen.group else {}
    data |= {"events": seen.events} if seen.events else {}
    encoder: dict[str, object] = {"type": "SetSequence"}
    if vectors := _vectors(found):
        encoder["variables"] = {"type": "CachedVariables", "table": str(vectors.absolute())}
    evaluation: dict[str, object] = {"metric": "auroc", "evaluators": [{"type": "LinearProbe", "C": 0.005, "clip": 3}]}
    if shots := _shots(seen):
        evaluation["few_shot"] = {"labels": shots}
    recipe = {
        "data": data | {"split": seen.split},
        "encoders": {"events": {"type": "Parallel", "branches": [encoder, "EventStatistics"]}},
        "objective": {"type": "SetVAE"},
        "trainer": {"epochs": 10, "batch_size": 64},
        "evaluation": evaluation,
    }
    return yaml.safe_dump(recipe, sort_keys=False)


def _shots(seen: Understood) -> list[int]:
    """Numbers of labels that the training stays have, with enough of the rarest class among them."""
    counts = Counter(text(cell) for cell in seen.stays.cells.get(seen.column, []))
    if not seen.names:
        return []
    rarest = min(counts[cell] for cell in seen.names) / sum(counts[cell] for cell in seen.names)
    return [count for count in _SHOTS if count <= _SHARE * seen.train and count * rarest >= _RAREST]


def _vectors(found: Layout) -> Path | None:
    """The file of vectors beside stays in small files, where it has one of every variable."""
    if not isinstance(found.reader, StayFolder):
        return None
    path = found.reader.folder / "cached.csv"
    if not path.is_file():
        return None
    keys = {text(cell) for cell in read_columns(path, ["Key"])["Key"].to_pylist()}
    return path if keys >= set(found.stays.variables) else None


def _settings(reader: Reader) -> dict[str, object]:
    """A reader as a recipe has it: what differs from the defaults, with paths that hold from anywhere."""
    settings: dict[str, object] = {"type": type(reader).__name__}
    for field in dataclasses.fields(reader):
        value = getattr(reader, field.name)
        made = field.default_factory() if callable(field.default_factory) else field.default
        if value != made:
            settings[field.name] = _absolute(value)
    return settings


def _absolute(value: Any) -> object:
    if isinstance(value, dict):
        return {key: _absolute(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_absolute(item) for item in value]
    return str(value.absolute()) if isinstance(value, Path) else value
