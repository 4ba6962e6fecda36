"""How long to wait for a validated value to get better: before the training stops, or before its rates fall."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, final


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when a logged value has not improved.

    Args:
        monitor: the value; absent for the loss of the weights that are judged, ``valid/ema/loss`` where
            ``trainer.ema`` judges its own and ``valid/loss`` otherwise.
        patience: validations without improvement before the stop.
        min_delta: smallest change that counts.
        mode: whether small or large is good.
        cooldown: validations that use up no patience, counted anew from the end of the warm-up of the rate and from
            every improvement. With it the warm-up itself uses up none either, and a stop comes ``cooldown + patience``
            validations after the last improvement at the earliest. 0 for none: every validation counts.
    """

    monitor: str | None = None
    patience: int = 10
    min_delta: float = 0.0
    mode: Literal["min", "max"] = "min"
    cooldown: int = 0

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise ValueError(f"early_stopping.patience is {self.patience}; it is at least 1")
        if self.cooldown < 0:
            raise ValueError(f"early_stopping.cooldown is {self.cooldown}; it is at least 0")


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """Lower every rate when a logged value has not improved.

    Args:
        monitor: the value.
        patience: validations without improvement before the rates fall, counted anew afterwards.
        factor: on every rate each time, above 0 and below 1.
        lowest: share of the peak rate under which it does not fall.
        min_delta: smallest change that counts.
        mode: whether small or large is good.
    """

    monitor: str = "valid/loss"
    patience: int = 5
    factor: float = 0.5
    lowest: float = 0.001
    min_delta: float = 0.0
    mode: Literal["min", "max"] = "min"

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise ValueError(f"optimizer.plateau.patience is {self.patience}; it is at least 1")
        if not 0 < self.factor < 1:
            raise ValueError(f"optimizer.plateau.factor is {self.factor}; it is above 0 and below 1")
        if not 0 < self.lowest <= 1:
            raise ValueError(f"optimizer.plateau.lowest is {self.lowest}; it is a share, above 0 and at most 1")


@final
class Patience:
    """Counts the validations since a value was last better than ever before.

    Attributes:
        waited: validations that were counted since.
    """

    def __init__(
        self, monitor: str, mode: Literal["min", "max"], *, min_delta: float = 0.0, cooldown: int = 0, place: str
    ) -> None:
        """Wait for ``monitor``; ``place`` is where a recipe names it, for messages."""
        self.monitor, self.place = monitor, place
        self.min_delta, self.cooldown = min_delta, cooldown
        self.best, self.waited, self._free = float("inf"), 0, cooldown
        self._sign = 1 if mode == "min" else -1

    def see(self, record: Mapping[str, float], *, warming: bool = False) -> None:
        """Take in a validation.

        Args:
            record: its row of the log.
            warming: whether the rate was still rising, which uses up no patience where there is a cooldown.

        Raises:
            ValueError: if the row lacks the value.
        """
        score = self._sign * logged(record, self.monitor, self.place)
        if score < self.best - self.min_delta:
            self.best, self.waited, self._free = score, 0, self.cooldown
        elif warming and self.cooldown:
            self._free = self.cooldown
        elif self._free:
            self._free -= 1
        else:
            self.waited += 1

    def state(self) -> dict[str, Any]:
        """What ``restore`` needs to go on counting."""
        return {"best": self.best, "waited": self.waited, "free": self._free}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self.best, self.waited, self._free = state["best"], state["waited"], state["free"]


@final
class Lowering:
    """The factor that plateaus put on every rate; 1 for good without settings."""

    def __init__(self, settings: Plateau | None) -> None:
        """Start at 1."""
        self.settings, self.factor = settings, 1.0
        self._patience: Patience | None = None
        if settings is not None:
            self._patience = Patience(
                settings.monitor, settings.mode, min_delta=settings.min_delta, place="optimizer.plateau.monitor"
            )

    def see(self, record: Mapping[str, float]) -> None:
        """Take in a validation, and lower the factor where patience has run out."""
        if self.settings is None or self._patience is None:
            return
        self._patience.see(record)
        if self._patience.waited >= self.settings.patience:
            self._patience.waited = 0
            self.factor = max(self.settings.lowest, self.factor * self.settings.factor)

    def state(self) -> dict[str, Any]:
        """What ``restore`` needs to go on."""
        return {"factor": self.factor, "patience": None if self._patience is None else self._patience.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self.factor = state["factor"]
        if self._patience is not None:
            self._patience.restore(state["patience"])


def logged(record: Mapping[str, float], name: str, place: str) -> float:
    """A value of a validation's row, or a ValueError that names what the row has."""
    if name not in record:
        offered = sorted(key for key in record if key.startswith("valid/"))
        raise ValueError(f"{place} is {name!r}, which no validation writes; it writes {offered}")
    return record[name]
