"""Rates of parts: what is frozen does not move, what waits moves from its start on, and a resumed stage is the same."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import distributed_run
from cached_world import SPEC
from cached_world import Toy as FrozenToy
from counterpoint import config, run
from counterpoint.checkpoint import load, newest_valid
from counterpoint.data.base import Draw
from counterpoint.fit import fit
from counterpoint.fusion import Gated
from counterpoint.log import read_log
from counterpoint.model import build_model
from counterpoint.objectives import InfoNCE
from counterpoint.rates import Optimizer, Part, applicable, freeze, groups, part_of, schedule
from counterpoint.recipe import Recipe
from counterpoint.settings import Checkpoints, Monitor, Trainer, Transfer
from counterpoint.task import Task
from counterpoint.transfer import tuning
from counterpoint.types import ObjectiveSpec
from test_distributed import launch
from toys import OneLayer, ToneData, Tones, toy_model

STEPS = 16
TRAINER = Trainer(
    epochs=2,
    batch_size=12,
    clip_norm=0.1,
    checkpoints=Checkpoints(every_n_steps=1, keep_last=100),
    monitor=Monitor(log_every=1),
)
ENCODER, HEAD = "encoders.tone", "objective.head"


def task_of(parts: dict[str, Part], dropout: float = 0.1) -> Task:
    return Task(
        *toy_model(dropout=dropout), Optimizer(lr=3e-3, warmup=0.2, parts=parts), total_steps=STEPS, log_every=1
    )


def train(folder: Path, parts: dict[str, Part], dropout: float = 0.1) -> Task:
    task = task_of(parts, dropout)
    fit(task, Tones(24), Tones(12, repeats=2), settings=TRAINER, seed=3, folder=folder)
    return task


def weights_after(folder: Path, step: int) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = load(folder / "checkpoints" / f"last-{step:08d}")["state_dict"]
    return weights


def of(weights: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Those of a part, by the name a checkpoint has for it."""
    prefix = name if name.startswith("objective") else f"model.{name}"
    found = {key: value for key, value in weights.items() if key.startswith(f"{prefix}.")}
    assert found
    return found


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(value, other[key]) for key, value in one.items())


def test_the_schedule_by_hand() -> None:
    cosine = schedule(Optimizer(warmup=0.1), 100)
    assert [cosine(0), cosine(9), cosine(10), cosine(55), cosine(100)] == pytest.approx([0.1, 1.0, 1.0, 0.5, 0.0])
    waiting = schedule(Optimizer(warmup=0.0, schedule="constant"), 100, 0.3)
    assert [waiting(29), waiting(30), waiting(99)] == [0.0, 1.0, 1.0]
    # Half the steps pass; then ten to rise over, and forty to fall over, half down after twenty.
    late = schedule(Optimizer(warmup=0.1), 100, 0.5)
    assert [late(49), late(50), late(59), late(80), late(100)] == pytest.approx([0.0, 0.1, 1.0, 0.5, 0.0])


def test_the_longest_name_decides_and_words_are_whole() -> None:
    parts = ("encoders", "encoders.video", "encoders.video.model", "fusion")
    assert part_of("encoders.video.model.layer.0", parts) == "encoders.video.model"
    assert part_of("encoders.video.models", parts) == "encoders.video"
    assert part_of("encoders.video2.project", parts) == "encoders"
    assert part_of("objective.head", parts) == ""


def test_norms_and_biases_are_not_decayed() -> None:
    model, objective = toy_model()
    plain = [p for p in (*model.parameters(), *objective.parameters()) if p.ndim < 2 and p.requires_grad]
    found, _ = groups(model, objective, Optimizer(), 10)
    assert {id(p) for g in found if g["weight_decay"] == 0 for p in g["params"]} == {id(p) for p in plain}


NAMES = ("encoders", "encoders.tone", "encoders.tone.convolve", "encoders.tone.convolve.bias", "objective", HEAD)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(NAMES),
        st.one_of(st.just(Part(0.0)), st.builds(Part, st.floats(0.1, 9), st.sampled_from([0.0, 0.5]))),
    )
)
def test_groups_hold_every_trained_weight_once_at_the_rate_of_its_longest_name(parts: dict[str, Part]) -> None:
    model, objective = toy_model()
    chosen = Optimizer(lr=2.0, warmup=0.0, schedule="constant", parts=parts)
    named = [*model.named_parameters(), *((f"objective.{key}", p) for key, p in objective.named_parameters())]
    expected = {}
    for name, weight in named:
        words = name.split(".")
        prefixes = (".".join(words[:end]) for end in range(len(words), 0, -1))
        part = next((parts[prefix] for prefix in prefixes if prefix in parts), Part())
        if weight.requires_grad and part.rate:
            expected[id(weight)] = (2.0 * part.rate, part.start)
    if not expected:
        with pytest.raises(ValueError, match="nothing is left to train"):
            freeze(model, objective, parts)
        return
    freeze(model, objective, parts)
    found = []
    for group, factor in zip(*groups(model, objective, chosen, 10), strict=True):
        waits = 0.0 if factor(0) else 0.5
        assert [factor(4), factor(5)] == ([0.0, 1.0] if waits else [1.0, 1.0])
        found += [(id(weight), (group["lr"], waits)) for weight in group["params"]]
    assert len(found) == len(dict(found))
    assert dict(found) == expected


def test_what_is_frozen_has_no_graph_does_not_move_and_rests(tmp_path: Path) -> None:
    task = task_of({ENCODER: Part(rate=0.0)}, dropout=0.5)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    encoder = task.model.encoders["tone"]
    for mode in (True, False, True):
        task.train(mode)
        assert not any(module.training for module in encoder.modules())
        assert task.objective.training == mode
    fit(task, Tones(24), Tones(12, repeats=2), settings=TRAINER, seed=3, folder=tmp_path)
    assert not any(module.training for module in encoder.modules()), "also after validations"
    assert same(of(task.state_dict(), ENCODER), of(before, ENCODER))
    assert not same(of(task.state_dict(), HEAD), of(before, HEAD))
    assert all(weight.grad is None and not weight.requires_grad for weight in encoder.parameters())
    held = {id(w) for group in task.optimizers().param_groups for w in group["params"]}  # type: ignore[union-attr]
    assert not held & {id(weight) for weight in encoder.parameters()}
    (view, _) = Tones(4).__getitems__([Draw(0, 0), Draw(1, 1)]).views
    encoded = encoder(view["tone"])
    assert encoded.pooled.grad_fn is None
    assert torch.equal(encoded.pooled, encoder(view["tone"]).pooled), "no dropout"


def test_a_trained_part_within_a_frozen_one_is_trained_and_statistics_rest() -> None:
    model, objective = toy_model()
    encoder: Any = model.encoders["tone"]
    encoder.norm, encoder.project = nn.BatchNorm1d(16), nn.Linear(16, 16)
    parts = {"encoders": Part(rate=0.0), "encoders.tone.project": Part(rate=2.0)}
    task = Task(model, objective, Optimizer(parts=parts), total_steps=4)
    task.train()
    assert encoder.project.training
    assert encoder.project.weight.requires_grad
    assert not encoder.training
    assert not encoder.norm.training
    encoder.norm(torch.randn(8, 16))
    assert int(encoder.norm.num_batches_tracked) == 0


def test_a_part_that_waits_is_bit_equal_until_its_start_and_moves_from_then_on(tmp_path: Path) -> None:
    task = task_of({ENCODER: Part(rate=0.5, start=0.5)})
    first = {name: value.clone() for name, value in task.state_dict().items()}
    train(tmp_path, {ENCODER: Part(rate=0.5, start=0.5)})
    for step in range(1, STEPS + 1):
        weights = weights_after(tmp_path, step)
        assert same(of(weights, ENCODER), of(first, ENCODER)) == (step <= 8), step
        assert not same(of(weights, HEAD), of(first, HEAD))
    # AdamW's own count: the moments begin with the first step of the part.
    states = load(tmp_path / "checkpoints" / f"last-{STEPS:08d}")["optimizer_states"][0]["state"]
    assert sorted({int(state["step"]) for state in states.values()}) == [8, 16]


def test_what_waits_does_not_weigh_in_the_norm_that_clips_the_others(tmp_path: Path) -> None:
    train(tmp_path / "waits", {ENCODER: Part(start=0.5)}, dropout=0.0)
    train(tmp_path / "frozen", {ENCODER: Part(rate=0.0)}, dropout=0.0)
    waits, frozen = (weights_after(tmp_path / name, 8) for name in ("waits", "frozen"))
    assert same(of(waits, HEAD), of(frozen, HEAD))
    assert not same(of(weights_after(tmp_path / "waits", 16), HEAD), of(weights_after(tmp_path / "frozen", 16), HEAD))


def test_the_rate_of_every_part_is_logged(tmp_path: Path) -> None:
    train(
        tmp_path, {ENCODER: Part(rate=0.5, start=0.5), HEAD: Part(rate=3.0), "encoders.tone.convolve.bias": Part(0.0)}
    )
    log = [record for record in read_log(tmp_path / "metrics.csv") if "lr" in record]
    assert len(log) == STEPS
    rise = int(0.2 * STEPS)
    for record in log:
        step = int(record["step"])
        risen = (step + 1) / rise if step < rise else 0.5 * (1 + math.cos(math.pi * (step - rise) / (STEPS - rise)))
        assert record["lr"] == pytest.approx(3e-3 * risen)
        assert record[f"lr/{HEAD}"] == pytest.approx(3 * record["lr"])
        assert (record[f"lr/{ENCODER}"] > 0) == (8 <= step < STEPS)
        assert record["lr/encoders.tone.convolve.bias"] == 0
    assert max(record[f"lr/{ENCODER}"] for record in log) == pytest.approx(1.5e-3)


class Stop(RuntimeError):
    """The moment a run is cut off."""


@pytest.mark.parametrize("moment", [5, 11])
def test_a_run_cut_off_in_a_stage_ends_with_the_same_bits(
    tmp_path: Path, moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {ENCODER: Part(rate=0.5, start=0.5), "encoders.tone.convolve.bias": Part(rate=0.0)}
    whole = train(tmp_path / "whole", parts)
    original = Task.training_step

    def cut_off(self: Task, batch: Any, batch_idx: int) -> Any:
        if batch_idx == moment:
            raise Stop
        return original(self, batch, batch_idx)

    with monkeypatch.context() as patched:
        patched.setattr(Task, "training_step", cut_off)
        with pytest.raises(Stop):
            train(tmp_path / "cut", parts)
    newest, _ = newest_valid(tmp_path / "cut" / "checkpoints")
    assert newest is not None
    assert newest.name == f"last-{moment:08d}"
    again = train(tmp_path / "cut", parts)
    assert same(dict(again.state_dict()), dict(whole.state_dict()))
    one, other = (load(tmp_path / name / "checkpoints" / f"last-{STEPS:08d}") for name in ("whole", "cut"))
    states = [found["optimizer_states"][0]["state"] for found in (one, other)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key][name], states[1][key][name]) for key in states[0] for name in states[0][key])
    logs = [
        [(row["step"], row.get(f"lr/{ENCODER}")) for row in found["counterpoint"]["history"]] for found in (one, other)
    ]
    assert logs[0] == logs[1]


def test_two_ranks_with_a_part_that_waits_equal_one_process(tmp_path: Path) -> None:
    distributed_run.main("staged", tmp_path / "one", 1)
    one, two = weights_after(tmp_path / "one", STEPS), launch("staged", tmp_path / "two", 2)
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-6, rtol=0, msg=name)
    first = of(dict(task_of({}).state_dict()), ENCODER)
    assert not any(torch.equal(value.float(), first[name]) for name, value in of(two, ENCODER).items())


def toys(**settings: Any) -> tuple[nn.Module, nn.Module]:
    factories = {name: partial(FrozenToy, **settings) for name in ("video", "sound")}
    model = build_model({"video": SPEC, "sound": SPEC}, factories, Gated)
    return model, InfoNCE(ObjectiveSpec(model.dims, {}, (), {}))


def test_a_name_that_decides_nothing_is_refused_with_what_there_is() -> None:
    with pytest.raises(
        ValueError, match=r"'encoders.vidoe' is no part of this model.*encoders.video, encoders.video.pr"
    ):
        freeze(*toys(), {"encoders.vidoe": Part()})
    with pytest.raises(ValueError, match=r"'encoders.video.model' is frozen already.*unfreeze.*encoders.sound.project"):
        freeze(*toys(), {"encoders.video.model": Part(rate=0.1)})
    with pytest.raises(ValueError, match=r"^optimizer.parts: '' is no part"):
        freeze(*toys(), {"": Part()})
    model, objective = toys(unfreeze=1)
    freeze(model, objective, {"encoders.video.model": Part(rate=0.0)})
    video, sound = (model.get_submodule(f"encoders.{name}.model") for name in ("video", "sound"))
    assert not any(weight.requires_grad for weight in video.parameters())
    assert any(weight.requires_grad for weight in sound.parameters())
    assert any(module.training for module in sound.modules())


RECIPE = Recipe(data=ToneData, encoders={"tone": OneLayer}, objective=InfoNCE, trainer=Trainer(batch_size=12))


def test_check_knows_the_parts_before_a_step_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToneData, "report", lambda self: {"counts": {}, "classes": {}})
    said = run.check(replace(RECIPE, optimizer=Optimizer(parts={ENCODER: Part(rate=0.0)})))
    assert "model: 96 parameters, 0 trained" in said
    with pytest.raises(
        ValueError, match=r"'encoders.text' is no part.*encoders.tone.convolve, objective, objective.head"
    ):
        run.check(replace(RECIPE, optimizer=Optimizer(parts={"encoders.text": Part(rate=0.5)})))


def test_parts_are_written_in_a_recipe_and_out_again(tmp_path: Path) -> None:
    path = tmp_path / "optimizer.yaml"
    path.write_text("lr: 1e-3\nparts: {encoders.text: {rate: 0.5}, fusion: {start: 0.1}}\n")
    found = config.load(path, Optimizer)
    assert found.parts == {"encoders.text": Part(rate=0.5), "fusion": Part(start=0.1)}
    path.write_text(config.dump(found))
    assert config.load(path, Optimizer) == found
    assert config.load(path, Optimizer, ["parts={encoders.text: {rate: 0}}"]).parts == {"encoders.text": Part(rate=0.0)}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"rate": -0.1}, "rate is -0.1"),
        ({"rate": math.inf}, "rate is inf"),
        ({"start": 1.0}, "start is 1.0"),
        ({"rate": 0.0, "start": 0.5}, "never starts"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Part(**values)


def test_fine_tuning_keeps_the_factors_of_parts() -> None:
    before = Optimizer(parts={"encoders.video": Part(rate=0.5, start=0.2), "objective": Part(rate=4.0)})
    transfer = Transfer(lr=1e-3, encoder_lr=1e-4, classifier_lr=1e-2, freeze=0.3)
    model, objective = toys()
    names = {id(weight): name for name, weight in model.named_parameters()}
    for start, encoders, classifier, first in (("pretrained", 1e-4, 1e-2, 0.0), ("scratch", 1e-3, 1e-3, 1.0)):
        chosen = applicable(tuning(transfer, before, start), model, objective)  # type: ignore[arg-type]
        freeze(model, objective, chosen.parts)
        for group, factor in zip(
            *groups(model, objective, replace(chosen, schedule="constant", warmup=0.0), 10), strict=True
        ):
            for weight in group["params"]:
                name = names.get(id(weight), "objective")
                wanted = classifier if name == "objective" else encoders
                assert group["lr"] == pytest.approx(wanted * (0.5 if name.startswith("encoders.video.") else 1.0)), name
                assert [factor(2), factor(3)] == [1.0 if name == "objective" else first, 1.0]
    without = applicable(tuning(transfer, before, "pretrained"), *toy_model())
    assert set(without.parts) == {"encoders"}, "neither a fusion without weights nor a modality that is not there"


def test_a_rate_of_nothing_in_fine_tuning_freezes_the_model() -> None:
    model, objective = toy_model()
    chosen = applicable(tuning(Transfer(encoder_lr=0.0, freeze=0.5), Optimizer(), "pretrained"), model, objective)
    freeze(model, objective, chosen.parts)
    assert not any(weight.requires_grad for weight in model.parameters())


def test_a_weight_of_both_is_trained_once() -> None:
    model, objective = toy_model()
    encoder: Any = model.encoders["tone"]
    objective.tied = encoder.convolve
    found, _ = groups(model, objective, Optimizer(), 10)
    assert sum(weight is encoder.convolve.weight for group in found for weight in group["params"]) == 1
