"""YAML to objects and back; the constructor is the schema.

``{type: InfoNCE, temperature: 0.07}`` becomes ``partial(InfoNCE, temperature=0.07)`` where the annotation is
``Factory[Objective]``, and an instance where it is a class; such an instance is a frozen dataclass, so that
it remembers its arguments. Keyword-only parameters (all fields of a dataclass) are what a recipe may set;
positional-only ones are supplied by the program. The choices of a role are the concrete subclasses of its
abstract base that have been imported, so there is no registry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from counterpoint.config.build import keywords, select
from counterpoint.config.document import Document, from_mapping
from counterpoint.config.document import read as read_document
from counterpoint.config.overrides import apply, expand_sweep
from counterpoint.config.problems import ConfigError, Place, Problem
from counterpoint.config.show import describe, schema
from counterpoint.config.signature import Factory, choices, find, plugins
from counterpoint.config.writing import dump

__all__ = [
    "ConfigError",
    "Factory",
    "Place",
    "Problem",
    "choices",
    "describe",
    "dump",
    "expand_sweep",
    "find",
    "load",
    "plugins",
    "read_document",
    "schema",
]

R = TypeVar("R")


def load(source: Path | Mapping[str, Any], root: type[R], overrides: Sequence[str] = ()) -> R:
    """Build ``root`` from a YAML file or a mapping. Whoever calls has imported the classes it may name.

    Args:
        source: path of a YAML 1.2 file, or the same as plain Python.
        root: the class to build, usually the recipe; a role builds the subclass that ``type`` names.
        overrides: ``key.key=value`` texts, values in YAML, applied in order before anything is checked.

    Raises:
        ConfigError: with every problem found, each with its place, its dotted key and what would fit.
    """
    document = read_document(source) if isinstance(source, Path) else from_mapping(source)
    found = apply(document, root, overrides)
    try:
        cls, arguments = select(root, document.values)
        result: R = cls(**keywords(cls, arguments))
    except ConfigError as error:
        found += error.problems
    except ValueError as error:
        found.append(Problem((), str(error)))
    if found:
        raise ConfigError(_placed(document, found))
    return result


def _placed(document: Document, problems: Sequence[Problem]) -> list[Problem]:
    """The problems with their places, in the order of the file."""
    placed = [p if p.place else replace(p, place=document.place(p.path, p.at)) for p in problems]
    return sorted(placed, key=lambda p: (p.place.source.startswith("--"), p.place.line, p.place.column))
