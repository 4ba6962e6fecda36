"""Other people's code to be measured and tested against, taken alone from their wheels."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from types import ModuleType

OPEN_CLIP = "open_clip_torch==3.3.0"


@cache
def open_clip() -> ModuleType:
    """open_clip's loss.py; its package needs torchvision, so the one file is taken from the wheel.

    Raises:
        subprocess.CalledProcessError: if pip cannot download it.
    """
    folder = Path(tempfile.gettempdir()) / "counterpoint-open-clip"
    if not list(folder.glob("*.whl")):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", OPEN_CLIP, "-d", str(folder)]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        source = Path(wheel.extract("open_clip/loss.py", scratch))
        spec = importlib.util.spec_from_file_location("open_clip_loss", source)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module
