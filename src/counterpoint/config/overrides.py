"""``--set a.b=1`` on top of a document, and grids of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from counterpoint.config.document import Document, parse
from counterpoint.config.problems import ConfigError, Keys, Place, Problem, echo
from counterpoint.config.signature import REQUIRED, Parameter, alternatives, choices, classes, parameters
from counterpoint.config.writing import plain

SOURCE = Place("--set")


def apply(document: Document, root: type, overrides: Sequence[str]) -> list[Problem]:
    """Write the overrides into the document; answer with those that could not be."""
    problems: list[Problem] = []
    for text in overrides:
        try:
            _apply(document, root, *_split(text))
        except ConfigError as error:
            problems += error.problems
    return problems


def _split(text: str) -> tuple[list[str], Document]:
    dotted, equals, written = text.partition("=")
    keys = dotted.strip().split(".")
    if not equals or "" in keys:
        raise ConfigError([Problem((), f"{echo(text)} should read key.key=value", SOURCE)])
    try:
        read = parse(written, SOURCE.source)
    except ConfigError as error:
        said = [Problem(tuple(keys), problem.message, SOURCE) for problem in error.problems]
        raise ConfigError(said) from error
    read.places = dict.fromkeys(read.places, (SOURCE, SOURCE))
    return keys, read


def _apply(document: Document, root: type, keys: list[str], new: Document) -> None:
    node, annotation, path = document.values, root, Keys()
    for at, word in enumerate(keys):
        key = _key(node, word, path)
        inside = next(_inside(annotation, node, key), Parameter(None, REQUIRED, ""))
        path = (*path, key)
        if at == len(keys) - 1:
            node[key] = new.values
            document.replace(path, new)
            return
        if isinstance(node, dict) and node.get(key) is None:
            # What the recipe left to its default is written out, so that a part of it can be set.
            given = {} if inside.default is REQUIRED else plain(inside.default, path)
            node[key] = {} if given is None else given
            document.places[path] = (SOURCE, SOURCE)
        if isinstance(node[key], str):
            node[key] = {"type": node[key]}
        node, annotation = node[key], inside.annotation


def _key(node: Any, word: str, path: Keys) -> str | int:
    """The word as a key of a mapping or as an index of a list."""
    number = int(word) if word.isdecimal() else -1
    if isinstance(node, list):
        if 0 <= number < len(node):
            return number
        said = f"has {len(node)} items, counted from 0; {echo(word)} is none of them"
        raise ConfigError([Problem(path, said, SOURCE)])
    if isinstance(node, dict):
        return number if number in node else word
    raise ConfigError([Problem(path, f"is {echo(node)}, in which {echo(word)} cannot be set", SOURCE)])


def _inside(annotation: Any, node: Any, key: str | int) -> Iterator[Parameter]:
    """What a constructor says of ``node[key]``, given the annotation of ``node``."""
    for origin, arguments in alternatives(annotation):
        if origin is Callable:
            yield from _inside(arguments[1], node, key)
        elif origin in (dict, Mapping) and isinstance(node, dict) and len(arguments) == 2:
            yield Parameter(arguments[1], REQUIRED, "")
        elif origin in (list, tuple, Sequence) and isinstance(key, int) and arguments:
            fixed = origin is tuple and arguments[-1] is not Ellipsis
            items = arguments[key : key + 1] if fixed else arguments[:1]
            yield from (Parameter(item, REQUIRED, "") for item in items)
        elif isinstance(node, dict):
            for cls in classes(origin):
                chosen = choices(cls).get(str(node.get("type", cls.__name__)))
                known = parameters(chosen) if chosen else {}
                yield from (known[name] for name in known if name == key)


def expand_sweep(sweep: Sequence[str]) -> list[list[str]]:
    """``["a.b=1,2", "seed=0,1"]`` as the grid of its overrides, the last varying fastest.

    A comma inside brackets or quotes belongs to the value: ``"layers=[1,2],[3]"`` are two.

    Raises:
        ConfigError: for an axis without values or named twice.
    """
    axes: dict[str, list[str]] = {}
    problems = []
    for text in sweep:
        key, equals, written = text.partition("=")
        values = [value.strip() for value in _commas(written)]
        if not equals or not key.strip() or "" in values:
            problems.append(Problem((), f"{echo(text)} should read key.key=value,value", Place("sweep")))
        elif key.strip() in axes:
            said = f"'{key.strip()}' is swept twice; give all its values at once"
            problems.append(Problem((), said, Place("sweep")))
        else:
            axes[key.strip()] = [f"{key.strip()}={value}" for value in values]
    if problems:
        raise ConfigError(problems)
    return [list(point) for point in itertools.product(*axes.values())]


def _commas(text: str) -> list[str]:
    """Split at the commas outside brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'" and (depth or not parts[-1].strip()):  # not the apostrophe of a word
            quote = letter
        elif letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
        if letter == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
