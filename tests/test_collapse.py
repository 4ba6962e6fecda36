"""A posterior collapse is named by what the log shows, inside 50 checks; a healthy run is not."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from counterpoint.data.clinical import Clinical, EventConfig, LongTable, Outcome
from counterpoint.data.splits import ByGroup
from counterpoint.data.synthetic.stays import generate
from counterpoint.encoders.set_sequence import SequenceLayers, SetLayers, SetSequence
from counterpoint.log import Record
from counterpoint.objectives import SetVAE
from counterpoint.objectives.set_vae import Divergence
from counterpoint.recipe import Recipe, train_cell
from counterpoint.settings import Checkpoints, Monitor, Optimizer, Trainer
from counterpoint.watch import findings

CHECKS = 50


@pytest.fixture(scope="module")
def stays(tmp_path_factory: pytest.TempPathFactory) -> Clinical:
    folder = generate(tmp_path_factory.mktemp("stays") / "simulated", stays=120, seed=1)
    return Clinical(
        stays=LongTable(
            tables=[folder / "events.parquet"], outcomes=[folder / "outcomes.csv"], stay="record_id", missing=[-1.0]
        ),
        outcome=Outcome(column="In-hospital_death", names={"0": "survived", "1": "died"}),
        events=EventConfig(horizon_hours=8.0, categorical=["ICUType"]),
        split=ByGroup(test=0.2, valid=0.0),
    )


def history(stays: Clinical, divergence: Divergence, folder: Path) -> list[Record]:
    """The log of 50 checks, two steps each."""
    recipe = Recipe(
        data=partial(Clinical),
        encoders={
            "events": partial(
                SetSequence, dim=32, latent=16, sets=SetLayers(dim=16, points=2), sequence=SequenceLayers(heads=2)
            )
        },
        objective=partial(SetVAE, divergence=divergence, width=32),
        optimizer=Optimizer(lr=5e-3),
        trainer=Trainer(
            epochs=17,
            batch_size=16,
            monitor=Monitor(log_every=2),
            checkpoints=Checkpoints(keep_last=1),
        ),
    )
    return train_cell(recipe, stays, "main", 0, folder).history[:CHECKS]


def test_a_collapsed_run_is_named_with_raw_kl_and_active_units(stays: Clinical, tmp_path: Path) -> None:
    log = history(stays, Divergence(beta=100.0), tmp_path)
    sentence = findings(log).get("posterior collapse", "")
    assert "0 of 16 latent dimensions" in sentence
    assert "raw KL is 0.0" in sentence
    assert "Lower objective.divergence.beta" in sentence
    first = next(checks for checks in range(len(log)) if "posterior collapse" in findings(log[:checks]))
    assert first < CHECKS


def test_a_healthy_run_is_not(stays: Clinical, tmp_path: Path) -> None:
    log = history(stays, Divergence(), tmp_path)
    assert len(log) == CHECKS
    assert all("posterior collapse" not in findings(log[:checks]) for checks in range(len(log)))
    assert log[-1]["train/active_units"] > 8
    assert log[-1]["train/kl"] > 1
    assert log[-1]["train/mutual_information"] > 1
