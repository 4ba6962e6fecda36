"""Attributions: exact where a model is linear, complete where it is not, nothing where nothing is."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor, nn

from clips_world import RECIPE, ClipData
from counterpoint import run
from counterpoint.encoders.base import Encoder, masked_mean
from counterpoint.evaluate.attributing import Attributions, attribution_lines, chosen
from counterpoint.evaluation import Evaluation
from counterpoint.explain import forget
from counterpoint.explain.attending import attended, looks
from counterpoint.explain.baseline import ends, means
from counterpoint.explain.gradients import Question, integrated, moving
from counterpoint.fusion import Concat, Fusion, Gated, TokenAttention
from counterpoint.model import Model
from counterpoint.objectives import CrossEntropy, Objective
from counterpoint.recipe import Recipe, of_run
from counterpoint.report.documents_explained import AttentionScores, AttributionScores
from counterpoint.report.explained import attention_bars, attention_charts, attribution_bars, attribution_charts
from counterpoint.settings import Monitor, Trainer
from counterpoint.types import (
    Batch,
    Encoded,
    Loss,
    ObjectiveSpec,
    Signal,
    SignalSpec,
    Spec,
    Spectra,
    SpectraSpec,
    Table,
    TableSpec,
)

pytest.importorskip("captum")

SIGNAL = SignalSpec(2, 6, 10.0)
SPECTRA = SpectraSpec(3, tuple(np.linspace(400.0, 1800.0, 8).tolist()), "cm-1")
TABLE = TableSpec(("age", "sex", "glucose"), ((), ("f", "m"), ()))
SPECS: dict[str, Spec] = {"signal": SIGNAL, "spectra": SPECTRA, "table": TABLE}


def test_of_a_linear_score_they_are_weight_times_distance() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(4, 3, generator=generator), torch.randn(5, generator=generator)
    inputs = torch.randn(1, 4, 3, generator=generator), torch.randn(1, 5, generator=generator)
    starts = torch.randn(1, 4, 3, generator=generator), torch.randn(1, 5, generator=generator)
    found = integrated(lambda a, b: (a * weights[0]).sum((1, 2)) + b @ weights[1] + 3.0, inputs, starts, 8)
    for one, weight, end, start in zip(found.values, weights, inputs, starts, strict=True):
        torch.testing.assert_close(one, weight * (end - start), atol=1e-5, rtol=1e-5)
    assert found.error < 1e-5


def test_of_a_product_they_are_the_integral_by_hand() -> None:
    """Of x * y from 0 to (a, b), the gradient at t is (t b, t a), so each has a b / 2."""
    found = integrated(
        lambda x, y: (x * y)[:, 0], (torch.tensor([[3.0]]), torch.tensor([[4.0]])), (torch.zeros(1, 1),) * 2, 4
    )
    assert [float(one) for one in found.values] == pytest.approx([6.0, 6.0], abs=1e-5)


@final
class Spread(Encoder):
    """A small network at each element of whatever has values and a mask; absent ones leave no trace."""

    def __init__(self, width: int, /, *, dim: int = 6) -> None:
        super().__init__()
        self.dim = dim
        self.layers = nn.Sequential(nn.Linear(width, 16), nn.Tanh(), nn.Linear(16, dim))

    def forward(self, modality: Any) -> Encoded:
        values, mask = modality.values, modality.mask
        if isinstance(modality, Table):
            values = values.masked_fill(~mask, 0.0)
            tokens = self.layers(values).unsqueeze(1)
            return Encoded(tokens, mask.any(1, keepdim=True), tokens[:, 0])
        tokens = self.layers(values.masked_fill(~mask.unsqueeze(2), 0.0))
        return Encoded(tokens, mask, masked_mean(tokens, mask))


def world() -> tuple[Model, CrossEntropy, dict[str, Any]]:
    """A model over three kinds of modality, and one row of them with holes that hold NaN."""
    torch.manual_seed(1)
    encoders: dict[str, Encoder] = {"signal": Spread(2), "spectra": Spread(8), "table": Spread(3)}
    model = Model(encoders, Concat({name: one.dim for name, one in encoders.items()})).eval()
    objective = CrossEntropy(ObjectiveSpec(model.dims, model.latents, ("a", "b", "c"), SPECS)).eval()
    with torch.no_grad():
        objective.classifier.weight.mul_(6.0)
    signal, spectra, table = 2 * torch.randn(1, 6, 2), 2 * torch.randn(1, 3, 8), torch.tensor([[1.5, 1.0, torch.nan]])
    signal[0, 4:], spectra[0, 1] = torch.nan, torch.nan
    view = {
        "signal": Signal(signal, torch.tensor([[True] * 4 + [False] * 2])),
        "spectra": Spectra(spectra, torch.tensor([[True, False, True]])),
        "table": Table(table, torch.tensor([[True, True, False]])),
    }
    return model, objective, view


def asked(
    steps: int, names: tuple[str, ...] = ("signal", "spectra", "table")
) -> tuple[Any, dict[str, Tensor], Question]:
    model, objective, view = world()
    question = Question(model, objective, view, names)
    which = {name: moving(SPECS[name], view[name]) for name in names}
    ways = [ends("zero", view[name], which[name], None) for name in names]
    inputs, starts = [way[0] for way in ways], [way[1] for way in ways]
    with torch.no_grad():
        question.target = int(question.answers(*inputs)[0].argmax())
    return integrated(question, inputs, starts, steps), which, question


def test_they_add_up_and_what_is_absent_has_none() -> None:
    found, which, _ = asked(64)
    assert abs(found.score - found.start) > 0.05, "or completeness would be about nothing"
    assert found.error < 1e-4
    for one, moved in zip(found.values, which.values(), strict=True):
        assert bool(one.isfinite().all())
        assert not one[~moved].any()
        assert bool(one[moved].any())
    assert which["table"].tolist() == [[True, False, False]], "a level and an unknown number do not move"


def test_more_steps_come_closer() -> None:
    assert asked(64)[0].error <= asked(3)[0].error + 1e-6


def test_the_probability_is_that_of_the_model() -> None:
    found, _, question = asked(8)
    model, objective, view = world()
    clean = {name: type(one)(one.values.nan_to_num(0.0), one.mask) for name, one in view.items()}
    with torch.no_grad():
        expected = objective.predict(model(clean)).probabilities[0]
    assert found.score == pytest.approx(float(expected[question.target]), abs=1e-6)
    assert int(expected.argmax()) == question.target


def test_modalities_that_are_not_asked_about_stay_as_they_are() -> None:
    found, _, _ = asked(64, ("signal",))
    assert len(found.values) == 1
    model, objective, view = world()
    gone = {**view, "signal": Signal(torch.zeros(1, 6, 2), view["signal"].mask)}
    clean = {name: type(one)(one.values.nan_to_num(0.0), one.mask) for name, one in gone.items()}
    with torch.no_grad():
        without = objective.predict(model(clean)).probabilities[0]
    whole, _, question = asked(8, ("signal",))
    assert whole.start == pytest.approx(float(without[question.target]), abs=1e-6)


@final
class Linear(Encoder):
    """Weights times the known numbers of a table, and nothing else."""

    def __init__(self, weights: Tensor, /) -> None:
        super().__init__()
        self.dim = 1
        self.weights = nn.Parameter(weights)

    def forward(self, table: Table) -> Encoded:
        assert table.mask is not None
        pooled = (table.values.masked_fill(~table.mask, 0.0) * self.weights).sum(1, keepdim=True)
        return Encoded(pooled.unsqueeze(1), table.mask.any(1, keepdim=True), pooled)


@final
class Pooled(Objective):
    """Estimates what the fused embedding says."""

    def forward(self, views: list[dict[str, Encoded]], batch: Batch) -> Loss:
        raise AssertionError

    def estimate(self, encoded: dict[str, Encoded]) -> Tensor:
        return encoded["fused"].pooled[:, 0] + 5.0


def test_of_a_linear_estimate_they_are_weight_times_distance() -> None:
    weights, mean = torch.tensor([2.0, 3.0, -1.0]), torch.tensor([0.5, 0.0, 0.0])
    model = Model({"table": Linear(weights)}, Concat({"table": 1})).eval()
    table = Table(torch.tensor([[1.5, 1.0, 7.0]]), torch.tensor([[True, True, False]]))
    question = Question(model, Pooled(), {"table": table}, ("table",))
    end, start = ends("mean", table, moving(TABLE, table), mean)
    found = integrated(question, [end], [start], 4)
    assert found.values[0].tolist() == [[pytest.approx(2.0 * (1.5 - 0.5), abs=1e-5), 0.0, 0.0]]
    assert found.score == pytest.approx(2.0 * 1.5 + 3.0 + 5.0)
    assert found.error < 1e-5


def test_they_are_the_same_each_time() -> None:
    for one, other in zip(asked(16)[0].values, asked(16)[0].values, strict=True):
        assert torch.equal(one, other)


def test_rows_are_chosen_evenly_over_classes() -> None:
    labels = np.array([0] * 50 + [1] * 3 + [2] * 47)
    found = chosen(labels, 20)
    assert len(found) == 20
    assert sorted(np.bincount(labels[found]).tolist()) == [3, 8, 9]
    assert found.tolist() == sorted(set(found.tolist()))
    assert chosen(labels, 500).tolist() == list(range(100))
    assert chosen(np.full(4, -1), 2).tolist() == [0, 3]


def test_the_mean_baseline_is_that_of_the_real_values() -> None:
    rows = ClipData().evaluation("all", "train")
    found = means(rows, ["near", "side"])
    views = [rows.recorded(name, list(range(len(rows)))) for name in ("near", "side")]
    for name, view in zip(("near", "side"), views, strict=True):
        assert isinstance(view, Signal)
        assert view.mask is not None
        expected = torch.stack([view.values[i] for i in range(len(rows)) if view.mask[i].any()]).mean(0)
        torch.testing.assert_close(found[name], expected, atol=1e-5, rtol=1e-5)
    end, start = ends("mean", world()[2]["table"], torch.tensor([[True, False, False]]), torch.tensor([0.3, 9.0, 9.0]))
    assert end.tolist() == [[1.5, 1.0, 0.0]]
    assert start.tolist() == [[pytest.approx(0.3), 1.0, 0.0]]


QUICK = Trainer(epochs=3, batch_size=20, monitor=Monitor(log_every=10))
ASKED = Attributions(rows=6, steps=24)


def clips(**more: Any) -> Recipe:
    evaluation = Evaluation(attributions=ASKED)
    known: dict[str, Any] = {
        "trainer": QUICK,
        "objective": CrossEntropy,
        "evaluation": evaluation,
        "fusion": partial(Gated, dim=12),
    }
    return replace(RECIPE, **(known | more))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("runs") / "clips"
    return folder, run.train(clips(), folder)


def test_a_run_keeps_and_tells_them(trained: tuple[Path, str]) -> None:
    folder, said = trained
    scores = json.loads((folder / "scores.json").read_text())
    found = scores["attributions"]
    assert found["rows"] == 6
    assert found["completeness"]["largest"] < 0.02
    assert set(found["left_out"]) == {"text"}
    assert set(found["sanity"]) == {"near", "side"}
    assert "integrated gradients (Sundararajan et al. 2017)" in said
    assert "importance" not in json.dumps(found)
    rows = pq.read_table(folder / "attributions" / "rows.parquet").to_pydict()
    total = dict.fromkeys(rows["row"], 0.0)
    for name in ("near", "side"):
        table = pq.read_table(folder / "attributions" / f"{name}.parquet").to_pydict()
        assert set(table["modality"]) == {name}
        assert table["place"][: 2 if table["index"][1] == 1 else 1] == [0.0, 0.1][: 2 if table["index"][1] == 1 else 1]
        for row, value in zip(table["row"], table["attribution"], strict=True):
            total[row] += value
    ends = zip(rows["row"], rows["value"], rows["baseline_value"], strict=True)
    for row, probability, start in ends:
        assert total[row] == pytest.approx(probability - start, abs=0.02)
    for modality in found["modalities"]:
        assert sum(one["rows"] for one in modality["classes"]) == 6
        for one in modality["classes"]:
            assert len(one["attribution"]) == len(one["mean"]) == len(modality["places"]) == 20
            assert min(one["attribution"]) >= 0


def test_the_report_shows_them(trained: tuple[Path, str]) -> None:
    page = (trained[0] / "report.html").read_text(encoding="utf-8")
    section = page[page.index('<section id="attributions">') :]
    section = section[: section.index("</section>")]
    assert "Integrated gradients (Sundararajan et al. 2017) of 6 test rows" in section
    assert "Adebayo" in section
    assert "Not attributed: text" in section
    for title in ("near: attribution", "near: mean", "side: attribution", "side: mean"):
        assert f"<b>{title}</b>" in section
    gates = page[page.index('<section id="attention">') :]
    gates = gates[: gates.index("</section>")]
    scores = json.loads((trained[0] / "scores.json").read_text())
    for one in scores["attention"]["weights"]:
        for known in one["classes"]:
            assert f'<data value="{known["weights"][0]}">' in gates


def test_columns_and_stretches_of_an_axis_are_drawn() -> None:
    told = [
        {"name": "a", "rows": 1, "attribution": [0.1, 0.4, 0.0], "mean": [1.0, None, 2.0]},
        {"name": "b", "rows": 3, "attribution": [0.3, 0.0, 0.2], "mean": [1.0, 0.5, 2.0]},
    ]
    table = {"name": "table", "kind": "table", "unit": "", "places": [0, 1, 2], "columns": ["age", "sex", "bmi"]}
    spectra = {"name": "spectra", "kind": "spectra", "unit": "cm-1", "places": [400.0, 500.0, 600.0]}
    whole = {"largest": 0.0, "mean": 0.0, "span": 0.1}
    about = {
        "method": "m",
        "of": "it",
        "fold": "f",
        "seed": 0,
        "rows": 4,
        "steps": 8,
        "baseline": "zero",
        "completeness": whole,
    }
    found = AttributionScores.model_validate(
        about | {"modalities": [one | {"classes": told} for one in (table, spectra)]}
    )
    (bars,) = attribution_bars(found)
    assert [(strip.name, strip.text) for strip in bars.strips] == [("age", "0.25"), ("bmi", "0.15"), ("sex", "0.1")]
    ends = [strip.value for strip in bars.strips if strip.value is not None]
    assert (ends[1] - 8) / (ends[0] - 8) == pytest.approx(0.6)
    sizes, means = attribution_charts(found)
    assert sizes.unit == means.unit == "cm-1"
    assert [line["y"] for line in sizes.values] == [[0.1, 0.4, 0.0], [0.3, 0.0, 0.2]]
    assert [line["x"] for line in means.values] == [[400.0, 600.0], [400.0, 500.0, 600.0]]
    weights = {
        "what": "columns of table",
        "part": "columns",
        "modality": "table",
        "places": [0, 1],
        "columns": ["age", "sex"],
    }
    classes = [{"name": "a", "rows": 1, "weights": [1.0, 0.0]}, {"name": "b", "rows": 3, "weights": [0.2, 0.8]}]
    named = {"columns": ["age", "sex"], "classes": classes}
    seen = AttentionScores.model_validate({"fold": "f", "seed": 0, "weights": [weights | named]})
    (drawn,) = attention_bars(seen)
    assert [(strip.name, strip.text) for strip in drawn.strips] == [("sex", "0.6"), ("age", "0.4")]
    assert attention_charts(seen) == []


def test_kept_ones_are_read_and_forgotten_ones_computed_anew(trained: tuple[Path, str]) -> None:
    folder, _ = trained
    recipe, data = of_run(folder, ["clips_world"]), ClipData()
    path = folder / "attributions" / "summary.json"
    before = path.read_text()
    from counterpoint.explain import explained

    path.write_text(json.dumps({"kept": True}))
    assert explained(recipe, data, folder)["attributions"] == {"kept": True}
    forget(folder)
    assert not path.exists()
    anew = explained(recipe, data, folder)["attributions"]
    assert anew == json.loads(before), "no randomness but that of the seed"


def test_gates_are_told_by_class(trained: tuple[Path, str]) -> None:
    folder, _ = trained
    found = attended(of_run(folder, ["clips_world"]), ClipData(), folder)
    assert {one["what"] for one in found["weights"]} == {"gate of near", "gate of side"}
    by_class = {one["modality"]: {c["name"]: c for c in one["classes"]} for one in found["weights"]}
    for name in ("boxing", "walk"):
        near, side = by_class["near"][name], by_class["side"][name]
        assert near["rows"] == side["rows"] == 20
        assert near["weights"][0] + side["weights"][0] == pytest.approx(1.0, abs=1e-5)


def test_looks_take_one_form() -> None:
    torch.manual_seed(0)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    parts = {name: Encoded(torch.randn(2, 3, 4), mask, torch.randn(2, 4)) for name in ("a", "b")}
    dims = {"a": 4, "b": 4}
    fusions: list[tuple[Fusion, bool]] = [(Gated(dims, dim=8), True)]
    fusions.append((TokenAttention(dims, dim=8, heads=2, queries=2), False))
    for fusion, gate in fusions:
        found = list(looks(fusion.eval(), parts))
        assert [one.modality for one in found] == ["a", "b"]
        assert all(one.gate is gate for one in found)
        total = sum(one.weights[:, 0, 0] for one in found) if gate else found[0].weights.sum(2).mean(1)
        torch.testing.assert_close(total, torch.ones(2))

    @final
    class Strange(Fusion):
        """Weights of a shape nobody knows."""

        dim = 1

        def forward(self, encoded: dict[str, Encoded]) -> Encoded:
            raise AssertionError

        def attend(self, encoded: dict[str, Encoded]) -> dict[str, Tensor]:
            return {"a": torch.zeros(2, 2)}

    with pytest.raises(ValueError, match=r"Strange\.attend"):
        list(looks(Strange(), parts))


def test_an_objective_that_predicts_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="CLIP predicts nothing"):
        run.train(clips(objective=RECIPE.objective), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="rows is 0"):
        Attributions(rows=0)
    with pytest.raises(ValueError, match="steps is 1"):
        Attributions(steps=1)


def test_what_random_weights_have_too_is_said() -> None:
    whole = {"largest": 1e-4, "mean": 1e-5, "span": 0.4}
    told = {
        "rows": 2,
        "method": "m",
        "of": "the predicted probability",
        "completeness": whole,
        "sanity": {"near": 0.9, "side": 0.1},
        "left_out": {"text": "words"},
    }
    lines = attribution_lines({"attributions": told})
    assert sum("random weights" in line for line in lines) == 1
    assert "Not attributed: text, words" in lines
    assert attribution_lines({"attributions": {}}) == []
