"""YAML 1.2 in, plain values and the place of each out.

PyYAML composes the nodes; the core schema of YAML 1.2 says what a plain scalar means (``1e-4`` is a number,
``no`` is a text). Nothing in a file can name Python code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn

import yaml

from counterpoint.config.problems import ConfigError, Keys, Place, Problem, echo, suggestion

DEPTH = 64
VALUES = 20_000
_TAG = "tag:yaml.org,2002:"
CORE = (
    ("null", re.compile(r"(?:null|Null|NULL|~|)\Z")),
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")),
    ("int", re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")),
    (
        "float",
        re.compile(
            r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
        ),
    ),
)
"""The core schema's scalars, YAML 1.2.2 section 10.3.2, in the order in which they are tried."""


class _Loader(yaml.BaseLoader):
    """PyYAML's scanner and parser with the implicit types of YAML 1.2 alone."""


for _name, _pattern in CORE:
    _Loader.add_implicit_resolver(_TAG + _name, _pattern, None)


@dataclass
class Document:
    """Plain values and where each was written.

    Attributes:
        values: mappings, lists and scalars.
        places: path -> (place of its key, place of its value).
    """

    values: Any
    places: dict[Keys, tuple[Place, Place]] = field(default_factory=dict)

    def place(self, path: Keys, at: Literal["key", "value"]) -> Place:
        """Place of a value, or the key of the nearest one around it that was written."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.places:
                key, value = self.places[path[:length]]
                return value if length == len(path) and at == "value" else key
        return Place()

    def replace(self, path: Keys, other: Document) -> None:
        """Take over the places of ``other`` for all that lies at ``path``."""
        self.places = {old: place for old, place in self.places.items() if old[: len(path)] != path}
        self.places |= {path + inner: place for inner, place in other.places.items()}


def read(path: Path) -> Document:
    """Read a YAML file.

    Raises:
        ConfigError: for a file that is missing, is not UTF-8 or is not YAML 1.2 of plain values.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        hint = suggestion(str(path), [str(other) for other in path.parent.glob("*.y*ml")])
        raise ConfigError([Problem((), f"no such file{hint}", Place(str(path)))]) from error
    except OSError as error:
        raise ConfigError([Problem((), str(error.strerror), Place(str(path)))]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([Problem((), f"not a UTF-8 text: {error}", Place(str(path)))]) from error
    document = parse(text, str(path))
    document.values = {} if document.values is None else document.values
    return document


def parse(text: str, source: str) -> Document:
    """Read YAML text; ``source`` names it in places. An empty text is null.

    Raises:
        ConfigError: for anything that is not YAML 1.2 of plain values.
    """
    document = Document(None, {(): (Place(source, 1, 1), Place(source, 1, 1))})
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line, column = (error.problem_mark.line, error.problem_mark.column) if error.problem_mark else (0, 0)
        said = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError([Problem((), f"not YAML: {said}", Place(source, line + 1, column + 1))]) from error
    except yaml.YAMLError as error:
        raise ConfigError([Problem((), f"not YAML: {str(error).splitlines()[0]}", Place(source))]) from error
    except RecursionError as error:
        raise ConfigError([Problem((), f"nested deeper than {DEPTH} levels", Place(source))]) from error
    if node is not None:
        reading = _Reading(source, document)
        document.values = reading.value(node, (), reading.where(node))
        if reading.problems:
            raise ConfigError(reading.problems)
    return document


def from_mapping(values: Mapping[str, Any]) -> Document:
    """A document of plain Python values, copied, with no places."""
    return Document(_plain(values))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


class _Reading:
    """One walk over composed nodes. Aliases are expanded, so their number is bounded."""

    def __init__(self, source: str, document: Document, /) -> None:
        self.source = source
        self.places = document.places
        self.problems: list[Problem] = []
        self.seen = 0

    def where(self, node: yaml.Node) -> Place:
        return Place(self.source, node.start_mark.line + 1, node.start_mark.column + 1)

    def stop(self, path: Keys, node: yaml.Node, message: str) -> NoReturn:
        raise ConfigError([*self.problems, Problem(path, message, self.where(node))])

    def value(self, node: yaml.Node, path: Keys, key: Place) -> Any:
        self.seen += 1
        if self.seen > VALUES:
            self.stop((), node, f"more than {VALUES} values once its aliases are expanded")
        if len(path) > DEPTH:
            self.stop(path[:3], node, f"nested deeper than {DEPTH} levels, or an alias that holds itself")
        self.places[path] = (key, self.where(node))
        kind = node.tag.removeprefix(_TAG)
        match node:
            case yaml.MappingNode() if kind == "map":
                return self.mapping(node, path)
            case yaml.SequenceNode() if kind == "seq":
                return [self.value(item, (*path, at), self.where(item)) for at, item in enumerate(node.value)]
            case yaml.ScalarNode() if kind in {"str", "null", "bool", "int", "float"}:
                return self.scalar(node, path, kind)
        self.problems.append(Problem(path, f"the tag '{node.tag}' is not allowed: plain values only", self.where(node)))
        return None

    def mapping(self, node: yaml.MappingNode, path: Keys) -> dict[str | int, Any]:
        result: dict[str | int, Any] = {}
        first: dict[str | int, int] = {}
        for key_node, value_node in node.value:
            key = self.key(key_node, path)
            if key is None:
                continue
            inner, place = (*path, key), self.where(key_node)
            if key in first:
                said = f"the key is written twice; first on line {first[key]}"
                self.problems.append(Problem(inner, said, place))
                continue
            first[key] = place.line
            result[key] = self.value(value_node, inner, place)
        return result

    def key(self, node: yaml.Node, path: Keys) -> str | int | None:
        said = "a list or mapping cannot be a key"
        if isinstance(node, yaml.ScalarNode):
            key = self.scalar(node, path, node.tag.removeprefix(_TAG))
            if key == "<<" and not node.style:  # a quoted "<<" is a plain text
                said = "merge keys (<<) are not part of YAML 1.2: write the keys out"
            elif isinstance(key, str | int) and not isinstance(key, bool):
                return key
            else:
                said = f"{echo(key)} cannot be a key: a key is a text or a whole number; put it in quotes"
        self.problems.append(Problem(path, said, self.where(node)))
        return None

    def scalar(self, node: yaml.ScalarNode, path: Keys, kind: str) -> str | int | float | bool | None:
        text: str = node.value
        fits = kind == "str" or next((p.match(text) for name, p in CORE if name == kind), None)
        if not fits and not (kind == "float" and CORE[2][1].match(text)):  # !!float 3 is 3.0
            said = f"{echo(text)} is not of the type {node.tag}"
            self.problems.append(Problem(path, said, self.where(node)))
            return None
        match kind:
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                base = {"0o": 8, "0x": 16}.get(text[:2], 10)
                return self.integer(node, text, base, path)
            case "float":
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        return text

    def integer(self, node: yaml.Node, text: str, base: int, path: Keys) -> int:
        if len(text) > 1000:  # Python refuses to read more than 4300 digits
            self.stop(path, node, f"a whole number of {len(text)} digits")
        return int(text[2:] if base != 10 else text, base)
