"""Services of the trainer: patience, plateaus, learned weights of losses, runs that repeat, precisions and folds."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from counterpoint import config
from counterpoint.averaging import EMA
from counterpoint.checkpoint import load as load_checkpoint
from counterpoint.checkpoint import newest_valid
from counterpoint.data.base import Data
from counterpoint.log import read_log
from counterpoint.objectives import WeightedSum
from counterpoint.patience import EarlyStopping, Lowering, Patience, Plateau
from counterpoint.rates import Optimizer, Part, StepDecay, schedule
from counterpoint.recipe import Recipe
from counterpoint.settings import Checkpoints, Hardware, Trainer
from counterpoint.task import Task
from counterpoint.types import ObjectiveSpec
from services_world import BASE, DRIFTING, train
from test_objectives import batch, encoded
from test_resume import die, digest, run
from test_weighted_sum import constants, term
from toys import toy_model, two_terms

# Patience


def stop(scores: list[float], patience: int, cooldown: int, warm: int = 0) -> int:
    """At which validation patience runs out; one past the end for never."""
    waiting = Patience("v", "min", cooldown=cooldown, place="here")
    for index, score in enumerate(scores):
        waiting.see({"v": score}, warming=index < warm)
        if waiting.waited >= patience:
            return index
    return len(scores)


def test_cooldown_by_hand() -> None:
    falls_once = [3.0, 2.0, *[2.5] * 20]
    assert stop(falls_once, patience=3, cooldown=0) == 4, "three without improvement after validation 1"
    assert stop(falls_once, patience=3, cooldown=2) == 6, "two free, then three"
    # The warm-up ends after validation 7, two are free again, then three count.
    assert stop(falls_once, patience=3, cooldown=2, warm=8) == 12
    assert stop(falls_once, patience=3, cooldown=0, warm=8) == 4, "without a cooldown every validation counts"
    assert stop([3.0, 3.5, 3.5, 2.9, 3.5, 3.5, 3.5], patience=2, cooldown=1) == 6, "anew from an improvement"
    assert stop([math.nan] * 4, patience=2, cooldown=0) == 1, "not a number is no improvement"


@settings(deadline=None)
@given(
    scores=st.lists(st.integers(0, 5).map(float), min_size=1, max_size=40),
    patience=st.integers(1, 4),
    cooldown=st.integers(0, 4),
    warm=st.integers(0, 6),
)
def test_a_stop_comes_cooldown_and_patience_after_the_last_improvement(
    scores: list[float], patience: int, cooldown: int, warm: int
) -> None:
    best, since = math.inf, -1
    expected = len(scores)
    for index, score in enumerate(scores):
        if score < best:
            best, since = score, index
        if cooldown and index < warm:
            since = index
        if index - since >= cooldown + patience:
            expected = index
            break
    assert stop(scores, patience, cooldown, warm) == expected


def test_in_training_the_warm_up_is_that_of_the_rate(tmp_path: Path) -> None:
    stopping = EarlyStopping(patience=1, min_delta=100.0, cooldown=1)
    chosen = replace(BASE, epochs=6, early_stopping=stopping)
    # A validation every 8 steps: the first improves on nothing, the second is free, the third stops.
    early = Task(*toy_model(), Optimizer(lr=1e-3, warmup=0.1), total_steps=48)
    assert train(tmp_path / "early", chosen, early).position == 24
    # The rate rises over 28 steps, so three validations come while it does; one is free, the fifth stops.
    late = Task(*toy_model(), Optimizer(lr=1e-3, warmup=0.6), total_steps=48)
    assert train(tmp_path / "late", chosen, late).position == 40


# Rates


def test_steps_and_lines_by_hand() -> None:
    line = schedule(Optimizer(warmup=0.1, schedule="linear"), 100)
    assert [line(0), line(9), line(10), line(55), line(100)] == pytest.approx([0.1, 1.0, 1.0, 0.5, 0.0])
    steps = Optimizer(warmup=0.1, schedule="step", step=StepDecay(gamma=0.5, every=0.2))
    falls = schedule(steps, 100)
    assert [falls(step) for step in (4, 10, 29, 30, 49, 50, 99)] == pytest.approx([0.5, 1, 1, 0.5, 0.5, 0.25, 0.0625])
    late = schedule(steps, 100, 0.5)  # a part that waits falls by its own count
    assert [late(49), late(60), late(79), late(80)] == pytest.approx([0.0, 1.0, 1.0, 0.5])


@settings(deadline=None, max_examples=60)
@given(
    scores=st.lists(st.floats(0, 3), min_size=1, max_size=40),
    patience=st.integers(1, 4),
    factor=st.sampled_from([0.1, 0.5]),
    delta=st.sampled_from([0.0, 0.3]),
    mode=st.sampled_from(["min", "max"]),
)
@example(scores=[1.0] * 40, patience=1, factor=0.1, delta=0.0, mode="min")
def test_plateaus_are_those_of_torch(
    scores: list[float], patience: int, factor: float, delta: float, mode: Any
) -> None:
    options = Plateau(monitor="v", patience=patience, factor=factor, lowest=1e-3, min_delta=delta, mode=mode)
    lowering = Lowering(options)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        mode=mode,
        factor=factor,
        patience=patience - 1,  # torch waits one more than it says
        threshold=delta,
        threshold_mode="abs",
        min_lr=1e-3,
        eps=0.0,
    )
    for index, score in enumerate(scores):
        if index == len(scores) // 2:
            resumed = Lowering(options)
            resumed.restore(lowering.state())
            lowering = resumed
        lowering.see({"v": score})
        reference.step(score)
        assert lowering.factor == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)


def test_a_plateau_lowers_every_rate_from_the_next_step_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[list[float]] = []
    original = Task.on_before_optimizer_step

    def noted(self: Task, optimizer: torch.optim.Optimizer) -> None:
        used.append([group["lr"] for group in optimizer.param_groups])
        original(self, optimizer)

    monkeypatch.setattr(Task, "on_before_optimizer_step", noted)
    plateau = Plateau(patience=1, factor=0.5, lowest=0.2, min_delta=100.0)
    rates = Optimizer(lr=0.01, warmup=0.0, schedule="plateau", plateau=plateau, parts={"objective": Part(rate=3.0)})
    model, objective = toy_model()
    objective.head.log_scale.requires_grad_(True)  # type: ignore[union-attr,operator]
    task = Task(model, objective, rates, total_steps=40, log_every=1)
    train(tmp_path, replace(BASE, epochs=5), task)
    # Validations after 8, 16, ...: the first is the best there is, each of the others lowers, down to a fifth.
    factors = [1.0] * 16 + [0.5] * 8 + [0.25] * 8 + [0.2] * 8
    encoder, head = [min(found) for found in used], [max(found) for found in used]
    assert encoder == pytest.approx([0.01 * factor for factor in factors])
    assert head == pytest.approx([0.03 * factor for factor in factors])
    logged = {row["step"]: row for row in read_log(tmp_path / "metrics.csv") if "lr" in row}
    assert logged[30.0]["lr"] == pytest.approx(0.0025)
    assert logged[30.0]["lr/objective"] == pytest.approx(0.0075)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Optimizer(step=StepDecay()), "optimizer.step is set and optimizer.schedule is 'cosine'"),
        (lambda: Optimizer(schedule="step", plateau=Plateau()), "optimizer.plateau is set and .* is 'step'"),
        (lambda: StepDecay(gamma=0.0), "gamma is 0.0"),
        (lambda: StepDecay(every=2.0), "every 2.0"),
        (lambda: Plateau(factor=1.0), "factor is 1.0"),
        (lambda: Plateau(lowest=0.0), "lowest is 0.0"),
        (lambda: Plateau(patience=0), "plateau.patience is 0"),
        (lambda: EarlyStopping(patience=0), "early_stopping.patience is 0"),
        (lambda: EarlyStopping(cooldown=-1), "cooldown is -1"),
        (lambda: EMA(decay=1.0), "decay is 1.0"),
        (lambda: EMA(start=1.0), "start is 1.0"),
    ],
)
def test_values_that_mean_nothing_are_refused(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_services_are_written_in_a_recipe_and_out_again(tmp_path: Path) -> None:
    path = tmp_path / "trainer.yaml"
    path.write_text("ema: {decay: 0.99}\nearly_stopping: {cooldown: 3}\nhardware: {deterministic: on}\n")
    found = config.load(path, Trainer)
    assert found.ema == EMA(decay=0.99)
    assert found.early_stopping == EarlyStopping(cooldown=3)
    assert found.hardware.deterministic == "on"
    assert (found.judged, found.judged_loss) == ("ema", "valid/ema/loss")
    path.write_text(config.dump(found))
    assert config.load(path, Trainer) == found
    assert config.load(path, Trainer, ["ema.judged=raw"]).judged_loss == "valid/loss"
    path.write_text("schedule: plateau\nplateau: {patience: 2}\n")
    rates = config.load(path, Optimizer)
    assert rates.lowered == Plateau(patience=2)
    path.write_text(config.dump(rates))
    assert config.load(path, Optimizer) == rates


# Learned weights of losses


def test_uncertainty_is_the_formula_and_its_gradient() -> None:
    objective = WeightedSum(
        ObjectiveSpec({}, {}, (), {}), terms={"a": term(2.0, 0.7), "b": term(5.0)}, balance="uncertainty"
    )
    found = objective([encoded()], batch())
    assert found.value.item() == pytest.approx(0.7 * 2 + 5), "starts at the stated weights"
    with torch.no_grad():
        objective.log_variances.copy_(torch.tensor([0.3, -1.2]))
    found = objective([encoded()], batch())
    by_hand = math.exp(-0.3) * 0.7 * 2 + 0.3 / 2 + math.exp(1.2) * 5 - 1.2 / 2
    assert found.value.item() == pytest.approx(by_hand, rel=1e-6)
    assert found.logs["loss"].item() == pytest.approx(0.7 * 2 + 5), "compares over the run"
    assert found.logs["a/weight"].item() == pytest.approx(0.7 * math.exp(-0.3), rel=1e-6)
    assert found.logs["b/weight"].item() == pytest.approx(math.exp(1.2), rel=1e-6)
    assert not any(value.requires_grad for value in found.logs.values())
    found.value.backward()
    gradient = objective.log_variances.grad
    assert gradient is not None
    expected = [0.5 - math.exp(-0.3) * 0.7 * 2, 0.5 - math.exp(1.2) * 5]
    assert gradient.tolist() == pytest.approx(expected, rel=1e-5)


def test_at_rest_a_learned_weight_is_one_over_twice_the_loss() -> None:
    objective = WeightedSum(
        ObjectiveSpec({}, {}, (), {}), terms={"a": term(0.2), "b": term(40.0, 3.0)}, balance="uncertainty"
    )
    for part in objective.objectives:
        part.requires_grad_(False)
    optimizer = torch.optim.LBFGS([objective.log_variances], lr=0.5, max_iter=200)

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = objective([encoded()], batch()).value
        value.backward()
        return value

    optimizer.step(closure)
    logs = objective([encoded()], batch()).logs
    assert logs["a/weight"].item() == pytest.approx(1 / (2 * 0.2), rel=1e-2)
    assert logs["b/weight"].item() == pytest.approx(1 / (2 * 40.0), rel=1e-2)


def test_a_term_that_is_ramped_out_pulls_at_nothing() -> None:
    terms = {"a": term(2.0), "b": term(5.0, schedule="ramp_up")}
    objective = WeightedSum(ObjectiveSpec({}, {}, (), {}), terms=terms, balance="uncertainty")
    objective.plan(10)
    objective([encoded()], batch()).value.backward()
    assert objective.log_variances.grad is not None
    assert objective.log_variances.grad.tolist() == pytest.approx([0.5 - 2.0, 0.0])
    assert "log_variances" not in constants(a=term(1.0)).state_dict(), "fixed weights learn nothing"


def test_learned_weights_move_and_are_logged(tmp_path: Path) -> None:
    parts = {"objective.log_variances": Part(rate=20.0)}
    task = Task(*two_terms(), Optimizer(lr=3e-3, parts=parts), total_steps=16, log_every=1)
    train(tmp_path, BASE, task)
    log = [row for row in task.history if "train/near/weight" in row]
    assert log[0]["train/near/weight"] == pytest.approx(1.0)
    assert log[0]["train/label/weight"] == pytest.approx(0.5)
    # A contrastive loss over a dozen rows is above 1/2 and so is to weigh less, that of two classes a bit more.
    assert log[-1]["train/near/weight"] < 0.9
    assert log[-1]["train/label/weight"] > 0.5
    for row in log:
        assert row["train/loss"] == pytest.approx(row["train/near/loss"] + 0.5 * row["train/label/loss"], rel=1e-5)


# Repeats, precision, folds


def test_deterministic_runs_are_bit_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    original = Task.training_step

    def noted(self: Task, batch: Any, batch_idx: int) -> Any:
        asked.append(torch.are_deterministic_algorithms_enabled())
        return original(self, batch, batch_idx)

    monkeypatch.setattr(Task, "training_step", noted)
    chosen = replace(BASE, hardware=Hardware(deterministic="on"), ema=EMA(decay=0.9), accumulate=2)
    try:
        for name in ("one", "two"):
            torch.manual_seed(len(name) + len(asked))  # what ran before must not matter
            train(tmp_path / name, chosen, Task(*two_terms(), Optimizer(lr=3e-3), total_steps=8, log_every=1))
        assert all(asked)
        torch.manual_seed(99)
        train(tmp_path / "other", chosen, Task(*two_terms(seed=1), Optimizer(lr=3e-3), total_steps=8, log_every=1))
    finally:
        torch.use_deterministic_algorithms(False)
    asked.clear()
    train(tmp_path / "off", BASE)
    assert not any(asked)
    # The generator itself is where the process left it, so weights, moments, averages and the log are compared.
    found = {name: stripped(tmp_path / name) for name in ("one", "two", "other")}
    assert found["one"] == found["two"]
    assert found["one"] != found["other"]


def stripped(folder: Path) -> str:
    newest, _ = newest_valid(folder / "checkpoints")
    assert newest is not None
    state = load_checkpoint(newest)
    own = state["counterpoint"]
    log = [{k: v for k, v in row.items() if not k.startswith("time/")} for row in own["history"]]
    moments = [{k: v.tolist() for k, v in s.items()} for s in state["optimizer_states"][0]["state"].values()]
    weights = [
        {name: value.tolist() for name, value in w.items()} for w in (state["state_dict"], own["ema"]["weights"])
    ]
    return repr((log, moments, weights))


PRECISIONS = [
    ("bf16-mixed", "cpu"),
    pytest.param("16-mixed", "gpu", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="fp16 needs a GPU")),
    pytest.param(
        "bf16-mixed", "gpu", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
    ),
]


@pytest.mark.parametrize(("precision", "accelerator"), PRECISIONS)
def test_mixed_precision_with_accumulation_clipping_and_average(
    tmp_path: Path, precision: Any, accelerator: str
) -> None:
    hardware = Hardware(accelerator=accelerator, precision=precision)
    chosen = replace(BASE, hardware=hardware, accumulate=3, clip_norm=0.01, ema=EMA(decay=0.9))
    task = train(tmp_path, chosen, Task(*two_terms(), Optimizer(lr=3e-3), total_steps=6, log_every=1))
    assert task.average is not None
    for name, value in [*task.named_parameters(), *task.average.values.items()]:
        assert value.dtype == torch.float32
        assert bool(torch.isfinite(value).all()), name
    first = dict(Task(*two_terms(), Optimizer(), total_steps=6).named_parameters())
    moved = [n for n, v in task.named_parameters() if not torch.equal(v.cpu(), first[n])]
    assert "model.encoders.tone.convolve.weight" in moved
    validations = [row for row in task.history if "valid/ema/loss" in row]
    assert len(validations) == 2
    assert all(math.isfinite(row["valid/loss"]) and math.isfinite(row["valid/ema/loss"]) for row in validations)


FOLDED = replace(
    DRIFTING,
    trainer=replace(DRIFTING.trainer, epochs=3, checkpoints=Checkpoints(every_n_steps=2)),
    optimizer=Optimizer(lr=0.01, warmup=0.5),
)


def train_folds(folder: Path, dies_in: str, moment: int) -> None:
    """Train both folds without judging them, and die in one at a batch; in none for no death."""
    import counterpoint.run

    torch.set_num_threads(1)
    counterpoint.run._judge = lambda *args: ""  # type: ignore[assignment]
    original, at = Task.training_step, [""]
    made = counterpoint.run.train_cell

    def told(recipe: Recipe, data: Data, fold: str, seed: int, cell: Path) -> Task:
        at[0] = fold
        return made(recipe, data, fold, seed, cell)

    def mortal(self: Task, batch: Any, batch_idx: int) -> Any:
        if at[0] == dies_in and batch_idx == moment:
            die()
        return original(self, batch, batch_idx)

    counterpoint.run.train_cell = told
    Task.training_step = mortal  # type: ignore[method-assign]
    counterpoint.run.train(FOLDED, folder)


@pytest.mark.parametrize(("fold", "moment"), [("two", 0), ("two", 5)])
def test_a_run_killed_in_its_second_fold_goes_on_there(tmp_path: Path, fold: str, moment: int) -> None:
    assert run(train_folds, tmp_path / "whole", "", 0) == 0
    killed = tmp_path / "killed"
    assert run(train_folds, killed, fold, moment) == -9
    done = killed / "cells" / "one-seed0"
    assert (done / "trained.json").is_file()
    assert not (killed / "cells" / "two-seed0" / "trained.json").is_file()
    before = {path: path.stat().st_mtime_ns for path in done.rglob("*") if path.is_file()}
    assert run(train_folds, killed, "", 0) == 0
    assert {path: path.stat().st_mtime_ns for path in done.rglob("*") if path.is_file()} == before
    for cell in ("one-seed0", "two-seed0"):
        assert digest(killed / "cells" / cell) == digest(tmp_path / "whole" / "cells" / cell), cell
