"""Objectives and the model around the losses: what they compare, what they refuse, what they predict."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from counterpoint import losses
from counterpoint.data.base import Draw
from counterpoint.fusion import Concat
from counterpoint.model import FUSED, Model, build_model
from counterpoint.objectives import CrossEntropy, InfoNCE, SupCon
from counterpoint.types import UNLABELLED, Batch, Encoded, ObjectiveSpec, Signal, SignalSpec
from toys import LENGTH, OneLayer, Tones, toy_model

DIMS = {FUSED: 6}


def batch(rows: int = 8) -> Batch:
    index = torch.arange(rows)
    return Batch([], index % 3, index // 2, index % 2, index)


def encoded(rows: int = 8, seed: int = 0) -> dict[str, Encoded]:
    pooled = torch.randn(rows, DIMS[FUSED], generator=torch.Generator().manual_seed(seed))
    return {FUSED: Encoded(pooled.unsqueeze(1), torch.ones(rows, 1, dtype=torch.bool), pooled)}


@pytest.mark.parametrize("exclude", [(), ("group",), ("label", "domain")])
def test_info_nce_is_the_loss_of_the_projections(exclude: tuple[str, ...]) -> None:
    objective = InfoNCE(ObjectiveSpec(DIMS, {}, (), {}), temperature=0.2, exclude=exclude)  # type: ignore[arg-type]
    views, rows = [encoded(seed=0), encoded(seed=1)], batch()
    columns = {"label": rows.labels, "group": rows.groups, "domain": rows.domains}
    a, b = (objective.head(view) for view in views)
    keys = [rows.ids, *(columns[name] for name in exclude)]
    torch.testing.assert_close(objective(views, rows).value, losses.info_nce(a, b, torch.tensor(5.0), exclude=keys))
    flat = torch.ones(8, 4)
    equal = losses.info_nce(flat, flat, torch.tensor(5.0), exclude=keys)
    found = objective.diagnose(views, rows)
    torch.testing.assert_close(found["collapse"], equal, msg="the loss of equal similarities")
    assert exclude or found["collapse"].item() == pytest.approx(math.log(8))


def test_windows_of_one_recording_are_never_negatives() -> None:
    objective = InfoNCE(ObjectiveSpec(DIMS, {}, (), {}))
    views = [encoded(4, 0), encoded(4, 1)]
    rows = batch(4)._replace(ids=torch.tensor([0, 0, 1, 2]))
    apart = objective(views, rows).value
    assert apart < objective(views, batch(4)).value


def test_a_temperature_is_fixed_or_learned_and_clamped() -> None:
    views = [encoded(seed=0), encoded(seed=1)]
    fixed, learned = (
        InfoNCE(ObjectiveSpec(DIMS, {}, (), {})),
        InfoNCE(ObjectiveSpec(DIMS, {}, (), {}), tempering="learned"),
    )
    fixed(views, batch()).value.backward()
    learned(views, batch()).value.backward()
    assert fixed.head.log_scale.grad is None
    assert learned.head.log_scale.grad is not None
    with torch.no_grad():
        learned.head.log_scale.fill_(20.0)
    assert learned.head.scale().item() == pytest.approx(100.0)
    with pytest.raises(ValueError, match="temperature is 0"):
        InfoNCE(ObjectiveSpec(DIMS, {}, (), {}), temperature=0)


def test_sup_con_by_label_by_group_and_by_id() -> None:
    views, rows = [encoded(seed=0), encoded(seed=1)], batch()
    for positives, keys in (("label", rows.labels), ("group", rows.groups), ("id", rows.ids)):
        objective = SupCon(ObjectiveSpec(DIMS, {}, ("a", "b", "c"), {}), positives=positives)  # type: ignore[arg-type]
        z = torch.cat([objective.head(view) for view in views])
        expected = losses.sup_con(z, keys.repeat(2), objective.head.scale())
        torch.testing.assert_close(objective(views, rows).value, expected)
    assert float(objective.diagnose(views, rows)["collapse"]) == pytest.approx(math.log(15))
    with pytest.raises(ValueError, match=r"two classes or more.*\['a'\]"):
        SupCon(ObjectiveSpec(DIMS, {}, ("a",), {}))


def test_cross_entropy_leaves_the_unlabelled_out() -> None:
    objective = CrossEntropy(ObjectiveSpec(DIMS, {}, ("a", "b", "c"), {}), label_smoothing=0.1)
    view, rows = encoded(), batch()
    labels = rows.labels.clone()
    labels[::2] = UNLABELLED
    logits = objective.classifier(view[FUSED].pooled)
    expected = F.cross_entropy(logits[1::2], labels[1::2], label_smoothing=0.1)
    torch.testing.assert_close(objective([view], rows._replace(labels=labels)).value, expected)
    torch.testing.assert_close(objective.predict(view).probabilities.sum(1), torch.ones(8))
    with pytest.raises(ValueError, match="no labelled row"):
        objective([view], rows._replace(labels=torch.full((8,), UNLABELLED)))
    with pytest.raises(ValueError, match="two classes or more"):
        CrossEntropy(ObjectiveSpec(DIMS, {}, (), {}))


def test_balanced_weights_by_hand() -> None:
    objective = CrossEntropy(ObjectiveSpec(DIMS, {}, ("a", "b"), {}), weights="balanced")
    view = encoded(4)
    labels = torch.tensor([0, 0, 0, 1])
    each = F.cross_entropy(objective.classifier(view[FUSED].pooled), labels, reduction="none")
    expected = (each[:3].mean() + each[3]) / 2
    torch.testing.assert_close(objective([view], batch(4)._replace(labels=labels)).value, expected)


def test_a_model_wants_its_modalities() -> None:
    model, _ = toy_model()
    assert set(model.dims) == {"tone", FUSED}
    with pytest.raises(ValueError, match=r"no modality \['tone'\]; it has \['sound'\]"):
        model({"sound": Signal(torch.zeros(1, LENGTH, 1))})
    with pytest.raises(ValueError, match="each modality needs exactly one encoder"):
        build_model({"tone": SignalSpec(1, LENGTH, 1.0)}, {"sound": OneLayer}, Concat)


def test_two_modalities_are_concatenated() -> None:
    spec = SignalSpec(1, LENGTH, 1.0)
    model: Model = build_model({"a": spec, "b": spec}, {"a": OneLayer, "b": OneLayer}, Concat).eval()
    rows = Tones(3, repeats=1, views=1).__getitems__([Draw(i, i) for i in range(3)])
    signal = rows.views[0]["tone"]
    found = model({"a": signal, "b": signal})
    assert model.dims[FUSED] == 32
    torch.testing.assert_close(found[FUSED].pooled, torch.cat([found["a"].pooled, found["b"].pooled], 1))
