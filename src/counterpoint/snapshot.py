"""What a run was made of, written before its first step: recipe, data, code and environment."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from counterpoint import config
from counterpoint.data.base import Data
from counterpoint.recipe import Recipe


def prepare(folder: Path, recipe: Recipe, data: Data, overwrite: bool) -> None:
    """Make the run folder, or see that the one there is of the same recipe and the same data."""
    text, account = config.dump(recipe), data.report() | {"audit": {f: data.audit(f) for f in data.folds}}
    if overwrite and folder.exists():
        shutil.rmtree(folder)
    if (folder / "recipe.yaml").is_file():
        if (folder / "recipe.yaml").read_text(encoding="utf-8") != text:
            raise ValueError(
                f"{folder} holds a run of another recipe; choose --out, or --overwrite to start anew there"
            )
        if read_json(folder / "data.json")["sources"] != account["sources"]:
            raise ValueError(f"the data changed since {folder} was begun; choose --out or --overwrite")
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "data.json", account)
    write_json(folder / "environment.json", _environment())
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")


def _environment() -> dict[str, Any]:
    import torch

    packages = ("counterpoint", "torch", "lightning", "numpy", "scikit-learn", "h5py")
    git = shutil.which("git")
    commit = ""
    if git:
        asked = subprocess.run([git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
        commit = asked.stdout.strip()
    return {
        "python": sys.version.split()[0],
        **{name: version(name) for name in packages},
        "machine": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "accelerator": str(torch.accelerator.current_accelerator() or "cpu"),
        "git commit of the working directory": commit or "none",
    }


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that whoever finds the file finds the whole of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".tmp")
    scratch.write_text(json.dumps(value, indent=1), encoding="utf-8")
    scratch.replace(path)


def read_json(path: Path) -> Any:
    """What a JSON file holds."""
    return json.loads(path.read_text(encoding="utf-8"))
