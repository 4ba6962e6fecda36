"""A moving average of the weights, which is often better than the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


@dataclass(frozen=True, kw_only=True)
class EMA:
    """An exponential moving average of the trained weights, kept and validated beside them.

    Polyak & Juditsky 1992, "Acceleration of stochastic approximation by averaging"; the rising decay is that of
    TensorFlow's ``ExponentialMovingAverage``. Buffers, as the statistics of batch norms, are those of the weights.

    Args:
        decay: of the average at every optimizer step; 0.999 remembers about a thousand steps.
        start: share of all steps during which the average is a copy of the weights.
        rise: ``count`` takes min(decay, (1 + t) / (10 + t)) at the t-th step after the start, t from 0, so that the
            first steps are soon forgotten; ``none`` takes ``decay`` at once.
        judged: whose embeddings, scores and best checkpoint a run is about: the average's or the weights'.
    """

    decay: float = 0.999
    start: float = 0.0
    rise: Literal["count", "none"] = "count"
    judged: Literal["ema", "raw"] = "ema"

    def __post_init__(self) -> None:
        if not 0 < self.decay < 1:
            raise ValueError(f"ema.decay is {self.decay}; it is above 0 and below 1")
        if not 0 <= self.start < 1:
            raise ValueError(f"ema.start is {self.start}; it is a share of all steps, 0 <= start < 1")

    def decay_at(self, since: int) -> float:
        """The decay of the step that comes ``since`` steps after the start."""
        return min(self.decay, (1 + since) / (10 + since)) if self.rise == "count" else self.decay


@final
class Average:
    """The average of a module's trained weights while it is trained; frozen ones have none of their own.

    Every rank holds its own, of weights that are equal on all of them.
    """

    def __init__(self, settings: EMA, total_steps: int) -> None:
        """Average as set, over a run of ``total_steps`` optimizer steps."""
        self.settings = settings
        self.first = int(settings.start * total_steps)
        self.step = 0
        self.values: dict[str, Tensor] = {}
        self._weights: list[nn.Parameter] = []

    def begin(self, module: nn.Module) -> None:
        """Take hold of the module's trained weights, once they are where they are trained.

        Raises:
            ValueError: if a restored average is of other weights.
        """
        trained = {name: p for name, p in module.named_parameters() if p.requires_grad and p.is_floating_point()}
        restored = self.values or {name: weight.detach().clone() for name, weight in trained.items()}
        if restored.keys() != trained.keys():
            raise ValueError(
                f"the checkpoint averages other weights than are trained, {_differ(restored, trained)}; resume with "
                "the optimizer.parts it was begun with"
            )
        self.values = {name: restored[name].to(weight.device, weight.dtype) for name, weight in trained.items()}
        self._weights = list(trained.values())

    def update(self, step: int) -> None:
        """Take in the weights after an optimizer step; nothing where it is not a new one.

        Args:
            step: optimizer steps so far.
        """
        if step == self.step:
            return
        self.step = step
        since = step - 1 - self.first
        own, weights = list(self.values.values()), [weight.detach() for weight in self._weights]
        if since < 0:
            with torch.no_grad():
                torch._foreach_copy_(own, weights)
        else:
            step_in = get_ema_multi_avg_fn(self.settings.decay_at(since))  # type: ignore[no-untyped-call]
            step_in(own, weights, None)

    @contextmanager
    def worn(self) -> Iterator[None]:
        """The module with the average in place of its weights; afterwards it has its own again, to the bit.

        Storage is exchanged, nothing is copied. What is drawn meanwhile leaves the generators as they were.
        """
        devices = sorted({weight.device.index or 0 for weight in self._weights if weight.is_cuda})
        own = self._exchange(list(self.values.values()))
        try:
            with torch.random.fork_rng(devices):
                yield
        finally:
            self._exchange(own)

    def _exchange(self, storage: list[Tensor]) -> list[Tensor]:
        # Within inference mode ``data`` would be a tensor that can no longer be trained.
        with torch.inference_mode(False):
            before = [weight.data for weight in self._weights]
            for weight, data in zip(self._weights, storage, strict=True):
                weight.data = data
        return before

    def state(self) -> dict[str, Any]:
        """For a checkpoint: name -> weight, and how many steps are in them."""
        return {"step": self.step, "weights": self.values}

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Go on from `state`; ``begin`` takes the weights to their device.

        Raises:
            ValueError: if the checkpoint has none.
        """
        if state is None:
            raise ValueError("the checkpoint holds no averaged weights: it was begun without trainer.ema")
        self.step, self.values = state["step"], dict(state["weights"])


def put(values: Mapping[str, Tensor], modules: Mapping[str, nn.Module]) -> None:
    """Copy averaged weights into modules that hold the others already.

    Args:
        values: of ``Average.state``: ``model.encoders.tone.weight`` -> weight.
        modules: first word of a name -> module.

    Raises:
        ValueError: if a module lacks a weight.
    """
    there = {
        name: weight
        for prefix, module in modules.items()
        for name, weight in module.named_parameters(prefix, remove_duplicate=False)
    }
    if not values.keys() <= there.keys():
        raise ValueError(f"the averaged weights do not fit this model, {_differ(values, there)}")
    with torch.no_grad():
        for name, value in values.items():
            there[name].copy_(value)


def _differ(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    names = sorted(one.keys() ^ other.keys())
    return f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
