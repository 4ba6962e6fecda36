"""Run every claim, one after another, and write RESULTS.md: ``python benchmarks/run.py [NAME ...]``."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

FOLDER = Path(__file__).parent
NO_CLAIM = {"run", "rivals"}


def main(names: list[str]) -> None:
    scripts = sorted(path for path in FOLDER.glob("*.py") if path.stem not in NO_CLAIM)
    chosen = [path for path in scripts if not names or path.stem in names]
    results = FOLDER / "RESULTS.md"
    sections = _read(results)
    for path in chosen:
        print(f"{path.name} ...", flush=True)
        found = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=True)
        title = (path.read_text(encoding="utf-8").split('"""')[1]).strip().split("\n\n")[0].replace("\n", " ")
        machine = (
            f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        )
        load = os.getloadavg()[1]
        when = f"{datetime.now(UTC):%Y-%m-%d}, {machine}, load of the machine while measured {load:.1f}."
        sections[path.stem] = f"{title}\n\n{found.stdout.strip()}\n\n{when}"
        _write(results, sections)


def _read(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    parts = path.read_text(encoding="utf-8").split("\n## ")[1:]
    return {part.split("\n", 1)[0].strip("`").removesuffix(".py"): part.split("\n", 1)[1].strip() for part in parts}


def _write(path: Path, sections: dict[str, str]) -> None:
    head = "# What was measured\n\nEvery table is what its script printed; `make bench` runs them all.\n"
    body = "".join(f"\n## `{name}.py`\n\n{sections[name]}\n" for name in sorted(sections))
    path.write_text(head + body, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
