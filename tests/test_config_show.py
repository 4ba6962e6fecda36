"""What is told of the choices: schema, pages, names, plug-ins."""

from __future__ import annotations

import math
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml

import config_toys
from config_toys import (
    GOOD,
    Chain,
    InfoNCE,
    Objective,
    Recipe,
    SupCon,
    Transform,
    complaints,
)
from counterpoint.config import (
    ConfigError,
    choices,
    describe,
    dump,
    find,
    load,
    plugins,
    schema,
)


def fits(value: Any, node: dict[str, Any], definitions: dict[str, Any]) -> bool:
    """As much of JSON Schema as the tests need, written from the specification."""
    kinds: dict[str, tuple[type, ...]] = {
        "object": (dict,),
        "array": (list,),
        "string": (str,),
        "integer": (int,),
        "number": (int, float),
        "boolean": (bool,),
        "null": (type(None),),
    }
    checks = [
        "$ref" not in node or fits(value, definitions[node["$ref"].removeprefix("#/$defs/")], definitions),
        "anyOf" not in node or any(fits(value, option, definitions) for option in node["anyOf"]),
        "const" not in node or value == node["const"],
        "enum" not in node or value in node["enum"],
        "type" not in node or isinstance(value, kinds[node["type"]]),
        isinstance(value, str) or value is None or value > node.get("exclusiveMinimum", -math.inf)
        if not isinstance(value, dict | list)
        else True,
    ]
    if isinstance(value, dict):
        inside = node.get("properties", {})
        rest = node.get("additionalProperties", True)
        checks += [key in value for key in node.get("required", [])]
        checks += [
            fits(item, inside[key], definitions)
            if key in inside
            else (rest if isinstance(rest, bool) else fits(item, rest, definitions))
            for key, item in value.items()
        ]
    if isinstance(value, list):
        first = node.get("prefixItems", [])
        checks += [fits(item, option, definitions) for item, option in zip(value, first, strict=False)]
        checks += [fits(item, node.get("items") or {}, definitions) for item in value[len(first) :]]
    return all(checks)


def test_the_schema_accepts_what_load_accepts(tmp_path: Path) -> None:
    made = schema(Recipe)
    definitions = made["$defs"]
    assert made["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    resolved = yaml.safe_load(dump(load(GOOD, Recipe)))
    assert fits(resolved, made, definitions)
    assert fits(GOOD, made, definitions)
    for change in (
        {"objectve": 1},
        {"objective": "SupCon"},  # lacks weights
        {"objective": {"type": "InfoNEC"}},
        {"objective": {"temperature": 1}},
        {"objective": {"type": "InfoNCE", "temperature": -1}},
        {"transforms": [{"type": "Chain"}]},
        {"optimizer": {"lr": "1"}},
        {"heads": ["InfoNCE"]},
    ):
        assert not fits(GOOD | change, made, definitions)
        assert complaints(GOOD | change)


def test_the_schema_carries_docstrings_and_defaults() -> None:
    definitions = schema(Recipe)["$defs"]
    temperature = definitions["Objective.InfoNCE"]["properties"]["temperature"]
    assert temperature["description"] == "divides the similarities; the smaller, the harder."
    assert temperature["default"] == 0.07
    assert definitions["Objective"]["description"] == "What is thrown away."
    assert definitions["Objective.InfoNCE"]["properties"]["type"]["const"] == "InfoNCE"
    assert definitions["Objective.InfoNCE"]["required"] == ["type"]
    assert definitions["Recipe"]["required"] == ["root", "objective"]
    assert definitions["Recipe"]["properties"]["root"]["description"] == "folder of the recordings."
    assert definitions["Recipe"]["properties"]["transforms"]["default"][0] == {"type": "Jitter", "sigma": 0.1}
    assert definitions["Transform.Jitter"]["properties"]["sigma"]["description"].startswith("its deviation")


def test_the_page_of_a_class() -> None:
    assert describe(InfoNCE).startswith(
        dedent(
            f"""\
            InfoNCE(Objective)
            from {config_toys.__name__}

            type: InfoNCE
            temperature: 0.07  # number: divides the similarities; the smaller, the harder.
            copy: false  # true or false: a name pydantic's own models use.

            Noise contrastive estimation.
            """
        )
    )
    assert "weights:  # required, list of number" in describe(SupCon)
    assert "InfoNCE  Noise contrastive estimation." in describe(Objective)


def test_names_are_found() -> None:
    assert choices(Objective) == {"InfoNCE": InfoNCE, "SupCon": SupCon}
    assert find("Chain", [Objective, Transform]) is Chain
    assert find("Objective", [Objective, Transform]) is Objective
    with pytest.raises(ConfigError, match=r"unknown name 'Jiter'; did you mean 'Jitter'"):
        find("Jiter", [Objective, Transform])


def test_two_classes_of_one_name_are_refused() -> None:
    class Role(ABC):
        @abstractmethod
        def act(self) -> None: ...

    def define(module: str) -> type:
        return type("Twin", (Role,), {"act": lambda self: None, "__module__": module})

    first, again = define("mine"), define("mine")
    assert choices(Role)["Twin"] is again  # a notebook cell run twice
    other = define("theirs")
    with pytest.raises(ValueError, match="two classes are called Twin: one in mine, one in theirs"):
        choices(Role)
    assert len({first, again, other}) == 3


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def __init__(self, size: int) -> None: ...", r"write 'size, /' if the program supplies it"),
        ("def __init__(self, *, size) -> None: ...", "'size' has no annotation"),
        ("def __init__(self, *, size: complex) -> None: ...", "cannot set a value of type"),
        ("def __init__(self, *, type: str) -> None: ...", "cannot be called 'type'"),
    ],
)
def test_a_constructor_that_is_no_schema_says_so(body: str, said: str) -> None:
    space: dict[str, Any] = {}
    exec(f"class Wrong:\n    {body}", space)
    with pytest.raises(TypeError, match=said):
        load({}, space["Wrong"])


def test_plugins_are_named_on_the_command_line_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "toy_plugin_for_config.py").write_text(
        f"from {config_toys.__name__} import Transform\nfrom dataclasses import dataclass\n"
        "@dataclass(frozen=True)\nclass FromPlugin(Transform):\n"
        "    gain: float = 2.0\n    def apply(self, x): return x * self.gain\n"
    )
    source = GOOD | {"transforms": [{"type": "FromPlugin", "gain": 3}]}
    assert "unknown Transform 'FromPlugin'" in complaints(source)[0]
    plugins(["toy_plugin_for_config"])
    assert load(source, Recipe).transforms[0].apply(2.0) == 6.0
    with pytest.raises(ConfigError, match="plugins: no_such_module_here: cannot be imported: No module"):
        plugins(["no_such_module_here"])


def test_the_import_is_light() -> None:
    heavy = "torch", "numpy", "scipy", "lightning"
    code = f"import sys, counterpoint.config; print([m for m in {heavy!r} if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
