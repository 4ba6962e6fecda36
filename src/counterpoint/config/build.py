"""Plain values into instances and factories: pydantic checks each constructor's arguments.

One model a class, made when the class is first chosen. A role or class inside another is a plain validator
that checks the inner class by its own model and hands up its problems, so that recursion needs no forward
reference and every problem arrives with the class it concerns.
"""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    Strict,
    ValidationError,
    WithJsonSchema,
    create_model,
)

from counterpoint.config.problems import ConfigError, Keys, Problem, echo, suggestion
from counterpoint.config.signature import REQUIRED, SCALARS, choices, is_role, parameters, spell

PLACE = "x-place"
"""Keyword that stands in a model's JSON Schema where a role or class is to be set."""


def select(role: type, value: Any) -> tuple[type, dict[str, Any]]:
    """The class a value names and the arguments it gives it; a bare text is short for ``{type: text}``.

    Raises:
        ConfigError: when the value names no choice of the role.
    """
    known = choices(role)
    if not known:
        raise ConfigError([Problem((), f"no {role.__name__} is known; name the plug-in that brings it")])
    listed = ", ".join(known)
    match value:
        case str() if is_role(role) or value in known:
            name, path, arguments = value, Keys(), {}
        case dict() if "type" in value or not is_role(role):
            name, path = value.get("type", role.__name__), ("type",)
            arguments = {key: item for key, item in value.items() if key != "type"}
        case dict():
            raise ConfigError([Problem((), f"add a 'type', one of {listed}", at="key")])
        case _ if is_role(role):
            raise ConfigError([Problem((), f"should name one of {listed} by its 'type', not {echo(value)}")])
        case _:
            raise ConfigError([Problem((), f"should be a mapping of the keys of {listed}, not {echo(value)}")])
    if not isinstance(name, str) or name not in known:
        hint = suggestion(str(name), known) or f"; there are {listed}"
        raise ConfigError([Problem(path, f"unknown {role.__name__} {echo(name)}{hint}")])
    return known[name], arguments


@dataclasses.dataclass(frozen=True)
class Building:
    """Validator of one place in a configuration.

    Attributes:
        role: the class annotated there.
        result: an instance, or a ``functools.partial`` of the class.
    """

    role: type
    result: Literal["instance", "factory"]

    def __call__(self, value: Any) -> Any:
        """Build what the value describes."""
        cls, arguments = select(self.role, value)
        given = keywords(cls, arguments)
        if self.result == "factory":
            return partial(cls, **given)
        must_remember(cls)
        return cls(**given)


def keywords(cls: type, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments, checked against the constructor; what was not given is left to its defaults.

    Raises:
        ConfigError: with all that does not fit, places not yet filled in.
    """
    names = list(parameters(cls))
    try:
        checked = model(cls).model_validate(arguments)
    except ValidationError as error:
        raise ConfigError(_merged(list(_problems(cls, arguments, error)))) from error
    given = checked.model_fields_set
    return {name: getattr(checked, f"p{i}") for i, name in enumerate(names) if f"p{i}" in given}


def must_remember(cls: type) -> None:
    """Refuse a class whose instances could not be written down again.

    Raises:
        TypeError: a mistake in the class, not in the configuration.
    """
    settings = getattr(cls, "__dataclass_params__", None)
    if settings is None or not settings.frozen:
        raise TypeError(
            f"{cls.__qualname__} is used as an instance in a recipe and must be a frozen dataclass, "
            "so that it remembers its arguments; or annotate the place as Factory"
        )


@cache
def model(cls: type) -> type[BaseModel]:
    """The pydantic model of a constructor. Fields are numbered, since a parameter may be called ``copy``."""
    fields: dict[str, Any] = {
        f"p{i}": (
            field_type(parameter.annotation, f"{cls.__qualname__}.{name}"),
            Field(
                default=... if parameter.default is REQUIRED else None,
                alias=name,
                description=parameter.description or None,
            ),
        )
        for i, (name, parameter) in enumerate(parameters(cls).items())
    }
    strict = ConfigDict(extra="forbid", strict=True)
    made: type[BaseModel] = create_model(cls.__name__, __config__=strict, **fields)
    return made


def field_type(annotation: Any, where: str) -> Any:
    """The annotation as pydantic is to see it: roles and classes become validators, YAML lists may be tuples.

    Raises:
        TypeError: for an annotation no YAML value can fill.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Path:
        return Annotated[Path, Strict(False), AfterValidator(absolute)]
    if annotation in SCALARS or origin is Literal:
        return annotation
    if origin is Annotated:
        inner: Any = field_type(arguments[0], where)
        for constraint in annotation.__metadata__:
            inner = Annotated[inner, constraint]
        return inner
    if origin in (Union, types.UnionType):
        return Union[tuple(field_type(member, where) for member in arguments)]  # noqa: UP007
    if origin in (list, tuple, dict, Sequence, Mapping):
        inside = tuple(a if a is Ellipsis else field_type(a, where) for a in arguments)
        plain = {Sequence: tuple, Mapping: dict}.get(origin, origin)
        inside += (...,) if origin is Sequence else ()
        return Annotated[plain[inside], Strict(False)] if plain is tuple else plain[inside]
    if origin is Callable and isinstance(arguments[1], type):
        return _place(arguments[1], "factory")
    if isinstance(annotation, type) and origin is None and annotation.__module__ != "builtins":
        return _place(annotation, "instance")
    raise TypeError(f"{where}: a recipe cannot set a value of type {annotation}")


def _place(role: type, result: Literal["instance", "factory"]) -> Any:
    return Annotated[Any, PlainValidator(Building(role, result)), WithJsonSchema({PLACE: role.__name__})]


def absolute(path: Path) -> Path:
    """A path as seen from the working directory, ``~`` being the home directory."""
    return path.expanduser().absolute()


def _problems(cls: type, value: Any, failure: ValidationError) -> Iterator[Problem]:
    """What pydantic found wrong with the arguments of a class, in our words."""
    known = parameters(cls)
    for error in failure.errors(include_url=False):
        kind, location = error["type"], error["loc"]
        path = _path(location, value)
        cause = error.get("ctx", {}).get("error")
        if kind == "missing" and isinstance(location[-1], int):
            yield Problem(path, f"item {location[-1]} is missing, counted from 0")
        elif kind == "missing":
            name = str(location[-1])
            needs = f"missing; {cls.__name__} needs '{name}': {spell(known[name].annotation)}"
            yield Problem((*path, name), needs, at="key")
        elif kind == "extra_forbidden":
            listed = f"; {cls.__name__} takes {', '.join(known)}" if known else f"; {cls.__name__} takes no keys"
            hint = suggestion(str(path[-1]), known) or listed
            yield Problem(path, f"unknown key{hint}", at="key")
        elif isinstance(cause, ConfigError):
            yield from (dataclasses.replace(inner, path=path + inner.path) for inner in cause.problems)
        elif cause is not None:
            yield Problem(path, str(cause))
        elif kind == "string_type" and location[-1:] == ("[key]",):
            yield Problem(path, f'a key is a text here: put it in quotes, "{error["input"]}"', at="key")
        else:
            yield Problem(path, _said(error["msg"], kind, error["input"]))


def _said(message: str, kind: str, value: Any) -> str:
    message = message if kind == "literal_error" else message.replace("tuple", "list").replace("Tuple", "List")
    message = message.replace("is not a", "should be a").replace("valid dictionary", "mapping")
    message = message.replace(" for <class 'pathlib.Path'>", "")
    if not message.startswith("Input should "):
        return message
    options = re.findall(r"'([^']*)'", message) if kind == "literal_error" else []
    hint = suggestion(value, options) if isinstance(value, str) else ""
    return f"{message.removeprefix('Input ')}, not {echo(value)}{hint}"


def _merged(problems: list[Problem]) -> list[Problem]:
    """One problem a value: a union speaks once for each of its members.

    The member that got furthest into the value is the one that was meant; of equals, all are named.
    """
    kept: dict[Keys, Problem] = {}
    for problem in problems:
        path = problem.path
        deeper = any(other.path[: len(path)] == path and len(other.path) > len(path) for other in problems)
        elder = kept.get(path)
        if elder is not None and problem.message != elder.message:
            wanted, _, got = elder.message.partition(", not ")
            also = problem.message.partition(", not ")[0].removeprefix("should be ")
            kept[path] = dataclasses.replace(elder, message=f"{wanted} or {also}, not {got}")
        elif elder is None and not deeper:
            kept[path] = problem
    return list(kept.values())


def _path(location: Sequence[str | int], value: Any) -> Keys:
    """The part of pydantic's location that is in the value; the rest names members of unions."""
    path: Keys = ()
    for part in location:
        inside = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        if part in inside:
            path, value = (*path, part), value[part]
    return path
