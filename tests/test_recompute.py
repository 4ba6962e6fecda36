"""Activation checkpointing: the same numbers to the bit, less kept, nothing else changed."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from counterpoint import rates
from counterpoint.encoders.base import Encoder
from counterpoint.encoders.parallel import Parallel
from counterpoint.encoders.patch import Blocks, PatchTransformer
from counterpoint.encoders.pointwise import PointwiseMLP
from counterpoint.encoders.pretrained.audio import ASTEncoder
from counterpoint.encoders.radar import RadarEncoder
from counterpoint.encoders.resnet import ResNet1d
from counterpoint.encoders.sensor import SensorTransformer
from counterpoint.encoders.set_sequence import SequenceLayers, SetLayers, SetSequence
from counterpoint.encoders.spectral import SpectralTransformer
from counterpoint.encoders.table import FeatureTokens
from counterpoint.fit import fit
from counterpoint.fusion import Concat, Fusion, TimeFusion, TokenAttention
from counterpoint.fusion.cross_attention import CrossAttentionFusion
from counterpoint.model import FUSED, Model, build_model
from counterpoint.objectives import InfoNCE
from counterpoint.rates import Part
from counterpoint.recompute import blocks, in_words, recomputing
from counterpoint.settings import Hardware, Monitor, Optimizer, Trainer
from counterpoint.task import Task
from counterpoint.types import (
    Modality,
    ObjectiveSpec,
    Signal,
    SignalSpec,
    Spec,
    Spectra,
    SpectraSpec,
    Table,
    TableSpec,
)
from sets_world import SPEC, pack, stay
from toys import LENGTH, Tones

SIGNAL = SignalSpec(3, 64, 10.0)
DEEP = Blocks(depth=3, heads=2, dropout=0.2)
Made = tuple[Model, dict[str, Modality]]


def one(encoder: Callable[..., Encoder], spec: Spec = SIGNAL) -> Made:
    """A model of one modality and a view of it."""
    torch.manual_seed(0)
    model = build_model({"one": spec}, {"one": encoder}, Concat)
    mask = torch.arange(64) < torch.tensor([64, 50, 9, 33]).unsqueeze(1)
    return model, {"one": Signal(torch.randn(4, 64, 3), mask)}


def events() -> Made:
    sets, sequence = SetLayers(dim=12, heads=2, points=3), SequenceLayers(heads=2)
    encoder = partial(SetSequence, dim=16, latent=8, dropout=0.2, sets=sets, sequence=sequence)
    torch.manual_seed(0)
    model = build_model({"one": SPEC}, {"one": encoder}, Concat)
    return model, {"one": pack([stay(seed) for seed in range(6)], dtype=torch.float32)}


def several(fusion: Callable[..., Fusion]) -> Made:
    torch.manual_seed(0)
    encoder = partial(RadarEncoder, dim=16, width=8, stride=4, depth=2, heads=2, dropout=0.2)
    model = build_model({"a": SIGNAL, "b": SIGNAL}, {"a": encoder, "b": encoder}, fusion)
    return model, {name: Signal(torch.randn(4, 64, 3)) for name in "ab"}


def specimens() -> Made:
    torch.manual_seed(0)
    specs: dict[str, Spec] = {
        "spectra": SpectraSpec(3, tuple(range(400, 480)), "cm-1"),
        "table": TableSpec(("age", "crp", "hdl"), ((), (), ())),
    }
    spectral = partial(SpectralTransformer, dim=16, patch=4, filters=4, queries=2, blocks=DEEP)
    encoders = {"spectra": spectral, "table": partial(FeatureTokens, dim=16, blocks=DEEP)}
    model = build_model(specs, encoders, partial(CrossAttentionFusion, dim=16, heads=2, layers=2, dropout=0.2))
    return model, {"spectra": Spectra(torch.randn(4, 3, 80)), "table": Table(torch.randn(4, 3))}


def unfrozen() -> Made:
    torch.manual_seed(0)
    model = build_model(
        {"one": SignalSpec(128, 256, 100.0)},
        {"one": partial(ASTEncoder, weights="nobody/nothing", stand_in="small", unfreeze=1, dim=8)},
        Concat,
    )
    return model, {"one": Signal(torch.randn(2, 256, 128))}


WORLDS: dict[str, Callable[[], Made]] = {
    "patches": partial(one, partial(PatchTransformer, dim=16, blocks=DEEP)),
    "residual": partial(one, partial(ResNet1d, dim=16, width=8, stages=3)),
    "sensor": partial(one, partial(SensorTransformer, dim=16, blocks=DEEP)),
    "events": events,
    "radar": partial(several, partial(TimeFusion, dim=16, how="attention", heads=2, dropout=0.2)),
    "queries": partial(several, partial(TokenAttention, dim=16, heads=2, hidden=32, dropout=0.2)),
    "specimens": specimens,
    "published": unfrozen,
}


def gradients(model: Model, view: dict[str, Modality], how: Literal["off", "on"]) -> tuple[dict[str, Tensor], int]:
    """Gradients by weight, and bytes that the way forward keeps for the way back."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    model.train().zero_grad()
    torch.manual_seed(7)
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    with recomputing(model, how):
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            value = model(view)[FUSED].pooled.square().sum()
        value.backward()
    found = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    return found, sum(size for place, size in kept.items() if place not in weights)


@pytest.mark.parametrize("world", WORLDS)
def test_gradients_are_equal_to_the_bit_and_less_is_kept(world: str) -> None:
    model, view = WORLDS[world]()
    plain, kept = gradients(model, view, "off")
    state = torch.get_rng_state()
    again, less = gradients(model, view, "on")
    assert torch.equal(torch.get_rng_state(), state), "what is drawn after a step is what it would have been"
    assert plain.keys() == again.keys()
    assert len(plain) > 5
    for name, gradient in plain.items():
        assert torch.equal(gradient, again[name]), name
    assert less < 0.75 * kept, (less, kept)


def test_without_the_generators_put_back_the_gradients_would_differ() -> None:
    """The control: the comparison above sees what preserving the generators is for."""
    model, view = WORLDS["patches"]()
    plain, _ = gradients(model, view, "off")
    for block in blocks(model).values():
        block.__dict__["forward"] = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)
    broken, _ = gradients(model, view, "off")
    assert any(not torch.equal(plain[name], broken[name]) for name in plain)


def test_blocks_are_found_by_what_repeats() -> None:
    found = {name: [*blocks(made()[0])] for name, made in WORLDS.items()}
    assert found["patches"] == [f"encoders.one.blocks.{i}" for i in range(3)]
    assert found["residual"] == [f"encoders.one.blocks.{i}" for i in range(3)]
    assert found["events"] == [f"encoders.one.{stack}.{i}" for stack in ("layers", "sequence") for i in range(2)]
    assert found["radar"] == [
        *(f"encoders.{name}.{part}" for name in "ab" for part in ("residuals.0", "blocks.0", "blocks.1")),
        "fusion.project.0",
        "fusion.project.1",
    ]
    assert found["queries"][-2:] == ["fusion.attentions.0", "fusion.attentions.1"]
    (last,) = found["published"]
    assert last.startswith("encoders.one.model."), "of a published model, the block that is trained"
    branches: list[Callable[..., Encoder]] = [partial(PatchTransformer, dim=8, blocks=Blocks(depth=1, heads=2))] * 2
    model, _ = one(partial(Parallel, branches=branches))
    assert [*blocks(model)] == [f"encoders.one.branches.{i}.blocks.0" for i in range(2)], "encoders are no blocks"
    plain = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2)), nn.GELU())
    assert [*blocks(nn.ModuleDict({"stack": plain}))] == ["stack.1", "stack.2"]
    assert not blocks(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))), "single layers are none"


def test_frozen_parts_are_left_alone() -> None:
    model, view = WORLDS["radar"]()
    rates.freeze(model, nn.Identity(), {"encoders.a": Part(rate=0.0)})
    assert not [name for name in blocks(model) if name.startswith("encoders.a.")]
    plain, again = gradients(model, view, "off")[0], gradients(model, view, "on")[0]
    assert not [name for name in again if name.startswith("encoders.a.")]
    assert all(torch.equal(plain[name], again[name]) for name in plain)


def test_names_copies_and_the_model_afterwards() -> None:
    model, view = WORLDS["patches"]()
    names, modules = list(model.state_dict()), [name for name, _ in model.named_modules()]
    with recomputing(model, "on"):
        assert list(model.state_dict()) == names
        assert [name for name, _ in model.named_modules()] == modules
        twin = copy.deepcopy(model)
        with torch.no_grad():
            for weight in twin.parameters():
                weight.zero_()
            assert not twin.eval()(view)[FUSED].pooled.any(), "a copy computes with weights of its own"
            assert model.eval()(view)[FUSED].pooled.any()
    assert not [block for block in blocks(model).values() if "forward" in block.__dict__]
    with pytest.raises(ZeroDivisionError), recomputing(model, "on"):
        raise ZeroDivisionError
    assert not [block for block in blocks(model).values() if "forward" in block.__dict__]


def test_a_model_without_blocks_stays_as_it_is_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    model, view = one(partial(PointwiseMLP, dim=8))
    with caplog.at_level(logging.WARNING, "counterpoint"), recomputing(model, "off"):
        assert not caplog.messages
    plain = gradients(model, view, "off")
    with caplog.at_level(logging.WARNING, "counterpoint"):
        again = gradients(model, view, "on")
    assert plain[1] == again[1]
    assert all(torch.equal(plain[0][name], again[0][name]) for name in plain[0])
    assert "trainer.hardware.recompute: on changes nothing" in caplog.text
    assert in_words(model) in caplog.text
    told = "trainer.hardware.recompute: 4 blocks compute twice, of encoders.one.layers, encoders.one.sequence"
    assert in_words(WORLDS["events"]()[0]) == told


def trained(folder: Path, how: Literal["off", "on"]) -> Task:
    torch.manual_seed(0)
    specs: dict[str, Spec] = {"tone": SignalSpec(1, LENGTH, 1.0)}
    encoder = partial(PatchTransformer, dim=8, patch=4, blocks=Blocks(depth=2, heads=2, dropout=0.2))
    model = build_model(specs, {"tone": encoder}, Concat)
    task = Task(model, InfoNCE(ObjectiveSpec(model.dims, {}, (), specs)), Optimizer(), total_steps=12, log_every=2)
    hardware = Hardware(accelerator="cpu", recompute=how)
    settings = Trainer(epochs=3, batch_size=12, hardware=hardware, monitor=Monitor(log_every=2), accumulate=2)
    fit(task, Tones(12), Tones(4), settings=settings, seed=1, folder=folder)
    return task


def test_a_training_comes_out_the_same(tmp_path: Path) -> None:
    plain, again = trained(tmp_path / "off", "off"), trained(tmp_path / "on", "on")
    for name, value in plain.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    losses = [[row["valid/loss"] for row in task.history if "valid/loss" in row] for task in (plain, again)]
    assert len(losses[0]) == 3
    np.testing.assert_array_equal(losses[0], losses[1])
