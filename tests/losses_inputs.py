"""inputs of losses, and comparisons of value and gradients, that several tests use."""

from __future__ import annotations

import subprocess
from types import ModuleType

import pytest
import torch
from torch import Tensor

import rivals


def open_clip() -> ModuleType:
    """open_clip's loss.py alone, from its wheel: the package itself needs torchvision."""
    try:
        return rivals.open_clip()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"pip cannot download open_clip_torch: {error.stderr.strip()[-200:]}")


def rows(count: int, width: int = 6, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    made = torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (made * torch.linspace(0.5, 3, count, dtype=torch.float64)[:, None]).to(dtype).requires_grad_()


def number(value: float, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor(value, dtype=dtype, requires_grad=True)


def at(degrees: list[float]) -> Tensor:
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack((angles.cos(), angles.sin()), dim=1)


def assert_same(ours: Tensor, reference: Tensor, inputs: list[Tensor], tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(ours, reference, rtol=tolerance, atol=tolerance)
    for mine, theirs in zip(torch.autograd.grad(ours, inputs), torch.autograd.grad(reference, inputs), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance)


def keys_of(count: int) -> list[Tensor]:
    ids = torch.arange(count) // 2
    ids[:2] = -1
    labels = torch.arange(count) * 7 % 5 - 1
    return [ids, labels]
