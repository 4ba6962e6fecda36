"""The average of the weights beside them, and the best state beside the last: what is kept, validated and loaded."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from counterpoint.averaging import EMA, Average, put
from counterpoint.checkpoint import load as load_checkpoint
from counterpoint.checkpoint import newest_valid
from counterpoint.data.sampling import StreamSampler
from counterpoint.keeper import best_whole
from counterpoint.log import Record, read_log
from counterpoint.patience import EarlyStopping
from counterpoint.rates import Optimizer, Part
from counterpoint.recipe import Recipe, load, train_cell
from counterpoint.settings import Checkpoints
from counterpoint.task import Task
from services_world import BASE, DRIFTING, train
from test_distributed import launch
from toys import toy_model, toy_task

EVERY_STEP = Checkpoints(every_n_steps=1, keep_last=100)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


# The average


class Small(nn.Module):
    """Trained, frozen and shared weights, and statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)
        self.last.requires_grad_(False)
        self.tied = self.first

    def forward(self, values: Tensor) -> Tensor:
        found: Tensor = self.last(self.norm(self.tied(values)))
        return found


def small() -> Small:
    torch.manual_seed(0)
    return Small()


@settings(max_examples=30, deadline=None)
@given(
    decay=st.floats(0.01, 0.9999),
    start=st.sampled_from([0.0, 0.25, 0.9]),
    rise=st.sampled_from(["count", "none"]),
    steps=st.integers(1, 25),
)
def test_the_average_is_that_of_a_naive_loop_in_float64(decay: float, start: float, rise: Any, steps: int) -> None:
    module, generator = small(), torch.Generator().manual_seed(1)
    average = Average(EMA(decay=decay, start=start, rise=rise), steps)
    average.begin(module)
    names = ["first.weight", "first.bias", "norm.weight", "norm.bias"]
    assert list(average.values) == names, "frozen weights and shared ones are not kept twice"
    found = [weight.detach().double().clone() for weight in average._weights]
    for step in range(1, steps + 1):
        with torch.no_grad():
            for weight in average._weights:
                weight.add_(torch.randn(weight.shape, generator=generator))
        average.update(step)
        average.update(step)  # a batch without a step of its own
        since = step - 1 - int(start * steps)
        by_hand = decay if since >= 0 else 0.0
        if since >= 0 and rise == "count":
            by_hand = min(decay, (1 + since) / (10 + since))
        found = [by_hand * old + (1 - by_hand) * w.double() for old, w in zip(found, average._weights, strict=True)]
    for value, expected in zip(average.values.values(), found, strict=True):
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-5)


def test_worn_the_module_is_the_average_and_afterwards_itself_to_the_bit() -> None:
    module = small().eval()
    average = Average(EMA(decay=0.5), 10)
    average.begin(module)
    reference = small().eval()
    inputs = torch.randn(5, 3)
    with torch.no_grad():
        for weight in module.first.parameters():
            weight.mul_(3)
        module.norm.running_mean.fill_(0.3)
    average.update(1)
    before, storage = {n: v.clone() for n, v in module.state_dict().items()}, module.first.weight.data_ptr()
    reference.load_state_dict(module.state_dict())
    put(average.values, {"": reference})
    torch.manual_seed(5)
    drawn = torch.get_rng_state()
    with torch.inference_mode():
        with average.worn():
            torch.rand(7)
            assert torch.equal(module(inputs), reference(inputs))
            assert module.norm.running_mean[0].item() == pytest.approx(0.3), "buffers are those of the weights"
        assert not torch.equal(module(inputs), reference(inputs))
    assert same(dict(module.state_dict()), before)
    assert module.first.weight.data_ptr() == storage
    assert torch.equal(torch.get_rng_state(), drawn)
    with pytest.raises(RuntimeError, match="on purpose"), average.worn():
        raise RuntimeError("on purpose")
    assert same(dict(module.state_dict()), before)
    module(inputs).sum().backward()
    assert module.first.weight.grad is not None, "still trained after inference mode"


def weights_after(folder: Path, step: int) -> dict[str, Tensor]:
    state = load_checkpoint(folder / "checkpoints" / f"last-{step:08d}")
    found: dict[str, Tensor] = state["state_dict"]
    return found


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that accumulates, with a frozen weight."""
    folder = tmp_path_factory.mktemp("averaged")
    parts = {"encoders.tone.convolve.bias": Part(rate=0.0)}
    task = Task(*toy_model(), Optimizer(lr=3e-3, parts=parts), total_steps=8, log_every=1)
    train(folder, replace(BASE, accumulate=2, ema=EMA(decay=0.6), checkpoints=EVERY_STEP), task)
    return folder


def test_in_training_every_optimizer_step_counts_once(averaged: Path) -> None:
    state = load_checkpoint(averaged / "checkpoints" / "last-00000008")["counterpoint"]["ema"]
    assert state["step"] == 8, "16 batches, 8 steps"
    assert "model.encoders.tone.convolve.weight" in state["weights"]
    assert "model.encoders.tone.convolve.bias" not in state["weights"]
    first = dict(toy_task(8).named_parameters())
    for name, value in state["weights"].items():
        expected = first[name].detach().double()
        for step in range(1, 9):
            decay = min(0.6, step / (9 + step))
            expected = decay * expected + (1 - decay) * weights_after(averaged, step)[name].double()
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)
        assert name.endswith("log_scale") or not torch.equal(value, weights_after(averaged, 8)[name])


def test_averaging_leaves_the_training_as_it_is(tmp_path: Path) -> None:
    one, other = (train(tmp_path / str(bool(ema)), replace(BASE, ema=ema)) for ema in (None, EMA(decay=0.9)))
    assert same(dict(one.state_dict()), dict(other.state_dict()))
    logs = [[r["valid/loss"] for r in task.history if "valid/loss" in r] for task in (one, other)]
    assert logs[0] == logs[1]


def test_a_run_begun_without_an_average_is_not_taken_up_with_one(tmp_path: Path) -> None:
    train(tmp_path, BASE)
    with pytest.raises(ValueError, match=r"no averaged weights: it was begun without trainer\.ema"):
        train(tmp_path, replace(BASE, epochs=3, ema=EMA()))
    average = Average(EMA(), 4)
    average.restore({"step": 2, "weights": {"first.weight": torch.zeros(4, 3)}})
    with pytest.raises(ValueError, match=r"other weights than are trained, first.bias, norm.bias, norm.weight;"):
        average.begin(small())


@pytest.mark.nightly
def test_two_ranks_hold_the_same_average_as_one_process(tmp_path: Path) -> None:
    found = []
    for devices in (1, 2):
        launch("averaged", tmp_path / str(devices), devices)
        newest, _ = newest_valid(tmp_path / str(devices) / "checkpoints")
        assert newest is not None
        found.append(load_checkpoint(newest))
    ranks = [torch.load(path, weights_only=True) for path in sorted((tmp_path / "2").glob("rank*.pt"))]
    assert len(ranks) == 2
    assert same(ranks[0], ranks[1])
    one, two = (state["counterpoint"]["ema"]["weights"] for state in found)
    assert same(two, ranks[0])
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-6, rtol=0, msg=name)
        assert name.endswith("log_scale") or not torch.equal(value, found[0]["state_dict"][name])
    logs = [[r["valid/ema/loss"] for r in s["counterpoint"]["history"] if "valid/ema/loss" in r] for s in found]
    assert logs[0] == pytest.approx(logs[1], abs=1e-6)


# Best and last


def validated(folder: Path, recipe: Recipe, **chosen: Any) -> float:
    """The validation loss of what is loaded, by a loop of its own."""
    data = recipe.data()
    model, objective = load(folder, data, recipe, **chosen)
    rows = data.training("one", "valid")
    batches = [rows.__getitems__(draws) for draws in StreamSampler(rows, batch_size=12, epochs=1, seed=0)]
    with torch.no_grad():
        losses = [float(objective([model(view) for view in b.views], b).value) for b in batches]
    return sum(losses) / len(losses)


def best_row(log: list[Record], name: str) -> Record:
    return min((row for row in log if name in row), key=lambda row: row[name])


@pytest.mark.parametrize(("judged", "name"), [("raw", "valid/loss"), ("ema", "valid/ema/loss")])
def test_the_best_is_a_copy_that_reloads_to_its_score(tmp_path: Path, judged: Any, name: str) -> None:
    trainer = replace(DRIFTING.trainer, ema=EMA(decay=0.8, judged=judged), checkpoints=Checkpoints(top_k=2))
    recipe = replace(DRIFTING, trainer=trainer)
    train_cell(recipe, recipe.data(), "one", 0, tmp_path)
    row = best_row(read_log(tmp_path / "metrics.csv"), name)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").glob("best-*"))
    best = f"best-{int(row['step']):08d}"
    assert len(kept) == 2
    assert best in kept
    newest, _ = newest_valid(tmp_path / "checkpoints")
    assert newest is not None
    last, state = load_checkpoint(newest), load_checkpoint(tmp_path / "checkpoints" / best)
    final = [r for r in last["counterpoint"]["history"] if name in r][-1]
    assert final["step"] > row["step"], "trained beyond its best"
    assert final[name] > row[name] + 0.01
    assert not same(last["state_dict"], state["state_dict"])
    assert not same(last["counterpoint"]["ema"]["weights"], state["counterpoint"]["ema"]["weights"])
    assert validated(tmp_path, recipe) == pytest.approx(row[name], abs=1e-5)
    assert validated(tmp_path, recipe, weights="raw") == pytest.approx(row["valid/loss"], abs=1e-5)
    assert validated(tmp_path, recipe, weights="ema") == pytest.approx(row["valid/ema/loss"], abs=1e-5)
    assert row["valid/loss"] != pytest.approx(row["valid/ema/loss"], abs=1e-3), "or the two could be mixed up"
    # One that is damaged is passed over; without any the newest is loaded.
    (tmp_path / "checkpoints" / best / "weights.safetensors").write_bytes(b"")
    found = best_whole(tmp_path / "checkpoints")
    assert found is not None
    assert f"best-{found['global_step']:08d}" == next(name for name in kept if name != best)
    for folder in kept:
        shutil.rmtree(tmp_path / "checkpoints" / folder)
    assert validated(tmp_path, recipe) == pytest.approx(final[name], abs=1e-5)


def test_the_monitor_may_name_either_and_what_is_not_there_is_said(tmp_path: Path) -> None:
    ema = EMA(decay=0.9)
    chosen = replace(BASE, ema=ema, early_stopping=EarlyStopping(monitor="valid/loss", patience=1, min_delta=10.0))
    task = train(tmp_path / "either", replace(chosen, epochs=3))
    assert len([row for row in task.history if "valid/ema/loss" in row]) == 2
    assert {name.removeprefix("valid/ema/") for name in task.history[-1] if name.startswith("valid/ema/")} == {
        name.removeprefix("valid/") for name in task.history[-1] if name.startswith("valid/") and "ema" not in name
    }
    with pytest.raises(ValueError, match=r"trainer.checkpoints.monitor is 'valid/ema/loss', which no validation"):
        train(tmp_path / "without", replace(BASE, checkpoints=Checkpoints(monitor="valid/ema/loss")))
    without = replace(DRIFTING, trainer=replace(DRIFTING.trainer, ema=None, epochs=1))
    train_cell(without, without.data(), "one", 0, tmp_path / "cell")
    with pytest.raises(ValueError, match=r"trained without trainer\.ema, so there are no averaged weights"):
        load(tmp_path / "cell", without.data(), without, weights="ema")
