"""Train the toy: ``python distributed_run.py FOLDER DEVICES``. Lightning runs this file once a rank."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from counterpoint.data.sampling import stream_length
from counterpoint.fit import fit
from counterpoint.settings import Checkpoints, Hardware, Trainer
from toys import Tones, toy_task


def main(folder: Path, devices: int) -> None:
    torch.set_num_threads(1)
    settings = Trainer(
        epochs=2,
        batch_size=12,
        clip_norm=0.5,
        checkpoints=Checkpoints(every_n_steps=3),
        hardware=Hardware(accelerator="cpu", devices=devices, precision="64-true"),
    )
    rows, valid = Tones(24), Tones(12, repeats=2)
    task = toy_task(stream_length(rows, settings.batch_size, settings.epochs)[0], dropout=0.0)
    fit(task, rows, valid, settings=settings, seed=3, folder=folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
