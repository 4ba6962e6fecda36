"""Several objectives in one: the sum, its schedules, its log, and how a recipe spells it; contrast on one view."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any, Literal, final

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from counterpoint import config, losses
from counterpoint.config import ConfigError
from counterpoint.data.base import Draw
from counterpoint.model import FUSED
from counterpoint.objectives import CrossEntropy, InfoNCE, Objective, SupCon, Term, WeightedSum
from counterpoint.recipe import Recipe, import_roles, read
from counterpoint.types import UNLABELLED, Batch, Encoded, Loss, ObjectiveSpec
from test_objectives import DIMS, batch, encoded
from toys import Tones, toy_model

SPEC = ObjectiveSpec(DIMS, {}, ("a", "b", "c"), {})
Schedule = Literal["constant", "ramp_up", "ramp_down"]


@final
class Constant(Objective):
    """A loss that is a given number, and that remembers what it was told."""

    views = 1

    def __init__(self, spec: ObjectiveSpec, /, *, value: float, collapse: float | None = None) -> None:
        super().__init__()
        self.number = torch.nn.Parameter(torch.tensor(value))
        self.collapse, self.planned = collapse, 0

    def plan(self, batches: int) -> None:
        self.planned = batches

    def forward(self, views: list[dict[str, Encoded]], batch: Batch) -> Loss:
        return Loss(self.number * 1.0, {"loss": self.number.detach()})

    def diagnose(self, views: list[dict[str, Encoded]], batch: Batch) -> dict[str, Tensor]:
        return {} if self.collapse is None else {"collapse": torch.tensor(self.collapse), "own": torch.tensor(1.0)}


def constants(**terms: Term) -> WeightedSum:
    return WeightedSum(SPEC, terms=terms)


def term(value: float, weight: float = 1.0, schedule: Schedule = "constant", over: float = 1.0, **more: float) -> Term:
    return Term(objective=partial(Constant, value=value, **more), weight=weight, schedule=schedule, over=over)


def test_value_and_gradient_are_the_weighted_sum_of_the_terms() -> None:
    torch.manual_seed(0)
    both = WeightedSum(SPEC, terms={"con": Term(objective=SupCon, weight=0.7), "ce": Term(objective=CrossEntropy)})
    torch.manual_seed(0)
    con, ce = SupCon(SPEC), CrossEntropy(SPEC)
    views, rows = [encoded(seed=0), encoded(seed=1)], batch()
    found, parts = both(views, rows), [con(views, rows), ce(views, rows)]
    torch.testing.assert_close(found.value, 0.7 * parts[0].value + parts[1].value)
    (0.7 * parts[0].value + parts[1].value).backward()
    found.value.backward()
    singles = [*con.parameters(), *ce.parameters()]
    for one, other in zip(both.parameters(), singles, strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    expected = {"loss", "con/loss", "con/weight", "ce/loss", "ce/accuracy", "ce/weight"}
    assert set(found.logs) == expected
    torch.testing.assert_close(found.logs["loss"], found.value.detach())
    torch.testing.assert_close(found.logs["ce/accuracy"], parts[1].logs["accuracy"])
    assert not any(value.requires_grad for value in found.logs.values())
    prediction = both.predict(views[0])
    assert prediction is not None
    torch.testing.assert_close(prediction.probabilities, ce.predict(views[0]).probabilities)


@settings(max_examples=40, deadline=None)
@given(
    schedule=st.sampled_from(["constant", "ramp_up", "ramp_down"]),
    over=st.floats(0.05, 1.0),
    batches=st.integers(1, 60),
    weight=st.floats(0.1, 10.0),
)
def test_schedules_are_shares_of_the_training(schedule: Schedule, over: float, batches: int, weight: float) -> None:
    objective = constants(a=term(2.0, weight, schedule, over), b=term(1.0))
    objective.plan(batches)
    assert [part.planned for part in objective.objectives] == [batches] * 2  # type: ignore[union-attr]
    for step in range(batches + 2):
        risen = min(1.0, step / max(1, round(over * batches)))
        factor = {"constant": 1.0, "ramp_up": risen, "ramp_down": 1 - risen}[schedule]
        found = objective([encoded()], batch())
        assert found.value.item() == pytest.approx(factor * weight * 2 + 1, rel=1e-5)
        assert found.logs["a/weight"].item() == pytest.approx(factor * weight, rel=1e-5)
        assert found.logs["loss"].item() == pytest.approx(weight * 2 + 1, rel=1e-5), "compares over the run"


def test_only_training_moves_the_schedule_and_a_checkpoint_keeps_it() -> None:
    objective = constants(a=term(2.0, schedule="ramp_down", over=0.5))
    views, rows = [encoded()], batch()
    assert objective(views, rows).value.item() == 2.0, "without a plan the weight is whole"
    objective = constants(a=term(2.0, schedule="ramp_down", over=0.5))
    objective.plan(8)
    for _ in range(3):
        objective(views, rows)
    objective.eval()
    for _ in range(3):
        objective(views, rows)
    resumed = constants(a=term(2.0, schedule="ramp_down", over=0.5))
    resumed.plan(8)
    resumed.load_state_dict(objective.state_dict())
    assert resumed(views, rows).value.item() == pytest.approx(2 * (1 - 3 / 4))


def test_what_the_terms_say_is_merged() -> None:
    views, rows = [encoded(seed=0), encoded(seed=1)], batch()
    both = WeightedSum(
        SPEC,
        terms={
            "con": Term(objective=SupCon, weight=0.5),
            "pair": Term(objective=InfoNCE),
            "ce": Term(objective=CrossEntropy, weight=2.0),
        },
    )
    found = both.diagnose(views, rows)
    assert {"con/top1", "pair/top1", "con/collapse", "ce/collapse"} <= set(found), "a name of several has its term's"
    assert "top1" not in found
    each = [found[f"{name}/collapse"].item() for name in ("con", "pair", "ce")]
    assert found["collapse"].item() == pytest.approx(0.5 * each[0] + each[1] + 2 * each[2])
    assert each == pytest.approx([math.log(15), math.log(8), math.log(3)])
    alone = WeightedSum(SPEC, terms={"con": Term(objective=SupCon), "ce": Term(objective=CrossEntropy)})
    assert {"top1", "effective_rank", "collapse"} <= set(alone.diagnose(views, rows)), "the watch reads these names"
    partly = constants(a=term(1.0, collapse=3.0), b=term(1.0)).diagnose(views, rows)
    assert set(partly) == {"a/collapse", "own"}, "no collapse is known where a term has none"


def test_views_classes_and_predictions_are_those_of_the_terms() -> None:
    ce, con, pair = (Term(objective=made) for made in (CrossEntropy, SupCon, InfoNCE))
    assert (constants(ce=ce, con=con).views, constants(ce=ce, pair=pair).views) == (1, 2)
    assert WeightedSum(SPEC, terms={"id": Term(objective=partial(SupCon, positives="id"))}).views == 2
    assert (constants(pair=pair).classes_needed, constants(pair=pair, con=con).classes_needed) == (0, 2)
    assert constants(pair=pair, con=con).predict(encoded()) is None
    two = constants(con=con, one=ce, two=ce)
    prediction = two.predict(encoded())
    assert prediction is not None
    first = two.objectives[1].predict(encoded())  # type: ignore[operator]
    assert torch.equal(prediction.probabilities, first.probabilities)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: WeightedSum(SPEC, terms={}), "terms is empty"),
        (lambda: constants(**{"a.b": term(1.0)}), r"'a.b' is no name for the log"),
        (lambda: term(1.0, weight=0.0), "weight is 0.0; it must be above 0"),
        (lambda: term(1.0, weight=math.inf), "weight is inf"),
        (lambda: term(1.0, over=0.0), "over is 0.0; it is a share"),
        (lambda: term(1.0, over=1.5), "over is 1.5; it is a share"),
    ],
)
def test_what_cannot_be_summed_is_refused(made: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made()


RECIPE: dict[str, Any] = {
    "data": {"type": "ToneData"},
    "encoders": {"tone": {"type": "OneLayer"}},
    "objective": {
        "type": "WeightedSum",
        "terms": {
            "con": {"objective": {"type": "SupCon", "temperature": 0.2}, "weight": 0.5, "schedule": "ramp_down"},
            "ce": {"objective": "CrossEntropy", "over": 0.25, "schedule": "ramp_up"},
        },
    },
}


def test_a_recipe_spells_terms_and_writes_them_down_again(tmp_path: Path) -> None:
    import_roles()
    recipe = config.load(RECIPE, Recipe)
    objective = recipe.objective(SPEC)
    assert isinstance(objective, WeightedSum)
    con, ce = objective.objectives
    assert isinstance(con, SupCon)
    assert isinstance(ce, CrossEntropy)
    assert con.head.scale().item() == pytest.approx(5.0)
    assert [(t.weight, t.schedule, t.over) for t in objective.terms.values()] == [
        (0.5, "ramp_down", 1.0),
        (1.0, "ramp_up", 0.25),
    ]
    path = tmp_path / "recipe.yaml"
    path.write_text(config.dump(recipe))
    assert config.dump(read(path)) == config.dump(recipe)
    changed = read(path, ["objective.terms.con.objective.temperature=0.5", "objective.terms.ce.weight=3"])
    again = changed.objective(SPEC)
    assert isinstance(again, WeightedSum)
    assert again.terms["ce"].weight == 3
    assert again.objectives[0].head.scale().item() == pytest.approx(2.0)  # type: ignore[union-attr]


def test_a_mistake_in_a_term_is_named_by_its_place() -> None:
    import_roles()
    with pytest.raises(ConfigError) as caught:
        config.load(
            RECIPE,
            Recipe,
            ["objective.terms.con.objective.temprature=1", "objective.terms.ce.weight=-1", "objective.terms.x={}"],
        )
    said = str(caught.value)
    assert "objective.terms.con.objective.temprature" in said
    assert "weight is -1" in said
    assert "Term needs 'objective'" in said


def test_sup_con_on_one_view_by_label() -> None:
    torch.manual_seed(0)
    objective = SupCon(SPEC)
    view, rows = encoded(), batch()
    z = objective.head(view)
    found = objective([view], rows)
    torch.testing.assert_close(found.value, losses.sup_con(z, rows.labels, objective.head.scale()))
    unit = torch.nn.functional.normalize(z.detach())
    cosines = unit @ unit.T
    same = rows.labels[:, None] == rows.labels
    said = objective.diagnose([view], rows)
    torch.testing.assert_close(said["negative_similarity"], cosines[~same].mean(), msg="rows of other classes")
    assert said["collapse"].item() == pytest.approx(math.log(7))
    # Classes 0, 1, 2, 0, 1, 2, 0, 1: the pairs go round each class.
    ring = [(0, 3), (3, 6), (6, 0), (1, 4), (4, 7), (7, 1), (2, 5), (5, 2)]
    mean = torch.stack([cosines[a, b] for a, b in ring]).mean()
    torch.testing.assert_close(said["positive_similarity"], mean)
    beaten = [bool(cosines[a, b] > cosines[a][~same[a]].max()) for a, b in ring]
    assert said["top1"].item() == pytest.approx(sum(beaten) / 8)


def test_statistics_of_one_view_without_a_pair_are_not_a_number_and_keep_their_names() -> None:
    objective = SupCon(SPEC)
    whole = objective.diagnose([encoded()], batch())
    labels = torch.tensor([0, 1, 2, *[UNLABELLED] * 5])
    empty = objective.diagnose([encoded()], batch()._replace(labels=labels))
    assert list(whole) == list(empty)
    assert math.isnan(empty["top1"].item())
    assert empty["collapse"].item() == pytest.approx(math.log(7))


def test_sup_con_on_one_view_learns_to_tell_classes_apart() -> None:
    model, _ = toy_model(dropout=0.0)
    torch.manual_seed(1)
    objective = SupCon(ObjectiveSpec(model.dims, {}, ("even", "odd"), {}))
    rows = Tones(2, repeats=16, views=1)
    optimizer = torch.optim.AdamW([*model.parameters(), *objective.parameters()], lr=1e-2)
    values = []
    for step in range(60):
        drawn = rows.__getitems__([Draw(i, step * 32 + i) for i in range(32)])
        loss = objective([model(view) for view in drawn.views], drawn)
        optimizer.zero_grad()
        loss.value.backward()
        optimizer.step()
        values.append(loss.value.item())
    assert FUSED in model.dims
    assert values[0] > 3.0, "about ln 31 = 3.43"
    assert min(values[-5:]) < values[0] - 0.3
    assert min(values) > math.log(15) - 1e-4, "P rows a class leave ln(P - 1)"
