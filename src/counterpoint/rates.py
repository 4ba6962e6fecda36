"""How fast each part of a model learns: a factor on the rate, a stage it waits for, or frozen for good.

A part is a module, or a single weight, by the dotted name a user sees: ``encoders.video.project``, ``fusion``,
``objective``. Every rate is a function of the step alone, so a resumed run needs nothing but its step; a plateau adds
one factor on all of them, which is kept with the state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import nn

from counterpoint.patience import Plateau as Plateau

OBJECTIVE = "objective"
"""First word of the names of the objective's parts; the model's begin with ``encoders`` or ``fusion``."""


@dataclass(frozen=True)
class Part:
    """How fast one part of the model or the objective learns.

    Args:
        rate: factor on the peak rate; 0 freezes the part for good: no gradient, evaluation mode.
        start: share of all steps during which the part does not move; then its own warm-up begins.
    """

    rate: float = 1.0
    start: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.rate < float("inf"):
            raise ValueError(f"rate is {self.rate}; it is a factor on optimizer.lr, 0 to freeze the part")
        if not 0 <= self.start < 1:
            raise ValueError(f"start is {self.start}; it is a share of all steps, 0 <= start < 1")
        if self.start and not self.rate:
            raise ValueError(f"start is {self.start} and rate 0: a part that is frozen for good never starts")


@dataclass(frozen=True, kw_only=True)
class StepDecay:
    """A rate that falls in steps.

    Args:
        gamma: factor on the rate at each fall, above 0 and at most 1.
        every: share of all steps between two falls, counted from the end of the warm-up.
    """

    gamma: float = 0.1
    every: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.gamma <= 1 or not 0 < self.every <= 1:
            raise ValueError(
                f"optimizer.step: gamma is {self.gamma} and every {self.every}; both are above 0 and at most 1"
            )


@dataclass(frozen=True)
class Optimizer:
    """AdamW with warm-up, no weight decay on biases, norms and scalars.

    Args:
        lr: peak learning rate.
        weight_decay: decoupled weight decay of the matrices.
        betas: decay of the moments.
        warmup: share of all steps over which the rate rises linearly from 0.
        schedule: what follows: half a cosine to 0, a line to 0, falls in steps, falls when a validated value stalls
            (``plateau``), or no change.
        step: how the rate falls in steps; only with ``schedule: step``.
        plateau: when it falls for want of progress, and how far; only with ``schedule: plateau``.
        parts: rates of parts by dotted name, as ``encoders.video.project``, ``encoders.text``, ``fusion`` or
            ``objective``; of several that fit, the longest name decides.
    """

    lr: float = 1e-3
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    warmup: float = 0.05
    schedule: Literal["cosine", "linear", "step", "plateau", "constant"] = "cosine"
    parts: dict[str, Part] = field(default_factory=dict)
    step: StepDecay | None = None
    plateau: Plateau | None = None

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise ValueError(f"lr is {self.lr}; it must be above 0")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is {self.warmup}; it is a share of all steps, 0 <= warmup < 1")
        for name, options in (("step", self.step), ("plateau", self.plateau)):
            if options is not None and self.schedule != name:
                raise ValueError(
                    f"optimizer.{name} is set and optimizer.schedule is {self.schedule!r}, which does not read it: "
                    f"set schedule to {name!r}, or leave {name} out"
                )

    @property
    def lowered(self) -> Plateau | None:
        """When the rates fall for want of progress; None where the schedule is another."""
        return (self.plateau or Plateau()) if self.schedule == "plateau" else None


_WHOLE = Part()


def freeze(model: nn.Module, objective: nn.Module, parts: Mapping[str, Part]) -> None:
    """Freeze the parts whose rate is 0: no gradient, so no graph is kept for them, and evaluation mode.

    Args:
        model: with its encoders and its fusion.
        objective: what it is trained with.
        parts: by name.

    Raises:
        ValueError: for a name that fits no trained weight, or where nothing is left to train.
    """
    weights = [one for owner in owners(model, objective) for one in owner]
    for name in parts:
        own = [weight for key, weight in weights if _within(key, name)]
        if not any(weight.requires_grad for weight in own):
            raise ValueError(_nothing(name, own, weights))
    for key, weight in weights:
        if _frozen(key, parts):
            weight.requires_grad_(False)
    if not any(weight.requires_grad for _, weight in weights):
        raise ValueError("nothing is left to train: every weight is frozen, by optimizer.parts or by its encoder")
    rest(model, objective, parts)


def applicable(settings: Optimizer, model: nn.Module, objective: nn.Module) -> Optimizer:
    """The settings without those parts of which this model and objective have no trained weight.

    For a model that has only some of the parts that the settings were written for.
    """
    trained = [name for owner in owners(model, objective) for name, weight in owner if weight.requires_grad]
    kept = {name: part for name, part in settings.parts.items() if any(_within(key, name) for key in trained)}
    return replace(settings, parts=kept)


def rest(model: nn.Module, objective: nn.Module, parts: Mapping[str, Part]) -> None:
    """Put the modules of frozen parts in evaluation mode, so that neither dropout nor statistics of norms move them."""
    for prefix, root in (("", model), (OBJECTIVE, objective)):
        for name, module in root.named_modules(prefix=prefix):
            if _frozen(name, parts):
                module.training = False  # of this one alone: a part within it may be trained


def groups(
    model: nn.Module, objective: nn.Module, settings: Optimizer, total_steps: int
) -> tuple[list[dict[str, Any]], list[Callable[[int], float]]]:
    """Groups of weights for AdamW, every trained weight in exactly one, and the schedule of each.

    Args:
        model: with its encoders and its fusion.
        objective: what it is trained with.
        settings: rates, decay and parts.
        total_steps: optimizer steps of the whole run.
    """
    found: list[dict[str, Any]] = []
    schedules = []
    for owner in owners(model, objective):
        trained = [(part_of(key, settings.parts), weight) for key, weight in owner if weight.requires_grad]
        for name in ("", *settings.parts):
            part = settings.parts.get(name, _WHOLE)
            own = [weight for key, weight in trained if key == name]
            matrices, others = [w for w in own if w.ndim >= 2], [w for w in own if w.ndim < 2]
            for weights, decay in ((matrices, settings.weight_decay), (others, 0.0)):
                if weights:
                    found.append({"params": weights, "lr": settings.lr * part.rate, "weight_decay": decay})
                    schedules.append(schedule(settings, total_steps, part.start))
    return found, schedules


def schedule(settings: Optimizer, total_steps: int, start: float = 0.0) -> Callable[[int], float]:
    """The factor on the peak rate at a step: nothing before the start, a linear rise, then as the settings say.

    The factor of a plateau is not in it.
    """
    first = int(start * total_steps)
    rise = warm_up(settings, total_steps)

    def factor(step: int) -> float:
        if step < first:
            return 0.0
        since = step - first
        if since < rise:
            return (since + 1) / rise
        progress = min(1.0, (since - rise) / max(1, total_steps - first - rise))
        match settings.schedule:
            case "cosine":
                return 0.5 * (1 + math.cos(math.pi * progress))
            case "linear":
                return 1 - progress
            case "step":
                decay = settings.step or StepDecay()
                return float(decay.gamma ** ((since - rise) // max(1, round(decay.every * total_steps))))
        return 1.0

    return factor


def warm_up(settings: Optimizer, total_steps: int) -> int:
    """Steps over which the rate rises."""
    return max(1, int(settings.warmup * total_steps))


def rates(settings: Optimizer, total_steps: int, step: int, lowered: float = 1.0) -> dict[str, float]:
    """The rates at a step, for the log: ``lr`` of what no part names, and ``lr/NAME`` of every part.

    Args:
        settings: the rates.
        total_steps: optimizer steps of the whole run.
        step: optimizer steps so far.
        lowered: the factor of plateaus.
    """
    peak = settings.lr * lowered
    found = {"lr": peak * schedule(settings, total_steps)(step)}
    for name, part in settings.parts.items():
        found[f"lr/{name}"] = peak * part.rate * schedule(settings, total_steps, part.start)(step)
    return found


def lower(optimizer: torch.optim.Optimizer, scheduler: torch.optim.lr_scheduler.LambdaLR) -> None:
    """Set the rates of the next step anew, after a factor in the schedules has changed."""
    for group, base, factor in zip(optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True):
        group["lr"] = base * factor(scheduler.last_epoch)


def hold(optimizer: torch.optim.Optimizer) -> None:
    """Drop the gradients of the groups whose rate is 0 at this step.

    A part that waits for its stage has gradients all the same: under DDP the ranks agree at the start on which weights
    they reduce, and one without a gradient would keep them waiting. Dropped here, after the reduction, they count
    neither in the norm that is clipped nor in the moments, so the part stays as it is to the bit, and its AdamW begins
    with its first own step.
    """
    for group in optimizer.param_groups:
        if group["lr"] == 0:
            for weight in group["params"]:
                weight.grad = None


def part_of(name: str, parts: Collection[str]) -> str:
    """The part that decides over a module or weight: the longest that fits; "" where none does."""
    return max((part for part in parts if _within(name, part)), key=len, default="")


def owners(model: nn.Module, objective: nn.Module) -> Iterator[list[tuple[str, nn.Parameter]]]:
    """Names and weights of the model, then of the objective; one that both hold comes once."""
    seen: set[int] = set()
    for prefix, root in (("", model), (OBJECTIVE, objective)):
        named = [(name, weight) for name, weight in root.named_parameters(prefix=prefix) if id(weight) not in seen]
        seen |= {id(weight) for _, weight in named}
        yield named


def _within(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def _frozen(name: str, parts: Mapping[str, Part]) -> bool:
    return parts.get(part_of(name, parts), _WHOLE).rate == 0


def _nothing(name: str, own: Collection[nn.Parameter], weights: Collection[tuple[str, nn.Parameter]]) -> str:
    """Why a name decides nothing, and what there is."""
    depth = {"encoders": 3}
    trained = [key.split(".") for key, weight in weights if weight.requires_grad]
    there = {".".join(key[:end]) for key in trained for end in range(1, depth.get(key[0], 2) + 1)}
    why = (
        "is frozen already, so no rate applies to it (`unfreeze` of a pretrained encoder trains its last blocks)"
        if own
        else "is no part of this model or its objective"
    )
    return f"optimizer.parts: {name!r} {why}; trained are {', '.join(sorted(there)) or 'none'}"
