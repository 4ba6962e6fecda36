"""The schema for editors and the page for people."""

from __future__ import annotations

import inspect
from abc import ABC
from pathlib import Path
from typing import Any

from counterpoint.config.build import PLACE, model
from counterpoint.config.signature import REQUIRED, choices, classes, is_role, parameters, spell, summary
from counterpoint.config.writing import dump, plain


def schema(root: type) -> dict[str, Any]:
    """JSON Schema, draft 2020-12, of the YAML that ``load`` takes for ``root``.

    Every role is a definition that lists its choices, told apart by a constant ``type``.
    """
    definitions: dict[str, dict[str, Any]] = {}
    owners: dict[str, type] = {root.__name__: root}
    waiting = [root]
    while waiting:
        role = waiting.pop()
        named = is_role(role)
        definitions[role.__name__] = _role(role) if named else _object(role)
        for name, cls in choices(role).items():
            if named:
                definitions[f"{role.__name__}.{name}"] = _choice(cls)
            for inner in (c for p in parameters(cls).values() for c in classes(p.annotation)):
                owner = owners.setdefault(inner.__name__, inner)
                assert owner is inner, f"{owner} and {inner} share a name"
                if inner.__name__ not in definitions and inner not in waiting:
                    waiting.append(inner)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": f"#/$defs/{root.__name__}",
        "$defs": definitions,
    }


def _role(role: type) -> dict[str, Any]:
    known = choices(role)
    bare = [
        name
        for name, cls in known.items()
        if all(parameter.default is not REQUIRED for parameter in parameters(cls).values())
    ]
    objects = [{"$ref": f"#/$defs/{role.__name__}.{name}"} for name in known]
    return {"description": summary(role), "anyOf": [*([{"enum": bare}] if bare else []), *objects]}


def _choice(cls: type) -> dict[str, Any]:
    """As ``_object``, where several classes fit and ``type`` tells them apart."""
    found = _object(cls)
    return found | {"required": ["type", *found["required"]]}


def _object(cls: type) -> dict[str, Any]:
    """Schema of a constructor's arguments."""
    from pydantic.json_schema import GenerateJsonSchema

    class Untitled(GenerateJsonSchema):
        def field_title_should_be_set(self, schema: Any) -> bool:
            return False

    found: dict[str, Any] = _referring(model(cls).model_json_schema(schema_generator=Untitled))
    properties = found.get("properties", {})
    for name, parameter in parameters(cls).items():
        properties[name].pop("default", None)
        if parameter.default is not REQUIRED:
            properties[name]["default"] = plain(_relative(parameter.default), (name,))
    kind = {"const": cls.__name__, "description": summary(cls)}
    found["properties"] = {"type": kind, **properties}
    found.setdefault("required", [])
    return found | ({"description": summary(cls)} if summary(cls) else {})


def _referring(node: Any) -> Any:
    """The places of roles and classes turned into references."""
    if isinstance(node, dict):
        if PLACE in node:
            rest = {key: item for key, item in node.items() if key != PLACE}
            return {"$ref": f"#/$defs/{node[PLACE]}", **rest}
        return {key: _referring(item) for key, item in node.items()}
    return [_referring(item) for item in node] if isinstance(node, list) else node


def describe(cls: type) -> str:
    """The page ``counterpoint show`` prints: what a class is, what a recipe may set of it, its docstring."""
    bases = ", ".join(base.__name__ for base in cls.__bases__ if base not in (object, ABC))
    lines = [f"{cls.__name__}{f'({bases})' if bases else ''}", f"from {cls.__module__}", ""]
    if is_role(cls):
        known = choices(cls)
        wide = max(map(len, known), default=0)
        lines += [f"{name:<{wide}}  {summary(choice)}".rstrip() for name, choice in known.items()]
    else:
        lines += [f"type: {cls.__name__}"]
        for name, parameter in parameters(cls).items():
            lines += _setting(name, parameter.annotation, parameter.default, parameter.description)
    texts = [cls.__doc__, vars(cls)["__init__"].__doc__ if "__init__" in vars(cls) else None]
    doc = [inspect.cleandoc(text) for text in texts if text and not text.startswith(f"{cls.__name__}(")]
    return "\n".join([*lines, "", *doc]).rstrip() + "\n"


def _setting(name: str, annotation: Any, default: Any, description: str) -> list[str]:
    comment = f"  # {'required, ' if default is REQUIRED else ''}{spell(annotation)}"
    comment += f": {description}" if description else ""
    if default is REQUIRED:
        return [f"{name}:{comment}"]
    text = dump({name: _relative(default)}).rstrip().splitlines()
    return [text[0] + comment, *text[1:]]


def _relative(default: Any) -> Any:
    """A default path as its author wrote it, the same on every machine."""
    return str(default) if isinstance(default, Path) else default
