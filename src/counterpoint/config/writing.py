"""Objects into YAML, every default visible."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from counterpoint.config.build import absolute, must_remember
from counterpoint.config.document import _TAG, CORE
from counterpoint.config.problems import ConfigError, Keys, Problem, echo, suggestion
from counterpoint.config.signature import REQUIRED, has_role, parameters


class _Dumper(yaml.SafeDumper):
    """Quotes a text that YAML 1.1 or 1.2 would read as something else; repeats rather than aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _name, _pattern in CORE:
    _Dumper.add_implicit_resolver(_TAG + _name, _pattern, None)


def _sequence(dumper: _Dumper, value: list[Any]) -> yaml.Node:
    return dumper.represent_sequence(
        _TAG + "seq", value, flow_style=not any(isinstance(item, dict | list) for item in value)
    )


def _text(dumper: _Dumper, value: str) -> yaml.Node:
    # PyYAML loses some line breaks of Unicode unless they stand escaped in quotes.
    return dumper.represent_scalar(_TAG + "str", value, style=None if value.isprintable() else '"')


_Dumper.add_representer(list, _sequence)
_Dumper.add_representer(str, _text)


def dump(value: object) -> str:
    """The resolved YAML of a recipe or of any part of one: all arguments, given or left to their defaults.

    ``load`` of the text builds the same again.

    Args:
        value: a frozen dataclass, or a ``functools.partial`` of a class, of such, plain values and paths.

    Raises:
        ConfigError: for a value YAML cannot hold, a factory that is not a class, an argument that is missing.
        TypeError: for a dataclass that is not frozen.
    """
    return yaml.dump(
        plain(value, ()),
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=False,
        allow_unicode=True,
        width=110,
    )


def plain(value: Any, path: Keys) -> Any:
    """The same as mappings, lists and scalars; ``path`` names it in problems."""
    match value:
        case None | bool():
            return value
        case int() | float() | str():  # a NumPy float64 is a float, yet not to PyYAML
            return next(kind(value) for kind in (int, float, str) if isinstance(value, kind))
        case Path():
            return str(absolute(value))
        case list() | tuple():
            return [plain(item, (*path, at)) for at, item in enumerate(value)]
        case dict():
            return {key: plain(item, (*path, key)) for key, item in value.items()}
        case partial(func=type() as cls):
            if value.args:
                raise ConfigError([Problem(path, f"{cls.__name__} is given arguments by position; name them")])
            return _arguments(cls, value.keywords, path)
        case type():
            return _arguments(value, {}, path)
    kind: type = type(value)
    if dataclasses.is_dataclass(kind):
        must_remember(kind)
        return _arguments(kind, {name: getattr(value, name) for name in parameters(kind)}, path)
    if callable(value):
        raise ConfigError([Problem(path, f"{echo(value)} should be a class or a functools.partial of one")])
    raise ConfigError([Problem(path, f"{echo(value)}, a {type(value).__name__}, cannot be written in YAML")])


def _arguments(cls: type, given: dict[str, Any], path: Keys) -> dict[str, Any]:
    known = parameters(cls)
    problems = [
        Problem((*path, name), f"{cls.__name__} takes no '{name}'{suggestion(name, known)}")
        for name in given
        if name not in known
    ]
    problems += [
        Problem((*path, name), f"missing; {cls.__name__} needs '{name}'")
        for name, parameter in known.items()
        if parameter.default is REQUIRED and name not in given
    ]
    if problems:
        raise ConfigError(problems)
    named = {"type": cls.__name__} if has_role(cls) else {}
    return named | {name: plain(given.get(name, parameter.default), (*path, name)) for name, parameter in known.items()}
