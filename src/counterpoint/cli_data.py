"""The commands under ``counterpoint data``: import, generate and describe recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from counterpoint.console import complain

data_app = typer.Typer(no_args_is_help=True, help="Import, generate and describe recordings.")


@data_app.command("import", epilog="Example: counterpoint data import cwru downloads/cwru data/cwru")
@complain
def import_(
    kind: Annotated[
        Literal["cwru", "physionet2012", "radhar"],
        typer.Argument(
            help="cwru: a folder of the .mat files as published, or of signals_int16.npz. "
            "physionet2012: a folder with set-a, set-b and the outcomes as published, or events_a.parquet. "
            "radhar: the repository's folder Data with Train and Test, or a folder of its view maps as .npz."
        ),
    ],
    source: Annotated[Path, typer.Argument(help="Folder to read.")],
    destination: Annotated[Path, typer.Argument(help="Folder to write to.")],
    captions: Annotated[
        Path | None, typer.Option(help="Of radhar: annotations of KIT-ML (.json, .json.gz) to pair by activity.")
    ] = None,
) -> None:
    """Convert a published collection to tables and files that read fast."""
    if kind == "radhar":
        from counterpoint.data.radar.radhar import import_radhar

        print(f"wrote {import_radhar(source, destination, captions=captions)}")
        return
    if captions is not None:
        raise typer.BadParameter(f"radhar has captions, {kind} has none", param_hint="--captions")
    if kind == "physionet2012":
        from counterpoint.data.clinical.challenge import import_physionet2012

        print(f"wrote {import_physionet2012(source, destination)}")
        return
    from counterpoint.data.vibration.cwru import import_cwru

    print(f"wrote {import_cwru(source, destination)}")


Simulated = Annotated[
    Literal["bearings", "stays", "welds", "radar", "spectra"],
    typer.Argument(
        help="bearings: a fleet; stays: patients in intensive care; welds: runs of a welding robot; "
        "radar: people in front of a 77 GHz radar, with sentences; "
        "spectra: specimens with Raman scans and a table."
    ),
]
Count = Annotated[
    int | None,
    typer.Option(help="How many; 24 bearings, 1000 stays, 96 welds, 1000 radar clips, 400 specimens by default."),
]
Layout = Annotated[
    Literal["long", "physionet2012", "folder"] | None,
    typer.Option(help="Of stays: a long table (default), a text file a stay, or a Parquet file a stay."),
]
Motions = Annotated[
    Path | None,
    typer.Option(help="Of radar: a folder of recorded motions as HumanML3D has them, in place of simulated ones."),
]


@data_app.command(epilog="Example: counterpoint data generate bearings data/fleet --seed 1")
@complain
def generate(
    kind: Simulated,
    destination: Annotated[Path, typer.Argument(help="Folder to write to.")],
    seed: Annotated[int, typer.Option(help="Of the simulator.")] = 0,
    count: Count = None,
    layout: Layout = None,
    motions: Motions = None,
) -> None:
    """Simulate recordings. What a simulator wrote says so in its metadata."""
    if motions is not None and kind != "radar":
        raise typer.BadParameter(f"{kind} have no motions, radar has", param_hint="--motions")
    if kind == "stays":
        from counterpoint.data.synthetic.stays import generate as generate_stays

        written = generate_stays(
            destination, stays=1000 if count is None else count, seed=seed, layout=layout or "long"
        )
        print(f"wrote {written}")
        return
    if layout is not None:
        raise typer.BadParameter(f"stays have layouts, {kind} have none", param_hint="--layout")
    if kind == "radar":
        from counterpoint.data.synthetic.radar import generate as generate_radar

        print(f"wrote {generate_radar(destination, count=count, seed=seed, recorded=motions)}")
        return
    if kind == "welds":
        from counterpoint.data.synthetic.welds import generate as generate_welds

        runs = 96 if count is None else count
        folders = max(min(24, runs // 2), runs // 4)
        print(f"wrote {generate_welds(destination, runs=runs, configurations=folders, seed=seed)}")
        return
    if kind == "spectra":
        print(_spectra(destination, 400 if count is None else count, seed))
        return
    from counterpoint.data.synthetic.bearings import generate as generate_bearings

    print(f"wrote {generate_bearings(destination, bearings=24 if count is None else count, seed=seed)}")


def _spectra(destination: Path, count: int, seed: int) -> str:
    from counterpoint.data.synthetic.spectra import generate as generate_spectra
    from counterpoint.data.synthetic.spectra_truth import bayes_rates, in_words

    return f"wrote {generate_spectra(destination, count=count, seed=seed)}\n{in_words(bayes_rates())}"


@data_app.command(epilog="Example: counterpoint data describe my/recordings --recipe my.yaml")
@complain
def describe(
    folder: Annotated[Path, typer.Argument(help="Folder of recordings or of stays; any other is told what is known.")],
    recipe: Annotated[Path | None, typer.Option(help="Also write a recipe for it.")] = None,
) -> None:
    """Say what a folder holds and how it is understood.

    Recordings are a metadata table and an HDF5 file. Stays of patients are text files as PhysioNet 2012 has them, small
    Parquet files divided into train, valid and test, or long tables with a row an event.
    """
    from counterpoint import start

    print(start.describe(folder))
    if recipe is not None:
        start.write_recipe(folder, recipe)
        print(f"wrote {recipe}; next: counterpoint train {recipe}")
