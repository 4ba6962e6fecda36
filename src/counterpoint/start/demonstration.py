"""The demonstration: what a user does with recordings of theirs, on a fleet that is simulated."""

from __future__ import annotations

from pathlib import Path

from counterpoint import recipe as recipes
from counterpoint import run
from counterpoint.start.folder import describe, write_recipe

_BEARINGS = 40


def demo(folder: Path) -> str:
    """Simulate a fleet, describe it, write its recipe, train and judge.

    Args:
        folder: where to work; what an interrupted demonstration left there is gone on with.
    """
    from counterpoint.data.synthetic.bearings import generate

    fleet, path = folder / "fleet", folder / "recipe.yaml"
    if not (fleet / "metadata.csv").is_file():
        print(f"Simulating a fleet of {_BEARINGS} bearings into {fleet}. These recordings are SIMULATED.")
        generate(fleet, bearings=_BEARINGS)
    print(describe(fleet))
    if not path.is_file():
        write_recipe(fleet, path)
    print(f"Training by {path}.")
    table = run.train(recipes.read(path), folder / "run")
    return (
        f"{table}\n\nThe same on recordings of yours, a folder with a metadata table and an HDF5 file:\n"
        f"  counterpoint data describe <your folder> --recipe my.yaml\n  counterpoint train my.yaml"
    )
