"""Recipes into objects: what fits, what does not and where it says so."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from config_toys import (
    GOOD,
    Chain,
    Jitter,
    Optimizer,
    Recipe,
    Transform,
    at,
    complaints,
)
from counterpoint.config import (
    ConfigError,
    expand_sweep,
    load,
)


def test_builds_factories_and_instances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = load(
        at(
            tmp_path,
            """\
            root: recordings
            objective: {type: InfoNCE, temperature: 7e-2, copy: true}
            transforms:
              - Jitter
              - type: Chain
                steps: [{type: Jitter, sigma: 2}]
            heads:
              one: InfoNCE
              two: {type: SupCon, weights: [1, 0.5]}
            optimizer: {betas: [0.8, 0.9]}
            extra: {size: 5}
            steps: 100
            seeds: [1, 2]
            names: {0: healthy, 1: worn}
            """,
        ),
        Recipe,
    )
    assert recipe.root == tmp_path / "recordings"
    assert isinstance(recipe.objective, partial)
    assert recipe.objective(8).arguments == (8, 0.07, True)
    assert recipe.transforms == [Jitter(), Chain([Jitter(2.0)])]
    assert recipe.heads["one"](1).arguments == (1, 0.07, False)  # type: ignore[attr-defined]
    assert recipe.heads["two"](1).arguments == (1, (1.0, 0.5), "out")  # type: ignore[attr-defined]
    assert recipe.optimizer == Optimizer(betas=(0.8, 0.9))
    assert recipe.extra().size == 5
    assert (recipe.steps, recipe.seeds, recipe.note) == (100, (1, 2), None)
    assert recipe.names == {0: "healthy", 1: "worn"}
    assert recipe.spare is None


def test_a_role_may_be_the_root() -> None:
    assert load({"type": "Jitter", "sigma": 3}, Transform) == Jitter(3.0)  # type: ignore[type-abstract]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"objectve": 1}, "objectve: unknown key; did you mean 'objective'?"),
        ({"zzz": 1}, "zzz: unknown key; Recipe takes root, objective, transforms, heads, optimizer,"),
        (
            {"objective": {"type": "InfoNCE", "temprature": 1}},
            "objective.temprature: unknown key; did you mean 'temperature'?",
        ),
        (
            {"objective": {"type": "InfoNEC"}},
            "objective.type: unknown Objective 'InfoNEC'; did you mean 'InfoNCE'?",
        ),
        ({"objective": "infonce"}, "objective: unknown Objective 'infonce'; did you mean 'InfoNCE'?"),
        (
            {"objective": {"type": "os.system"}},
            "objective.type: unknown Objective 'os.system'; there are InfoNCE, SupCon",
        ),
        ({"objective": "subprocess.Popen"}, "objective: unknown Objective 'subprocess.Popen'; there are"),
        ({"objective": {"type": 3}}, "objective.type: unknown Objective 3; there are InfoNCE, SupCon"),
        ({"objective": {"temperature": 1}}, "objective: add a 'type', one of InfoNCE, SupCon"),
        ({"objective": 3}, "objective: should name one of InfoNCE, SupCon by its 'type', not 3"),
        ({"optimizer": 3}, "optimizer: should be a mapping of the keys of Optimizer, not 3"),
        (
            {"objective": "SupCon"},
            "objective.weights: missing; SupCon needs 'weights': list of number",
        ),
        (
            {"objective": {"type": "InfoNCE", "temperature": "0.1"}},
            "objective.temperature: should be a valid number, not '0.1'",
        ),
        (
            {"objective": {"type": "InfoNCE", "temperature": True}},
            "objective.temperature: should be a valid number, not true",
        ),
        (
            {"objective": {"type": "InfoNCE", "temperature": -1}},
            "objective.temperature: should be greater than 0, not -1",
        ),
        (
            {"objective": {"type": "SupCon", "weights": [], "mode": "ot"}},
            "objective.mode: should be 'in' or 'out', not 'ot'; did you mean 'out'?",
        ),
        ({"seeds": [0, "1"]}, "seeds.1: should be a valid integer, not '1'"),
        ({"seeds": [0, True]}, "seeds.1: should be a valid integer, not true"),
        ({"seeds": 0}, "seeds: should be a valid list, not 0"),
        ({"names": 0}, "names: should be a mapping, not 0"),
        ({"steps": "atuo"}, "steps: should be a valid integer or 'auto', not 'atuo'"),
        ({"note": 1}, "note: should be a valid string, not 1"),
        ({"root": 1}, "root: should be a valid path, not 1"),
        ({"root": None}, "root: should be a valid path, not null"),
        ({"names": {"a": "b"}}, "names.a: should be a valid integer"),
        ({"optimizer": {"betas": [0.1]}}, "optimizer.betas: item 1 is missing, counted from 0"),
        ({"optimizer": {"betas": [1, 2, 3]}}, "optimizer.betas: List should have at most 2 items"),
        (
            {"transforms": [{"type": "Jitter", "sigma": -1}]},
            "transforms.0: sigma is -1.0; a deviation is not",
        ),
        (
            {"transforms": [{"type": "Chain", "steps": [{"type": "Jiter"}]}]},
            "transforms.0.steps.0.type: unknown Transform 'Jiter'; did you mean 'Jitter'?",
        ),
        ({"spare": {"type": "InfoNCE", "x": 1}}, "spare.x: unknown key; InfoNCE takes temperature, copy"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], said: str) -> None:
    told = complaints(GOOD | change)
    assert len(told) == 1
    assert told[0].startswith(said)


def test_all_problems_come_at_once_each_in_its_place(tmp_path: Path) -> None:
    path = at(
        tmp_path,
        """\
        objective:
          type: InfoNCE
          temprature: 0.1
          temperature: cold
        transforms:
          - Jitter
          - {type: Jitter, sigma: -2.0}
          - type: Chain
        optimizer:
          lr: '1'
        """,
    )
    assert complaints(path, "seeds=[0, x]", "a=") == [
        "recipe.yaml:1:1: root: missing; Recipe needs 'root': path",
        "recipe.yaml:3:3: objective.temprature: unknown key; did you mean 'temperature'?",
        "recipe.yaml:4:16: objective.temperature: should be a valid number, not 'cold'",
        "recipe.yaml:7:5: transforms.1: sigma is -2.0; a deviation is not negative",
        "recipe.yaml:8:5: transforms.2.steps: missing; Chain needs 'steps': "
        "list of Transform (Chain, Forgetful, Jitter)",
        "recipe.yaml:10:7: optimizer.lr: should be a valid number, not '1'",
        "--set: seeds.1: should be a valid integer, not 'x'",
        "--set: a: unknown key; Recipe takes root, objective, transforms, heads, optimizer, extra, steps, "
        "note, seeds, names, spare",
    ]


def test_overrides(tmp_path: Path) -> None:
    path = at(tmp_path, "root: x\nobjective: InfoNCE\nseeds: [3]\nnames: {0: a}\n")
    recipe = load(
        path,
        Recipe,
        [
            "objective.temperature=1e-1",  # a bare name grows arguments
            "seeds=[0,1]",
            "seeds.1=7",
            "transforms.1.steps.0.sigma=4",  # inside what was left to its default
            "optimizer.betas.0=0.5",
            "steps=12",
            "note=no",
            "names.0=b",
            "heads.extra={type: SupCon, weights: [1]}",
            "heads.extra.mode=in",
        ],
    )
    assert isinstance(recipe.objective, partial)
    assert recipe.objective.keywords == {"temperature": 0.1}
    assert recipe.seeds == (0, 7)
    assert recipe.transforms == [Jitter(), Chain([Jitter(4.0)])]
    assert recipe.optimizer == Optimizer(betas=(0.5, 0.999))
    assert (recipe.steps, recipe.note, recipe.names) == (12, "no", {0: "b"})
    assert isinstance(recipe.heads["extra"], partial)
    assert recipe.heads["extra"].keywords == {"weights": (1.0,), "mode": "in"}


def test_overrides_leave_their_source_alone() -> None:
    source = {**GOOD, "seeds": [1]}
    assert load(source, Recipe, ["seeds.0=2"]).seeds == (2,)
    assert source["seeds"] == [1]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("objective.temprature=1", "--set: objective.temprature: unknown key; did you mean 'temperature'?"),
        ("objectve.temperature=1", "--set: objectve: unknown key; did you mean 'objective'?"),
        ("steps=a", "--set: steps: should be a valid integer or 'auto', not 'a'"),
        ("steps", "--set: 'steps' should read key.key=value"),
        ("a..b=1", "--set: 'a..b=1' should read key.key=value"),
        ("steps=[1", "--set: steps: not YAML: while parsing a flow sequence"),
        ("seeds.4=1", "--set: seeds: has 1 items, counted from 0; '4' is none of them"),
        ("steps.a=1", "--set: steps: should be a valid integer or 'auto', not a mapping"),
        ("seeds.0.a=1", "--set: seeds.0: is 0, in which 'a' cannot be set"),
        ("spare.temperature=1", "--set: spare: add a 'type', one of InfoNCE, SupCon"),
    ],
)
def test_overrides_that_do_not_fit(override: str, said: str) -> None:
    told = complaints(GOOD, override)
    assert len(told) == 1
    assert told[0].startswith(said)


def test_a_sweep_is_a_grid() -> None:
    assert expand_sweep(["a.b=1,2", "seed=0,1,2"]) == [
        [f"a.b={b}", f"seed={seed}"] for b in (1, 2) for seed in (0, 1, 2)
    ]
    assert expand_sweep(["x=[1,2],{a: [3,4]},'5,6',it's"]) == [
        ["x=[1,2]"],
        ["x={a: [3,4]}"],
        ["x='5,6'"],
        ["x=it's"],
    ]
    assert expand_sweep([]) == [[]]
    with pytest.raises(ConfigError) as caught:
        expand_sweep(["a", "b=1,", "c=1", "c=2"])
    assert [str(problem) for problem in caught.value.problems] == [
        "sweep: 'a' should read key.key=value,value",
        "sweep: 'b=1,' should read key.key=value,value",
        "sweep: 'c' is swept twice; give all its values at once",
    ]
