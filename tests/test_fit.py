"""Training as configured: every production setting trains, the log is right, bad losses stop the run."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from counterpoint.checkpoint import load, newest_valid
from counterpoint.data.base import Draw
from counterpoint.data.sampling import stream_length
from counterpoint.fit import fit
from counterpoint.log import read_log
from counterpoint.settings import Checkpoints, EarlyStopping, Hardware, Monitor, Trainer
from counterpoint.task import NonFiniteLossError, Task
from counterpoint.types import Batch, Signal
from toys import Tones, toy_task


def train(folder: Path, settings: Trainer, rows: Tones | None = None) -> Task:
    rows = rows or Tones(24)
    total, _ = stream_length(rows, settings.batch_size, settings.epochs)
    task = toy_task(-(-total // settings.accumulate), log_every=settings.monitor.log_every)
    fit(task, rows, Tones(12, repeats=2), settings=settings, seed=0, folder=folder)
    return task


BASE = Trainer(epochs=3, batch_size=12, monitor=Monitor(log_every=4))
SETTINGS = {
    "as it is": BASE,
    "bf16": replace(BASE, hardware=Hardware(accelerator="cpu", precision="bf16-mixed")),
    "float64": replace(BASE, hardware=Hardware(accelerator="cpu", precision="64-true")),
    "workers": replace(BASE, hardware=Hardware(workers=2)),
    "accumulation": replace(BASE, accumulate=2),
    "no clipping": replace(BASE, clip_norm=0),
    "early stopping": replace(BASE, early_stopping=EarlyStopping(patience=1, min_delta=100.0)),
    "top two": replace(BASE, checkpoints=Checkpoints(top_k=2)),
    "tensorboard, device": replace(BASE, monitor=Monitor(log_every=4, trackers=["tensorboard"], device_stats="on")),
    "profiler": replace(BASE, monitor=Monitor(log_every=4, profiler="simple")),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_trains_and_leaves_its_traces(tmp_path: Path, name: str) -> None:
    settings = SETTINGS[name]
    task = train(tmp_path, settings)
    log = read_log(tmp_path / "metrics.csv")
    assert [record.get("train/loss") is not None or "valid/loss" in record for record in log] == [True] * len(log)
    assert log[0]["train/collapse"] == pytest.approx(math.log(12))
    validations = [record for record in log if "valid/loss" in record]
    assert len(validations) == (2 if settings.early_stopping else 3)
    kept = sorted(path.name[:5] for path in (tmp_path / "checkpoints").iterdir())
    assert kept.count("best-") == settings.checkpoints.top_k
    assert kept.count("last-") == 2
    if name == "tensorboard, device":
        assert list(tmp_path.rglob("events.out*"))
    assert all(bool(torch.isfinite(p).all()) for p in task.parameters())


@pytest.mark.nightly
def test_compiled(tmp_path: Path) -> None:
    rows = Tones(24)
    task, compiled = (toy_task(stream_length(rows, 12, 3)[0], dropout=0.0, log_every=4) for _ in range(2))
    fit(task, rows, Tones(12, repeats=2), settings=BASE, seed=0, folder=tmp_path / "eager")
    compiled.model.compile(mode="default")
    fit(compiled, rows, Tones(12, repeats=2), settings=BASE, seed=0, folder=tmp_path / "compiled")
    weights, own = compiled.model.state_dict(), task.model.state_dict()
    assert list(weights) == list(own), "a checkpoint of a compiled model is a checkpoint"
    for name, value in own.items():
        torch.testing.assert_close(weights[name], value, atol=1e-3, rtol=0, msg=name)


def test_workers_read_the_same_stream(tmp_path: Path) -> None:
    thread, workers = (train(tmp_path / n, SETTINGS[n]) for n in ("as it is", "workers"))
    for one, other in zip(thread.parameters(), workers.parameters(), strict=True):
        assert torch.equal(one, other)


def test_best_is_the_step_with_the_best_score(tmp_path: Path) -> None:
    train(tmp_path, BASE)
    log = [record for record in read_log(tmp_path / "metrics.csv") if "valid/loss" in record]
    best, _ = newest_valid(tmp_path / "checkpoints", "best-")
    assert best is not None
    assert int(best.name.removeprefix("best-")) == min(log, key=lambda record: record["valid/loss"])["step"]


def test_an_unknown_monitor_is_named_with_what_there_is(tmp_path: Path) -> None:
    settings = replace(BASE, checkpoints=Checkpoints(monitor="valid/auroc"))
    with pytest.raises(ValueError, match=r"trainer.checkpoints.monitor is 'valid/auroc'.*'valid/loss'"):
        train(tmp_path, settings)


class Poisoned(Tones):
    """Tones in which recording 3 is not a number."""

    def __getitems__(self, draws: list[Draw]) -> Batch:
        batch = super().__getitems__(draws)
        for view in batch.views:
            values = view["tone"].values.clone()
            values[batch.ids == 3] = math.nan
            view["tone"] = Signal(values)
        return batch


def test_a_loss_that_is_no_number_stops_before_anything_is_saved(tmp_path: Path) -> None:
    settings = replace(BASE, checkpoints=Checkpoints(every_n_steps=1))
    with pytest.raises(NonFiniteLossError, match=r"the loss of batch \d+ is nan. Its recordings: .*\b3\b"):
        train(tmp_path, settings, Poisoned(24))
    newest, _ = newest_valid(tmp_path / "checkpoints")
    if newest is not None:
        assert all(bool(torch.isfinite(value).all()) for value in load(newest)["state_dict"].values())
