"""A toy recipe with its roles, for the tests of configuration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Annotated, Any, Literal, final

import pytest
from pydantic import Field

from counterpoint.config import (
    ConfigError,
    Factory,
    load,
)


class Objective(ABC):
    """What is thrown away."""

    @abstractmethod
    def loss(self) -> float: ...


@final
class InfoNCE(Objective):
    """Noise contrastive estimation."""

    def __init__(self, dim: int, /, *, temperature: Annotated[float, Field(gt=0)] = 0.07, copy: bool = False) -> None:
        """Remember the arguments.

        Args:
            dim: width, supplied by the program.
            temperature: divides the similarities;
                the smaller, the harder.
            copy: a name pydantic's own models use.
        """
        self.arguments = (dim, temperature, copy)

    def loss(self) -> float:
        return 0.0


@final
class SupCon(Objective):
    """Supervised contrast."""

    def __init__(self, dim: int, /, *, weights: Sequence[float], mode: Literal["in", "out"] = "out") -> None:
        self.arguments = (dim, weights, mode)

    def loss(self) -> float:
        return 0.0


class Transform(ABC):
    @abstractmethod
    def apply(self, x: float) -> float: ...


@final
@dataclass(frozen=True)
class Jitter(Transform):
    """Noise.

    Attributes:
        sigma: its deviation, in units of the signal.
    """

    sigma: float = 0.1

    def __post_init__(self) -> None:
        if self.sigma < 0:
            raise ValueError(f"sigma is {self.sigma}; a deviation is not negative")

    def apply(self, x: float) -> float:
        return x + self.sigma


@final
@dataclass(frozen=True)
class Chain(Transform):
    steps: list[Transform]

    def apply(self, x: float) -> float:
        for step in self.steps:
            x = step.apply(x)
        return x


@final
class Forgetful(Transform):
    """Breaks the rule for instances."""

    def apply(self, x: float) -> float:
        return x


@dataclass(frozen=True)
class Optimizer:
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)


@final
class Plain:
    def __init__(self, *, size: int = 3) -> None:
        self.size = size


@dataclass(frozen=True)
class Recipe:
    """A toy.

    Args:
        root: folder of the recordings.
    """

    root: Path
    objective: Factory[Objective]
    transforms: list[Transform] = field(default_factory=lambda: [Jitter(), Chain([Jitter(0.5)])])
    heads: dict[str, Factory[Objective]] = field(default_factory=dict)
    optimizer: Optimizer = Optimizer()
    extra: Factory[Plain] = Plain
    steps: int | Literal["auto"] = "auto"
    note: str | None = None
    seeds: tuple[int, ...] = (0,)
    names: dict[int, str] = field(default_factory=dict)
    spare: Factory[Objective] | None = None


def at(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(dedent(text))
    return path


def complaints(source: Any, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(source, Recipe, overrides)
    assert str(caught.value).splitlines() == [str(problem) for problem in caught.value.problems]
    return str(caught.value).replace(str(source), "recipe.yaml").splitlines()


GOOD: dict[str, Any] = {"root": "r", "objective": "InfoNCE"}
