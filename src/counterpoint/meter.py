"""Running means of named scalars, on the device they come from."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor


@final
class Meter:
    """Running sums of scalars in one tensor, so that a step costs one addition and no synchronisation."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.names: tuple[str, ...] = ()
        self.sums: Tensor | None = None
        self.count = 0

    def add(self, logs: dict[str, Tensor]) -> None:
        """Add the scalars of a step, of the same names at every step."""
        device = next(iter(logs.values())).device
        values = torch.stack([value.detach().float().to(device) for value in logs.values()])
        self.names = tuple(logs)
        self.sums = values if self.sums is None else self.sums + values
        self.count += 1

    def drain(self) -> dict[str, float]:
        """The means since the last call, and start again."""
        if self.sums is None:
            return {}
        means = (self.sums / self.count).tolist()
        self.sums, self.count = None, 0
        return dict(zip(self.names, means, strict=True))

    def state(self) -> dict[str, Any]:
        """What ``restore`` needs."""
        return {"names": list(self.names), "sums": self.sums, "count": self.count}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.names, self.sums, self.count = tuple(state["names"]), state["sums"], state["count"]
