"""A run from recipe to report, kept in a folder that every later command reads."""

from __future__ import annotations

import json
import logging
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from counterpoint import config
from counterpoint.data.base import Data
from counterpoint.evaluate.results import Result, render
from counterpoint.recipe import Recipe, build, load, read, train_cell
from counterpoint.report import write_report
from counterpoint.scores import cell_folder, judge_cell, judge_fold, judge_transfer, summarise

LOG = logging.getLogger("counterpoint")


def check(recipe: Recipe) -> str:
    """Read the data, divide them, build the model, and say what was found.

    Raises:
        ValueError: for what cannot work: unusable recordings, splits that leak, a model that does not fit.
    """
    data = recipe.data()
    refuse_leaks(data)
    model, objective = build(recipe, data, recipe.seeds[0])
    lines = [f"data: {json.dumps(data.report()['counts'])}, classes {', '.join(data.classes) or 'none'}"]
    for fold in data.folds:
        sizes = {split: len(data.evaluation(fold, split)) for split in ("train", "valid", "test")}
        lines.append(f"fold {fold}: windows to evaluate {json.dumps(sizes)}, no overlap found")
    for name, module in (("model", model), ("objective", objective)):
        count = sum(p.numel() for p in module.parameters())
        trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
        lines.append(f"{name}: {count:,} parameters, {trained:,} trained")
    return "\n".join(lines)


def refuse_leaks(data: Data) -> None:
    """Raise ValueError if any fold has something on two sides."""
    found = [f"fold {fold}: {sentence}" for fold in data.folds for sentence in data.audit(fold)]
    if found:
        raise ValueError("the splits leak, and scores on them would mean nothing:\n  " + "\n  ".join(found))


def train(recipe: Recipe, folder: Path, *, overwrite: bool = False) -> str:
    """Train every fold with every seed, then evaluate and report.

    Run again on a folder that was interrupted, it goes on from the newest whole checkpoint.

    Args:
        recipe: what to run.
        folder: the run folder.
        overwrite: delete what is there.

    Returns:
        The table of scores and the verdict.
    """
    from lightning.pytorch.utilities import rank_zero_only

    data = recipe.data()
    refuse_leaks(data)
    leader = rank_zero_only.rank == 0
    if leader:
        _prepare(folder, recipe, data, overwrite)
    for fold in data.folds:
        for seed in recipe.seeds:
            cell = cell_folder(folder, fold, seed)
            if not (cell / "trained.json").is_file():
                LOG.info("training fold %s with seed %d", fold, seed)
                task = train_cell(recipe, data, fold, seed, cell)
                if leader:
                    _write_json(cell / "trained.json", {"position": task.position})
    if not leader:
        return ""
    _leave_the_group()
    return _judge(recipe, data, folder)


def evaluate(folder: Path) -> str:
    """Score a trained run again, from its checkpoints and its data, and write its report anew."""
    recipe = _recipe_of(folder)
    data = recipe.data()
    for stale in (folder / "baselines", *folder.glob("cells/*/transfer")):
        shutil.rmtree(stale, ignore_errors=True)
    return _judge(recipe, data, folder)


def embed(folder: Path, out: Path, overrides: Sequence[str]) -> str:
    """Embed every usable recording with the model of the first cell of a run.

    Args:
        folder: the run.
        out: a Parquet file.
        overrides: of the run's recipe, to point it at other recordings.
    """
    from counterpoint.embed import embed as embed_rows

    recipe = _recipe_of(folder)
    fold, seed = recipe.data().folds[0], recipe.seeds[0]
    changed = read(folder / "recipe.yaml", overrides)
    data = changed.data()
    model, _ = load(cell_folder(folder, fold, seed), data, changed)
    found = embed_rows(model, data, data.evaluation(data.folds[0], "all"))
    return f"wrote {len(found)} embeddings of fold {fold}, seed {seed} to {found.save(out)}"


def _judge(recipe: Recipe, data: Data, folder: Path) -> str:
    judged: list[Result] = []
    transferred: list[Result] = []
    for fold in data.folds if data.classes else ():
        judged += judge_fold(data, fold, folder)
        for seed in recipe.seeds:
            LOG.info("evaluating fold %s with seed %d", fold, seed)
            judged += judge_cell(recipe, data, fold, seed, folder)
            if recipe.evaluation.transfer:
                transferred += judge_transfer(recipe, data, fold, seed, folder)
    scores = summarise(recipe, judged, transferred)
    account = _read_json(folder / "data.json")
    scores |= {
        "name": folder.name,
        "simulated": account["simulated"],
        "findings": [],
        "command": f"counterpoint train {folder / 'recipe.yaml'} --out {folder}",
    }
    _write_json(folder / "scores.json", scores)
    report = write_report(folder)
    note = "The recordings are SIMULATED.\n" if account["simulated"] else ""
    return f"{render(scores['rows'])}\n\n{note}{scores['verdict']}\nReport: {report}"


def _prepare(folder: Path, recipe: Recipe, data: Data, overwrite: bool) -> None:
    """Make the run folder, or see that the one there is of the same recipe and the same data."""
    text, account = config.dump(recipe), data.report() | {"audit": {f: data.audit(f) for f in data.folds}}
    if overwrite and folder.exists():
        shutil.rmtree(folder)
    if (folder / "recipe.yaml").is_file():
        if (folder / "recipe.yaml").read_text(encoding="utf-8") != text:
            raise ValueError(
                f"{folder} holds a run of another recipe; choose --out, or --overwrite to start anew there"
            )
        if _read_json(folder / "data.json")["sources"] != account["sources"]:
            raise ValueError(f"the data changed since {folder} was begun; choose --out or --overwrite")
        return
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "data.json", account)
    _write_json(folder / "environment.json", _environment())
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")


def _recipe_of(folder: Path) -> Recipe:
    path = folder / "recipe.yaml"
    if not path.is_file():
        raise ValueError(f"{folder} is not a run folder: it has no recipe.yaml; `counterpoint train` makes one")
    return read(path)


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


def _leave_the_group() -> None:
    """After training the leader goes on alone; the others have left."""
    import torch.distributed as distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".tmp")
    scratch.write_text(json.dumps(value, indent=1), encoding="utf-8")
    scratch.replace(path)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
