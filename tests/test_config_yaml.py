"""YAML 1.2 in, plain documents only, and the resolved copy out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from config_toys import (
    GOOD,
    InfoNCE,
    Plain,
    Recipe,
    SupCon,
    at,
    complaints,
)
from counterpoint.config import (
    ConfigError,
    dump,
    load,
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("note: a\nroot: x\nnote: b\n", ["recipe.yaml:3:1: note: the key is written twice; first on line 1"]),
        ("root: !!python/name:os.system x\n", ["recipe.yaml:1:7: root: the tag 'tag:yaml.org,2002:python/"]),
        (
            "root: !mine x\nnote: !x [1]\n",
            ["recipe.yaml:1:7: root: the tag '!m", "recipe.yaml:2:7: note: the"],
        ),
        ("root: [1\n", ["recipe.yaml:2:1: not YAML: while parsing a flow sequence, expected ',' or ']'"]),
        ("root: a\n---\nroot: b\n", ["recipe.yaml:2:1: not YAML: expected a single document"]),
        ("a: &a {x: 1}\nb: {<<: *a}\n", ["recipe.yaml:2:5: b: merge keys (<<) are not part of YAML 1.2"]),
        ("true: 1\n", ["recipe.yaml:1:1: true cannot be a key"]),
        ("[1]: 1\n", ["recipe.yaml:1:1: a list or mapping cannot be a key"]),
        ("note: !!int x\n", ["recipe.yaml:1:7: note: 'x' is not of the type tag:yaml.org,2002:int"]),
        ("note: &a [*a]\n", ["recipe.yaml:1:7: note.0.0: nested deeper than 64 levels, or an alias that"]),
        ("note: " + "[" * 1200, ["recipe.yaml: nested deeper than 64 levels"]),
        ("note: " + "9" * 5000, ["recipe.yaml:1:7: note: a whole number of 5000 digits"]),
        ("note: \x00", ["recipe.yaml: not YAML: unacceptable character #x0000"]),
        ("just a text", ["recipe.yaml:1:1: should be a mapping of the keys of Recipe, not 'just a text'"]),
        ("", ["recipe.yaml:1:1: root: missing; Recipe needs", "recipe.yaml:1:1: objective: missing; Recipe"]),
    ],
)
def test_what_is_not_a_plain_document_is_refused(tmp_path: Path, text: str, said: list[str]) -> None:
    told = complaints(at(tmp_path, text))
    for line, start in zip(told, said, strict=True):
        assert line.startswith(start)


def test_an_alias_repeats_its_value(tmp_path: Path) -> None:
    path = at(tmp_path, "root: &r x\nnote: *r\nobjective: &o {type: InfoNCE, temperature: 1}\nheads: {a: *o}\n")
    recipe = load(path, Recipe)
    assert recipe.note == "x"
    assert isinstance(recipe.heads["a"], partial)
    assert recipe.heads["a"].keywords == {"temperature": 1.0}


def test_an_alias_bomb_is_defused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (told,) = complaints(at(tmp_path, "\n".join(lines)))
    assert told.endswith("more than 20000 values once its aliases are expanded")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    at(tmp_path, "")
    missing = tmp_path / "recipy.yaml"
    with pytest.raises(ConfigError) as caught:
        load(missing, Recipe)
    assert str(caught.value) == f"{missing}: no such file; did you mean '{tmp_path / 'recipe.yaml'}'?"
    with pytest.raises(ConfigError, match="directory"):
        load(tmp_path, Recipe)
    missing.write_bytes(b"note: \xff")
    with pytest.raises(ConfigError, match="not a UTF-8 text"):
        load(missing, Recipe)


@dataclass(frozen=True)
class Anything:
    value: Any


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("-.inf", -math.inf),
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("Off", "Off"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("0o17", 15),
        ("017", 17),
        ("0x1F", 31),
        ("+12", 12),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("12:30:45", "12:30:45"),
        ("2024-01-02", "2024-01-02"),
        ("null", None),
        ("~", None),
        ("", None),
        ("Null", None),
        ("'12'", "12"),
        ("'null'", "null"),
        ("!!str 12", "12"),
        ("!!float 3", 3.0),
        ("=", "="),
    ],
)
def test_scalars_are_those_of_yaml_1_2(tmp_path: Path, text: str, value: object) -> None:
    read = load(at(tmp_path, f"value: {text}\n"), Anything).value
    assert (read, type(read)) == (value, type(value))
    assert load(at(tmp_path, dump(Anything(value))), Anything).value == value


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
HARD = st.sampled_from(["1e-4", "0o17", "no", "~", "", "<<", "=", "1_0", ".nan", "12:30", "- a", "a: b", "#", "\n"])
VALUES = st.recursive(
    SCALARS | HARD,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | HARD | st.integers(), inner),
    max_leaves=8,
)


@given(VALUES)
def test_what_is_dumped_loads_as_the_same(value: object) -> None:
    from counterpoint.config.document import parse

    assert parse(dump({"value": value}), "").values == {"value": value}


@given(st.text(alphabet=st.sampled_from("0123456789+-.eEoxXinfalsetrunyb_:~ ")))
def test_a_text_stays_a_text_for_other_readers_too(text: str) -> None:
    """The dump is read the same by a YAML 1.1 reader, which knows more plain scalars."""
    assert yaml.safe_load(dump({"value": text})) == {"value": text}


def test_the_dump_shows_every_default_and_loads_again(tmp_path: Path) -> None:
    recipe = Recipe(
        root=tmp_path,
        objective=InfoNCE,
        heads={"a": partial(SupCon, weights=[np.float64(0.5), 2])},
        extra=partial(Plain, size=9),
    )
    text = dump(recipe)
    assert text == dedent(
        f"""\
        root: {tmp_path}
        objective:
          type: InfoNCE
          temperature: 0.07
          copy: false
        transforms:
        - type: Jitter
          sigma: 0.1
        - type: Chain
          steps:
          - type: Jitter
            sigma: 0.5
        heads:
          a:
            type: SupCon
            weights: [0.5, 2]
            mode: out
        optimizer:
          lr: 0.001
          betas: [0.9, 0.999]
        extra:
          size: 9
        steps: auto
        note: null
        seeds: [0]
        names: {{}}
        spare: null
        """
    )
    again = load(at(tmp_path, text), Recipe)
    assert dump(again) == text.replace("[0.5, 2]", "[0.5, 2.0]")
    assert again.transforms == recipe.transforms


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (
            partial(InfoNCE, **dict[str, Any](temprature=1)),
            "temprature: InfoNCE takes no 'temprature'; did you mean 'temperature'",
        ),
        (partial(InfoNCE, 3), "InfoNCE is given arguments by position"),
        (partial(SupCon), "weights: missing; SupCon needs 'weights'"),
        ({"a": [lambda: 0]}, r"a\.0: .*should be a class or a functools.partial of one"),
        (object(), "cannot be written in YAML"),
    ],
)
def test_what_cannot_be_dumped(recipe: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        dump(recipe)


def test_an_instance_must_remember_its_arguments() -> None:
    with pytest.raises(TypeError, match=r"Forgetful is used as an instance .* must be a frozen dataclass"):
        load(GOOD | {"transforms": ["Forgetful"]}, Recipe)
