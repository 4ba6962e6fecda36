"""What a trained model answers by: attributions of its inputs, and the weights of its attention and gates."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from counterpoint.data.base import Data
from counterpoint.evaluate.attributing import Attributions, attribution_lines
from counterpoint.explain.attending import attended
from counterpoint.explain.attributing import FOLDER, attributed, check
from counterpoint.recipe import Recipe, of_run
from counterpoint.snapshot import read_json, write_json

__all__ = ["attended", "attribute", "attributed", "check", "explained", "forget"]


def explained(recipe: Recipe, data: Data, folder: Path) -> dict[str, Any]:
    """The keys ``attributions`` and ``attention`` of the scores, of the first cell; empty where there is nothing.

    Args:
        recipe: of the run.
        data: its data.
        folder: of the run; what stands there already is read.
    """
    asked = recipe.evaluation.attributions
    return {
        "attributions": {} if asked is None else attributed(recipe, data, folder, asked),
        "attention": attended(recipe, data, folder),
    }


def forget(folder: Path) -> None:
    """Remove what was computed, so that it is computed anew."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    for path in folder.glob("cells/*/attention.json"):
        path.unlink()


def attribute(folder: Path, settings: Attributions, plugins: Sequence[str] = ()) -> str:
    """Attribute test rows of a trained run anew, put the account into its scores, and say what it comes to.

    Args:
        folder: the run.
        settings: how many rows and steps, and from where.
        plugins: modules that the run's recipe needs.

    Raises:
        ValueError: as ``attributed``.
    """
    recipe = of_run(folder, plugins)
    data = recipe.data()
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    found = attributed(recipe, data, folder, settings)
    scores = folder / "scores.json"
    if scores.is_file():
        write_json(scores, read_json(scores) | {"attributions": found})
    return "\n".join([*attribution_lines({"attributions": found}), f"wrote {folder / FOLDER}"])
