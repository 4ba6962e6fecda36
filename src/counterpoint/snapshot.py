"""What a run was made of, written before its first step: recipe, data, code and environment."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch

from counterpoint import config
from counterpoint.data.base import Data
from counterpoint.recipe import Recipe

LOG = logging.getLogger("counterpoint")
_SHOWN = 3
_FIRST = ("counterpoint", "torch", "lightning", "numpy", "scikit-learn")
_BITS = ("python", "cpu", "accelerator", "threads", "packages")
"""What has to stay for a resumed run to equal one that was never interrupted to the bit."""


def prepare(folder: Path, recipe: Recipe, data: Data, overwrite: bool) -> None:
    """Make the run folder, or see that the one there is of the same recipe and the same data.

    Raises:
        ValueError: if it is of others; of changed data it names the files.
    """
    text, account = config.dump(recipe), data.report() | {"audit": {f: data.audit(f) for f in data.folds}}
    account["group_names"] = list(data.group_names)
    if overwrite and folder.exists():
        shutil.rmtree(folder)
    if (folder / "recipe.yaml").is_file():
        if (folder / "recipe.yaml").read_text(encoding="utf-8") != text:
            raise ValueError(
                f"{folder} holds a run of another recipe; choose --out, or --overwrite to start anew there"
            )
        if told := _differences(read_json(folder / "data.json")["sources"], account["sources"]):
            raise ValueError(f"the data changed since {folder} was begun: {told}; choose --out or --overwrite")
        _compare_environment(folder / "environment.json", environment(recipe))
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "data.json", account | {"fingerprint": fingerprint(account["sources"])})
    write_json(folder / "environment.json", environment(recipe))
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")


def changes(folder: Path, data: Data) -> list[str]:
    """What changed of the data since a run was begun, in a sentence; empty where nothing did.

    Args:
        folder: of the run.
        data: as they are now.
    """
    told = _differences(read_json(folder / "data.json")["sources"], data.report()["sources"])
    return [f"the data are not those of the training: {told}; scores may be of rows that were trained on"] * bool(told)


def fingerprint(sources: Sequence[Mapping[str, Any]]) -> str:
    """One digest (sha256) over all sources, in their order: names without folders, sizes and digests."""
    lines = [f"{Path(one['path']).name} {one['bytes']} {one['sha256']}\n" for one in sources]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _differences(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> str:
    """Which sources are others, for people; "" where all are the same, though perhaps elsewhere."""
    if fingerprint(old) == fingerprint(new):
        return ""
    before, after = ({str(one["path"]): one["sha256"] for one in some} for some in (old, new))
    told = [f"{path} has other contents" for path in before if path in after and before[path] != after[path]]
    told += [f"{path} is gone" for path in before if path not in after]
    told += [f"{path} is new" for path in after if path not in before]
    told = told or ["its files come in another order"]
    return ", ".join(told[:_SHOWN]) + (f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else "")


def environment(recipe: Recipe) -> dict[str, Any]:
    """All beside recipe and data that decides a run, and how to find the recipe again.

    Args:
        recipe: of the run.

    Returns:
        JSON-able; ``packages`` maps every installed distribution to its version.
    """
    packages = {one.name: one.version for one in distributions() if one.name}
    packages = {name: packages[name] for name in sorted(packages, key=str.lower)}
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "recipe sha256": hashlib.sha256(config.dump(recipe).encode()).hexdigest(),
        "seeds": ", ".join(map(str, recipe.seeds)),
        "precision": recipe.trainer.hardware.precision,
        **_git(),
        "python": platform.python_version(),
        **{name: packages.get(name, "none") for name in _FIRST},
        "cuda": torch.version.cuda or "none",
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "accelerator": _accelerator(),
        "threads": torch.get_num_threads(),
        "threads between operations": torch.get_num_interop_threads(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "not set"),
        "packages": packages,
    }


def _git() -> dict[str, str]:
    """Commit and state of the working directory, of whose files only those that git tracks count."""
    git = shutil.which("git")
    if not git:
        return {"git commit of the working directory": "none", "git tree": "none"}

    def asked(*words: str) -> str:
        return subprocess.run([git, *words], capture_output=True, text=True, check=False).stdout.strip()

    commit = asked("rev-parse", "HEAD")
    changed = asked("status", "--porcelain", "--untracked-files=no").splitlines() if commit else []
    tree = f"dirty: {len(changed)} tracked files differ from the commit" if changed else "clean"
    return {"git commit of the working directory": commit or "none", "git tree": tree if commit else "none"}


def _cpu() -> str:
    """Its name, where the system tells."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8", errors="replace").splitlines() if told.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _accelerator() -> str:
    kind = torch.accelerator.current_accelerator()
    if kind is None:
        return "none"
    if kind.type != "cuda":
        return f"{torch.accelerator.device_count()} x {kind.type}"
    return ", ".join(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))


def _compare_environment(path: Path, now: Mapping[str, Any]) -> None:
    """Say in the log what a resumed run does not share with its beginning."""
    before = read_json(path) if path.is_file() else {}
    told = []
    for name in (name for name in _BITS if name in before and before[name] != now[name]):
        if name != "packages":
            told.append(f"{name} was {before[name]} and is {now[name]}")
            continue
        known = {**before[name], **now[name]}
        other = [one for one in known if before[name].get(one) != now[name].get(one)]
        told += [f"{one} was {before[name].get(one, 'absent')} and is {now[name].get(one, 'absent')}" for one in other]
    if told:
        more = f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
        LOG.warning(
            "the environment changed since the run was begun: %s%s; its numbers may differ in the last bits from those "
            "of a run that was never interrupted",
            ", ".join(told[:_SHOWN]),
            more,
        )


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that whoever finds the file finds the whole of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".tmp")
    scratch.write_text(json.dumps(value, indent=1), encoding="utf-8")
    scratch.replace(path)


def read_json(path: Path) -> Any:
    """What a JSON file holds."""
    return json.loads(path.read_text(encoding="utf-8"))
