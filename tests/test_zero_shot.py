"""Classes by prompts: probabilities against a naive loop, what a cell is told, and what cannot be asked."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clips_world import PROMPTS, RECIPE, ClipData, folder_of
from counterpoint.alignment import check, judge_zero_shot
from counterpoint.alignment.outputs import told
from counterpoint.embed import embed
from counterpoint.evaluate.zero_shot import ZERO_SHOT, ZeroShot
from counterpoint.evaluation import Evaluation
from counterpoint.objectives import CLIP, InfoNCE
from counterpoint.recipe import build, load, train_cell
from counterpoint.run import train
from counterpoint.types import Text


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5), st.lists(st.integers(1, 3), min_size=2, max_size=4), st.floats(0.01, 2), st.integers(0, 999))
def test_probabilities_are_a_softmax_of_means(rows: int, counts: list[int], temperature: float, seed: int) -> None:
    classes = [f"c{at}" for at in range(len(counts))]
    asked = ZeroShot(
        prompts={name: [f"{name} {at}" for at in range(count)] for name, count in zip(classes, counts, strict=True)},
        temperature=temperature,
    )
    sentences, owners = asked.sentences(list(reversed(classes)))
    assert [classes[len(classes) - 1 - owner] for owner in owners] == [one.split()[0] for one in sentences]
    similarities = np.random.default_rng(seed).normal(size=(rows, len(owners)))
    found = asked.probabilities(similarities, owners, len(classes))
    for row, scores in zip(found, similarities, strict=True):
        means = [
            np.mean([s for s, owner in zip(scores, owners, strict=True) if owner == at]) for at in range(len(counts))
        ]
        expected = torch.softmax(torch.tensor(means) / temperature, 0).numpy()
        np.testing.assert_allclose(row, expected, atol=1e-12)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = folder_of(tmp_path_factory.mktemp("run"))
    train_cell(RECIPE, ClipData(), "all", 0, folder)
    return folder


@pytest.mark.parametrize("first", ["fused", "text"])
def test_a_cell_classifies_by_cosines_with_its_prompts(trained: Path, first: str) -> None:
    pair = (first, "text" if first == "fused" else "fused")
    recipe, data = replace(RECIPE, objective=partial(CLIP, width=16, pairs=[pair])), ClipData()
    (found,) = judge_zero_shot(recipe, data, "all", 0, trained)
    assert (found.name, found.kind) == (ZERO_SHOT, "model")
    model, objective = load(trained, data, recipe)
    rows = data.evaluation("all", "test")
    clips = torch.from_numpy(embed(model, data, rows).values)
    heads = objective.get_submodule("head.projections")
    unit = torch.nn.functional.normalize
    scores = []
    for name in data.classes:
        said = model.encoders["text"](Text(tuple(PROMPTS[name]))).pooled
        cosines = unit(heads["fused"](clips), dim=1) @ unit(heads["text"](said), dim=1).T
        scores.append(cosines.mean(1))
    expected = (torch.stack(scores, 1) / 0.07).softmax(1).detach().numpy()
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-4)
    np.testing.assert_array_equal(found.truth.labels, rows.labels)
    assert (found.predictions == rows.labels).mean() > 0.9


def test_sentences_are_told_alone_as_beside_clips(trained: Path) -> None:
    data = ClipData()
    model, objective = load(trained, data, RECIPE)
    sentences = ("somebody does walk far", "boxing")
    alone = told(model, objective, "text", sentences)
    one = told(model, objective, "text", sentences[1:])
    torch.testing.assert_close(alone.pooled[1:], one.pooled)
    torch.testing.assert_close(alone.pooled.norm(dim=1), torch.ones(2))


def test_the_answer_stands_among_the_others(tmp_path: Path) -> None:
    recipe = replace(RECIPE, trainer=replace(RECIPE.trainer, epochs=2))
    told_of = train(recipe, tmp_path / "run")
    rows = json.loads((tmp_path / "run" / "scores.json").read_text())["rows"]
    (row,) = (row for row in rows if row["name"] == ZERO_SHOT)
    assert row["kind"] == "model"
    assert {other["kind"] for other in rows} == {"model", "baseline"}
    assert f"| {ZERO_SHOT} " in told_of


@pytest.mark.parametrize(
    ("asked", "changes", "message"),
    [
        ({"prompts": {"boxing": ["a"]}}, {}, "no prompt for the class 'walk'"),
        ({"prompts": PROMPTS | {"squat": ["a"]}}, {}, "'squat' is no class of the data, which are boxing, walk"),
        ({"prompts": PROMPTS}, {"objective": InfoNCE}, "InfoNCE compares no text with anything"),
        (
            {"prompts": PROMPTS},
            {"objective": partial(CLIP, pairs=[("near", "side")])},
            r"CLIP compares no text with anything, its pairs are \[\('near', 'side'\)\]",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_before_training(asked: Any, changes: Any, message: str) -> None:
    recipe = replace(RECIPE, evaluation=Evaluation(zero_shot=ZeroShot(**asked)), **changes)
    with pytest.raises(ValueError, match=message):
        check(recipe, ClipData(), *build(recipe, ClipData(), 0))


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"prompts\.walk has an empty sentence"):
        ZeroShot(prompts={"walk": [" "]})
    with pytest.raises(ValueError, match="temperature is 0"):
        ZeroShot(prompts=PROMPTS, temperature=0)
    with pytest.raises(ValueError, match="no recording is labelled"):
        check(RECIPE, ClipData(labelled=False), *build(RECIPE, ClipData(labelled=False), 0))
    check(RECIPE, ClipData(), *build(RECIPE, ClipData(), 0))
