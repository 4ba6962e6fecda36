"""Classifiers of spectra and a table: names and shapes, missing modalities, the parts of the loss, auxiliary heads."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from counterpoint.classifiers import PUBLISHED, TFT, AttentionFusion, Classifier, Trained, Weights
from counterpoint.encoders.patch import Blocks
from counterpoint.encoders.spectral import SpectralConv, SpectralMLP
from counterpoint.encoders.table import FeatureTokens, TableMLP
from counterpoint.fusion import Concat, CrossAttentionFusion, NothingPresentError
from counterpoint.model import FUSED, build_model
from counterpoint.objectives import CLIP, CrossEntropy, InfoNCE, Term, WeightedSum
from counterpoint.types import UNLABELLED, Batch, Encoded, ObjectiveSpec, SpectraSpec, TableSpec

ROWS, SCANS, POINTS, COLUMNS = 6, 3, 40, 5
SPECTRA = SpectraSpec(SCANS, tuple(map(float, range(POINTS))), "cm-1")
TABLE = TableSpec(tuple("abcde"), ((), ("x", "y"), (), (), ()))
CLASSES = ("DM", "CTRL", "other")
KINDS: dict[str, Callable[..., Classifier]] = {
    "TFT": partial(TFT, dim=16, patch=8, blocks=Blocks(depth=1, heads=2)),
    "AttentionFusion": partial(
        AttentionFusion,
        encoders=(partial(SpectralConv, dim=8, width=4, stages=2), partial(FeatureTokens, dim=8)),
        fusion=partial(CrossAttentionFusion, dim=16, heads=2),
    ),
    "Concat": partial(
        AttentionFusion,
        encoders=(partial(SpectralMLP, dim=8, hidden=6, patch=8), partial(TableMLP, dim=6, hidden=5)),
        fusion=Concat,
    ),
}
ATTENDING = ["TFT", "AttentionFusion"]
WIDTHS = {"TFT": (16, 16, 16, 5), "AttentionFusion": (16, 8, 8, 5), "Concat": (14, 8, 6, 5)}
"""Of embedding, spectra and table, and tokens along the axis."""


def made(kind: str, dtype: torch.dtype = torch.float64, weights: Weights = PUBLISHED) -> Classifier:
    torch.manual_seed(0)
    return KINDS[kind](SPECTRA, TABLE, CLASSES, weights=weights).to(dtype).eval()


def batch(seed: int = 1, rows: int = ROWS) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    spectra = torch.randn(rows, SCANS, POINTS, generator=draw, dtype=torch.float64)
    mask = torch.rand(rows, SCANS, generator=draw) > 0.3
    mask[:, 0] = True
    tabular = torch.randn(rows, COLUMNS, generator=draw, dtype=torch.float64)
    tabular[:, 1] = torch.randint(0, 2, (rows,), generator=draw)
    return spectra, mask, tabular


LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize("kind", KINDS)
def test_names_and_shapes(kind: str) -> None:
    classifier, (spectra, mask, tabular) = made(kind), batch()
    found = classifier(spectra, mask, tabular)
    wide, ours, theirs, patches = WIDTHS[kind]
    names = "logits embedding attention_weights spec_embedding tab_embedding aux_logits_spec aux_logits_tab gates"
    assert list(found._fields) == names.split()
    assert found.logits.shape == found.aux_logits_spec.shape == found.aux_logits_tab.shape == (ROWS, 3)
    assert found.embedding.shape == (ROWS, wide)
    assert found.spec_embedding.shape == (ROWS, ours)
    assert found.tab_embedding.shape == (ROWS, theirs)
    if kind == "Concat":
        assert found.attention_weights is None
        assert found.gates is None
        torch.testing.assert_close(found.embedding, torch.cat([found.spec_embedding, found.tab_embedding], 1))
        return
    assert found.gates.shape == (ROWS, 2)
    torch.testing.assert_close(found.gates.sum(1), torch.ones(ROWS).double())
    shapes = {name: tuple(weights.shape) for name, weights in found.attention_weights.items()}
    assert shapes == {"spectra>table": (ROWS, 2, patches, COLUMNS), "table>spectra": (ROWS, 2, COLUMNS, patches)}
    looked = classifier.attend(spectra, mask, tabular)
    assert {name: tuple(weights.shape) for name, weights in looked.items()} == {
        "spectra/scans": (ROWS, SCANS),
        "spectra/axis": (ROWS, patches),
        "table/columns": (ROWS, COLUMNS),
    }


@pytest.mark.parametrize("kind", ATTENDING)
def test_attention_weights_differ_between_inputs_and_are_over_several_keys(kind: str) -> None:
    classifier = made(kind)
    one, other = (classifier(*batch(seed)).attention_weights for seed in (1, 2))
    for name, weights in one.items():
        assert weights.shape[-1] > 1
        assert (weights < 0.999).all()
        assert ((weights - other[name]).abs().amax((1, 2, 3)) > 1e-4).all()
        assert ((weights[0] - weights[1]).abs() > 1e-4).any()


@pytest.mark.parametrize("kind", KINDS)
def test_padding_order_and_batch_mates_change_nothing(kind: str) -> None:
    classifier, (spectra, mask, tabular) = made(kind), batch()
    whole = classifier(spectra, mask, tabular)
    shuffle = torch.tensor([2, 0, 1])
    dirty = torch.where(mask[..., None], spectra, math.nan)
    padded = F.pad(spectra, (0, 0, 0, 2), value=5.0), F.pad(mask, (0, 2)), tabular
    for inputs in ((spectra[:, shuffle], mask[:, shuffle], tabular), (dirty, mask, tabular), padded):
        found = classifier(*inputs)
        torch.testing.assert_close(found.logits, whole.logits, atol=1e-6, rtol=0)
        torch.testing.assert_close(found.embedding, whole.embedding, atol=1e-6, rtol=0)
    for row in range(ROWS):
        alone = classifier(spectra[row : row + 1], mask[row : row + 1], tabular[row : row + 1])
        torch.testing.assert_close(alone.logits[0], whole.logits[row], atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_modality_that_is_missing_leaves_no_trace(kind: str) -> None:
    classifier, (spectra, mask, tabular) = made(kind), batch()
    whole = classifier(spectra, mask, tabular)
    gone = mask.clone()
    gone[:3] = False
    for values in (0.0, math.nan):
        without = classifier(torch.where(gone[..., None], spectra, values), gone, tabular)
        again = classifier(batch(7)[0], gone, tabular)
        torch.testing.assert_close(again.logits[:3], without.logits[:3], atol=1e-6, rtol=0)
        torch.testing.assert_close(without.logits[3:], whole.logits[3:], atol=1e-6, rtol=0)
        assert not without.spec_embedding[:3].any()
        assert (without.logits[:3] - whole.logits[:3]).abs().max() > 1e-4
        if kind != "Concat":
            assert without.gates[:3].tolist() == [[0.0, 1.0]] * 3
            assert not any(weights[:3].any() for weights in without.attention_weights.values())
    lacking = tabular.clone()
    lacking[:3] = math.nan
    found = classifier(spectra, mask, lacking)
    assert not found.tab_embedding[:3].any()
    torch.testing.assert_close(found.spec_embedding, whole.spec_embedding)
    torch.testing.assert_close(found.logits[3:], whole.logits[3:], atol=1e-6, rtol=0)
    if kind != "Concat":
        assert found.gates[:3].tolist() == [[1.0, 0.0]] * 3
    with pytest.raises(NothingPresentError, match="rows 0, 1, 2 of the batch have none"):
        classifier(spectra, gone, lacking)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_sum_of_its_parts_and_the_true_pair_is_a_positive(kind: str) -> None:
    """Main + 0.3 + 0.3 auxiliary + 0.1 of CLIP's loss, computed here from what the classifier returns."""
    classifier, inputs = made(kind), batch()
    found, loss = classifier(*inputs), classifier.loss(*inputs, LABELS)
    parts = [F.cross_entropy(logits, LABELS) for logits in (found.logits, found.aux_logits_spec, found.aux_logits_tab)]
    contrast = classifier.objective.objectives[1]
    a, b = (
        F.normalize(contrast.head.projections[name](embedding), dim=1)
        for name, embedding in (("spectra", found.spec_embedding), ("table", found.tab_embedding))
    )
    logits = a @ b.T / 0.07
    true = torch.arange(ROWS)
    clip = (F.cross_entropy(logits, true) + F.cross_entropy(logits.T, true)) / 2
    expected = parts[0] + 0.3 * parts[1] + 0.3 * parts[2] + 0.1 * clip
    torch.testing.assert_close(loss.value, expected)
    torch.testing.assert_close(loss.logs["contrast/loss"], clip.detach())
    torch.testing.assert_close(loss.logs["heads/spectra/loss"], parts[1].detach())
    assert not any(value.requires_grad for value in loss.logs.values())
    # Pairs that agree cost less than the same pairs shuffled: the true pair attracts.
    agreeing = a.detach()
    near = F.cross_entropy(agreeing @ agreeing.T / 0.07, true)
    far = F.cross_entropy(agreeing @ agreeing.roll(1, 0).T / 0.07, true)
    assert near < far


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_weight_and_are_those_of_differences(kind: str) -> None:
    classifier, (spectra, mask, tabular) = made(kind), batch(rows=3)
    classifier.loss(spectra, mask, tabular, LABELS[:3]).value.backward()
    for name, weight in classifier.named_parameters():
        if not weight.numel():  # the shares of the one similarity that CLIP compares by
            continue
        assert weight.grad is not None, name
        assert bool(weight.grad.isfinite().all()), name
    numbers = [0, 2, 3, 4]

    def told(spectra: Tensor, columns: Tensor) -> Tensor:
        whole = tabular.index_copy(1, torch.tensor(numbers), columns)
        return classifier.loss(spectra, mask, whole, LABELS[:3]).value

    leaves = (spectra.clone().requires_grad_(), tabular[:, numbers].clone().requires_grad_())
    assert torch.autograd.gradcheck(told, leaves, fast_mode=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_finite(kind: str, dtype: torch.dtype) -> None:
    spectra, mask, tabular = batch()
    mask[2], tabular[3] = False, math.nan
    exact = made(kind)(spectra, mask, tabular).logits.float()
    single = made(kind, torch.float32)
    with torch.autocast("cpu", dtype=dtype):
        rough = single(spectra.float(), mask, tabular.float())
        loss = single.loss(spectra.float(), mask, tabular.float(), LABELS).value
    loss.backward()
    assert bool(loss.isfinite())
    assert all(weight.grad is None or bool(weight.grad.isfinite().all()) for weight in single.parameters())
    half = made(kind, dtype)(spectra.to(dtype), mask, tabular.to(dtype))
    for found in (rough, half):
        torch.testing.assert_close(found.logits.float(), exact, atol=0.1, rtol=0.1)
        assert bool(found.embedding.isfinite().all())


@pytest.mark.parametrize("kind", KINDS)
def test_batches_that_tell_little_are_finite_and_one_of_one_class_is_named(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    classifier, (spectra, mask, tabular) = made(kind).train(), batch()
    with caplog.at_level(logging.WARNING, logger="counterpoint"):
        assert bool(classifier.loss(spectra, mask, tabular, LABELS).value.isfinite())
        assert not caplog.messages
        one = classifier.loss(spectra, mask, tabular, torch.full((ROWS,), 2))
    assert bool(one.value.isfinite())
    assert "all labelled rows of a batch of 6 are of class 2" in caplog.text
    # No row has spectra: nothing to contrast, and the head of the spectra counts nothing.
    gone = classifier.loss(spectra, torch.zeros_like(mask), tabular, LABELS)
    assert "contrast/loss" not in gone.logs
    assert gone.logs["spectra/loss"] == 0
    gone.value.backward()
    assert all(weight.grad is None or bool(weight.grad.isfinite().all()) for weight in classifier.parameters())
    single = classifier.loss(spectra[:1], mask[:1], tabular[:1], LABELS[:1])
    assert bool(single.value.isfinite())
    with pytest.raises(ValueError, match="no labelled row"):
        classifier.loss(spectra, mask, tabular, torch.full((ROWS,), UNLABELLED))


def test_parts_of_weight_0_are_not_there() -> None:
    classifier, inputs = made("AttentionFusion", weights=Weights(table=0.0, contrast=0.0)), batch()
    found = classifier(*inputs)
    assert found.aux_logits_tab is None
    assert found.aux_logits_spec is not None
    expected = F.cross_entropy(found.logits, LABELS) + 0.3 * F.cross_entropy(found.aux_logits_spec, LABELS)
    torch.testing.assert_close(classifier.loss(*inputs, LABELS).value, expected)


def test_it_learns_what_neither_modality_tells_alone() -> None:
    """The class is the sign of a band times the sign of a column: each alone is a coin."""
    torch.manual_seed(0)
    classifier = TFT(SPECTRA, TABLE, ("a", "b"), dim=16, patch=8, blocks=Blocks(depth=1, heads=2, dropout=0.0))
    rows = 192
    spectra, mask, tabular = (part.float() if part.is_floating_point() else part for part in batch(3, rows))
    sign = torch.randn(rows).sign()
    spectra = 0.3 * spectra + sign[:, None, None] * torch.exp(-(((torch.arange(POINTS) - 20) / 4) ** 2))
    labels = (sign * tabular[:, 0] > 0).long()
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=3e-3)
    for step in range(90):
        part = torch.arange(64) + 64 * (step % 2)
        loss = classifier.loss(spectra[part], mask[part], tabular[part], labels[part])
        optimizer.zero_grad()
        loss.value.backward()
        optimizer.step()
    unseen = slice(128, rows)
    found = classifier.eval()(spectra[unseen], mask[unseen], tabular[unseen])
    right = (found.logits.argmax(1) == labels[unseen]).float().mean()
    alone = (found.aux_logits_spec.argmax(1) == labels[unseen]).float().mean()
    assert right > 0.8
    assert alone < 0.7


def test_what_was_trained_by_a_recipe_classifies_tensors() -> None:
    torch.manual_seed(0)
    specs = {"spectra": SPECTRA, "table": TABLE}
    model = build_model(specs, {"spectra": SpectralMLP, "table": TableMLP}, CrossAttentionFusion).double()  # type: ignore[arg-type]
    spec = ObjectiveSpec(model.dims, model.latents, CLASSES, specs)  # type: ignore[arg-type]
    objective = CrossEntropy(spec).double()
    classifier = Trained(model, objective).eval()
    inputs = batch()
    found = classifier(*inputs)
    assert found.aux_logits_spec is None
    assert found.gates.shape == (ROWS, 2)
    torch.testing.assert_close(found.logits, objective.classifier(found.embedding))
    torch.testing.assert_close(classifier.loss(*inputs, LABELS).value, F.cross_entropy(found.logits, LABELS))
    with pytest.raises(ValueError, match=r"needs both modalities.*a CrossEntropy on it.*objective is a InfoNCE"):
        Trained(model, InfoNCE(spec))


def encoded() -> dict[str, Encoded]:
    """Four rows; the second and third lack the table, whose embedding holds NaN there."""
    torch.manual_seed(0)
    here = torch.tensor([True, False, False, True])[:, None]
    fused, table = torch.randn(4, 6), torch.where(here, torch.randn(4, 3), math.nan)
    whole = torch.ones(4, 1, dtype=torch.bool)
    return {
        "table": Encoded(table.unsqueeze(1), here, table),
        FUSED: Encoded(fused.unsqueeze(1), whole, fused),
    }


SPEC = ObjectiveSpec({"table": 3, FUSED: 6}, {}, CLASSES, {})
FOUR = Batch([], torch.tensor([0, 1, 2, 1]), torch.arange(4), torch.zeros(4).long(), torch.arange(4))


def test_an_auxiliary_head_counts_rows_that_have_its_modality() -> None:
    head, view = CrossEntropy(SPEC, modality="table"), encoded()
    loss = head([view], FOUR)
    own = head.classifier(view["table"].pooled[[0, 3]])
    torch.testing.assert_close(loss.value, F.cross_entropy(own, FOUR.labels[[0, 3]]))
    torch.testing.assert_close(loss.logs["accuracy"], (own.argmax(1) == FOUR.labels[[0, 3]]).float().mean())
    labelled = FOUR._replace(labels=torch.tensor([0, 1, 2, UNLABELLED]))
    torch.testing.assert_close(head([view], labelled).value, F.cross_entropy(own[:1], FOUR.labels[:1]))
    both = head([view, view], FOUR)
    torch.testing.assert_close(both.value, loss.value)


def test_an_auxiliary_head_of_nobody_is_0_with_gradients_of_0() -> None:
    head, view = CrossEntropy(SPEC, modality="table", weights="balanced"), encoded()
    pooled = view["table"].pooled.clone().requires_grad_()
    nobody = Encoded(pooled.unsqueeze(1), torch.zeros(4, 1, dtype=torch.bool), pooled)
    loss = head([view | {"table": nobody}], FOUR)
    assert loss.value == 0
    loss.value.backward()
    assert pooled.grad is not None
    assert not pooled.grad.any()
    assert all(weight.grad is not None and not weight.grad.any() for weight in head.parameters())
    with pytest.raises(ValueError, match="no labelled row"):
        head([view], FOUR._replace(labels=torch.full((4,), UNLABELLED)))


def test_heads_are_named_by_their_terms_and_know_nothing_of_rows_without_their_modality() -> None:
    view = encoded()
    main, head = Term(objective=CrossEntropy), Term(objective=partial(CrossEntropy, modality="table"))
    inner = Term(objective=partial(WeightedSum, terms={"one": head}))
    objective = WeightedSum(SPEC, terms={"main": main, "table": head, "con": Term(objective=InfoNCE), "in": inner})
    found = objective.heads(view)
    assert list(found) == ["main", "table", "in/one"]
    prediction = objective.predict(view)
    assert prediction is not None
    assert torch.equal(prediction.probabilities, found["main"].probabilities)
    assert torch.equal(found["table"].probabilities.isnan().all(1), torch.tensor([False, True, True, False]))
    torch.testing.assert_close(found["table"].probabilities[[0, 3]].sum(1), torch.ones(2))
    alone = CrossEntropy(SPEC, modality="table")
    assert list(alone.heads(view)) == [""]
    assert bool(alone.predict(view).probabilities.isfinite().all())
    assert InfoNCE(SPEC).heads(view) == {}


def test_a_head_on_what_the_model_does_not_return_is_named_and_left_out_of_smaller_models() -> None:
    with pytest.raises(ValueError, match=r"modality: there is no output 'spectra'; there are table, fused"):
        CrossEntropy(SPEC, modality="spectra")
    terms = {
        "main": Term(objective=CrossEntropy),
        "table": Term(objective=partial(CrossEntropy, modality="table")),
        "con": Term(objective=partial(CLIP, pairs=[("spectra", "table")])),
    }
    left = WeightedSum.within({"spectra", FUSED}, {"terms": terms})
    assert left is not None
    assert list(left["terms"]) == ["main"]
