"""Small random models of the real classes, saved as published ones are: recipes of backbones tried without a download.

Wide and shallow: one random layer over fine patches keeps more of a picture than a deep random network does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from counterpoint.encoders.pretrained.weights import library

WIDTH = 96
_COMMON = {"hidden_size": WIDTH, "num_attention_heads": 4, "num_hidden_layers": 1}
_SIZES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "vjepa2": (
        "VJEPA2Config",
        "VJEPA2Model",
        {
            **_COMMON,
            "patch_size": 16,
            "crop_size": 64,
            "pred_hidden_size": 24,
            "pred_num_attention_heads": 2,
            "pred_num_hidden_layers": 1,
        },
    ),
    "dinov2": ("Dinov2Config", "Dinov2Model", {**_COMMON, "patch_size": 14, "image_size": 98}),
    "ast": (
        "ASTConfig",
        "ASTModel",
        {**_COMMON, "intermediate_size": 2 * WIDTH, "max_length": 256, "frequency_stride": 16, "time_stride": 8},
    ),
}


def save(folder: Path, seed: int = 0) -> list[Path]:
    """Write a model of each class with ``save_pretrained``: ``vjepa2`` for videos, ``dinov2`` for photographs, ``ast``.

    Args:
        folder: to write to; its parents are made.
        seed: of the weights.

    Returns:
        The folders, which encoders take as ``weights``.

    Raises:
        ImportError: where ``transformers`` is not installed.
    """
    hub = library("model stand-ins")
    written = []
    with torch.random.fork_rng(devices=[]):
        for name, (config, model, sizes) in _SIZES.items():
            torch.manual_seed(seed)
            getattr(hub, model)(getattr(hub, config)(**sizes)).save_pretrained(folder / name)
            written.append(folder / name)
    return written
