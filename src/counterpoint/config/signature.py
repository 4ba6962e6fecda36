"""Constructors read as schemas, and roles read as lists of choices."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
from abc import ABC, ABCMeta
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from counterpoint.config.problems import ConfigError, Place, Problem, suggestion

T = TypeVar("T")
Factory: TypeAlias = Callable[..., T]
"""A class still to be called: the recipe sets its keywords, the program its positional arguments."""

REQUIRED = inspect.Parameter.empty
SCALARS: tuple[Any, ...] = (int, float, str, bool, type(None), Path, Any)
_WORDS: dict[Any, str] = {
    float: "number",
    str: "text",
    bool: "true or false",
    type(None): "null",
    Path: "path",
    Any: "anything",
}
_ENTRY = re.compile(r"(\w+)(?: \([^)]*\))?:\s+(.*)")


@dataclass(frozen=True)
class Parameter:
    """What a recipe may set of one class.

    Attributes:
        annotation: its type, as written.
        default: its default, or ``REQUIRED``.
        description: its line in the docstring.
    """

    annotation: Any
    default: Any
    description: str


@cache
def parameters(cls: type) -> dict[str, Parameter]:
    """Name -> parameter: the fields of a dataclass, the keyword-only parameters of another class.

    Raises:
        TypeError: when a constructor does not tell apart what the program supplies and what a recipe sets.
    """
    said = _descriptions(cls)
    found = {
        name: Parameter(annotation, default, said.get(name, ""))
        for name, annotation, default in (_fields(cls) if dataclasses.is_dataclass(cls) else _keywords(cls))
    }
    if "type" in found:
        raise TypeError(f"{cls.__qualname__}: a parameter cannot be called 'type', which names the class")
    return found


def _fields(cls: Any) -> Iterator[tuple[str, Any, Any]]:
    hints = get_type_hints(cls, include_extras=True)
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        if field.default_factory is not dataclasses.MISSING:
            yield field.name, hints[field.name], field.default_factory()
        else:
            missing = field.default is dataclasses.MISSING
            yield field.name, hints[field.name], REQUIRED if missing else field.default


def _keywords(cls: type) -> Iterator[tuple[str, Any, Any]]:
    constructor: Any = cls.__init__  # type: ignore[misc]
    # A class without a constructor of its own inherits (*args, **kwargs), from which there is nothing to set.
    hints = get_type_hints(constructor, include_extras=True)
    for name, parameter in list(inspect.signature(constructor).parameters.items())[1:]:
        match parameter.kind:
            case inspect.Parameter.POSITIONAL_OR_KEYWORD:
                raise TypeError(
                    f"{cls.__qualname__}.__init__: write '{name}, /' if the program supplies it, "
                    f"'*, {name}' if a recipe sets it"
                )
            case inspect.Parameter.KEYWORD_ONLY if name not in hints:
                raise TypeError(f"{cls.__qualname__}.__init__: '{name}' has no annotation")
            case inspect.Parameter.KEYWORD_ONLY:
                yield name, hints[name], parameter.default


def _descriptions(cls: type) -> dict[str, str]:
    """Parameter -> its text in the ``Args:`` or ``Attributes:`` of Google docstrings, nearest class first."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for owner in (base, vars(base).get("__init__")):
            found |= _entries(inspect.cleandoc(owner.__doc__ or "") if owner is not None else "")
    return found


def _entries(doc: str) -> dict[str, str]:
    found: dict[str, str] = {}
    inside, name, indent = False, "", 0
    for line in doc.splitlines():
        depth = len(line) - len(line.lstrip())
        if line.strip() and depth == 0:
            inside, name, indent = line.strip() in {"Args:", "Attributes:"}, "", 0
        elif inside and line.strip():
            indent = indent or depth
            entry = _ENTRY.match(line.strip()) if depth == indent else None
            if entry:
                name = entry[1]
                found[name] = entry[2]
            elif name:
                found[name] += " " + line.strip()
    return found


def summary(cls: type) -> str:
    """First paragraph of a class's docstring; nothing where ``dataclass`` wrote it."""
    doc = inspect.cleandoc(cls.__doc__ or "")
    return "" if doc.startswith(f"{cls.__name__}(") else " ".join(doc.split("\n\n")[0].split())


def is_role(cls: type) -> bool:
    """Whether a class is the abstract base of a role rather than one of its choices."""
    return isinstance(cls, ABCMeta) and (inspect.isabstract(cls) or ABC in cls.__bases__)


def has_role(cls: type) -> bool:
    """Whether a class is a choice of some role, and so is named by ``type`` when written."""
    return any(is_role(base) for base in cls.__mro__[1:])


def choices(role: type) -> dict[str, type]:
    """Name -> class: the concrete subclasses of a role imported so far, by name; of another class, itself.

    A name that begins with an underscore is private and no choice.

    Raises:
        ValueError: when two different classes share a name.
    """
    if not is_role(role):
        return {role.__name__: role}
    found: dict[str, type] = {}
    for cls in _subclasses(role):
        if is_role(cls) or cls.__name__.startswith("_"):
            continue
        other = found.get(cls.__name__, cls)
        # The same definition run again, as in a notebook, replaces its elder.
        if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(
                f"two classes are called {cls.__name__}: one in {other.__module__}, one in {cls.__module__}; "
                "rename one of them"
            )
        found[cls.__name__] = cls
    return dict(sorted(found.items()))


def _subclasses(cls: type) -> Iterator[type]:
    child: type
    for child in cls.__subclasses__():
        yield child
        yield from _subclasses(child)


def find(name: str, roles: Sequence[type]) -> type:
    """The role or choice of that name.

    Raises:
        ConfigError: with a suggestion, when there is none.
    """
    known = {cls.__name__: cls for role in roles for cls in (role, *choices(role).values())}
    if name not in known:
        hint = suggestion(name, known) or f"; there are {', '.join(sorted(known))}"
        raise ConfigError([Problem((), f"unknown name '{name}'{hint}")])
    return known[name]


def plugins(names: Sequence[str]) -> None:
    """Import the installed entry points of group ``counterpoint`` and the modules a person named.

    Named modules may lie in the working directory, as for ``python -m``.

    Raises:
        ConfigError: when one cannot be imported.
    """
    import importlib
    import sys
    from importlib.metadata import entry_points

    if names and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    imports: list[tuple[str, Callable[[], object]]] = [
        (f"entry point {entry.name}", entry.load) for entry in entry_points(group="counterpoint")
    ]
    imports += [(name, lambda name=name: importlib.import_module(name)) for name in names]  # type: ignore[misc]
    found = []
    for name, bring in imports:
        try:
            bring()
        except ImportError as error:
            found.append(Problem((), f"{name}: cannot be imported: {error}", Place("plugins")))
    if found:
        raise ConfigError(found)


def alternatives(annotation: Any) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """(origin, arguments) of every member of a union, constraints taken off; (class, ()) for a class."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from alternatives(arguments[0])
    elif origin in (Union, types.UnionType):
        for member in arguments:
            yield from alternatives(member)
    else:
        yield origin or annotation, arguments


def classes(annotation: Any) -> Iterator[type]:
    """Every role or class of ours an annotation speaks of, at any depth."""
    for origin, arguments in alternatives(annotation):
        if origin is Literal:
            continue
        if arguments:
            for argument in arguments:
                yield from classes(argument)
        elif isinstance(origin, type) and origin not in SCALARS:
            yield origin


def spell(annotation: Any) -> str:
    """An annotation for people: ``list of number``, ``one of InfoNCE, SupCon``."""
    return " or ".join(dict.fromkeys(_spell(*member) for member in alternatives(annotation)))


def _spell(origin: Any, arguments: tuple[Any, ...]) -> str:
    if origin in _WORDS:
        return _WORDS[origin]
    if origin is Literal:
        return " or ".join(repr(option) for option in arguments)
    if origin is Callable:
        return spell(arguments[1])
    if origin in (dict, Mapping):
        return f"mapping of {spell(arguments[0])} to {spell(arguments[1])}" if arguments else "mapping"
    if origin in (list, tuple, Sequence):
        items = [spell(argument) for argument in arguments if argument is not Ellipsis]
        return f"list of {', '.join(items)}" if items else "list"
    if isinstance(origin, type) and is_role(origin):
        return f"{origin.__name__} ({', '.join(choices(origin)) or 'none is known'})"
    return str(getattr(origin, "__name__", origin))
