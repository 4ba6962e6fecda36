"""What is wrong with a configuration, said for people."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Keys = tuple[str | int, ...]
"""Where a value sits in a document: keys of mappings and indices of lists."""


class Place(NamedTuple):
    """Where a value was written; line and column count from 1, and 0 stands for a source without lines."""

    source: str = ""
    line: int = 0
    column: int = 0

    def __bool__(self) -> bool:
        return bool(self.source)

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


NOWHERE = Place()


@dataclass(frozen=True)
class Problem:
    """One thing to correct.

    Attributes:
        path: the value it concerns.
        message: what is wrong and what would fit.
        place: where that value was written.
        at: whether its key or its value is to blame.
    """

    path: Keys
    message: str
    place: Place = NOWHERE
    at: Literal["key", "value"] = "value"

    def __str__(self) -> str:
        where = ".".join(str(key) for key in self.path)
        return ": ".join(part for part in (str(self.place), where, self.message) if part)


class ConfigError(ValueError):
    """Every problem found in a configuration, one a line.

    Attributes:
        problems: in the order of the file.
    """

    def __init__(self, problems: Sequence[Problem], /) -> None:
        assert problems, "an error needs a problem"
        super().__init__(tuple(problems))
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


def suggestion(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'temperature'?`` or nothing, for a name that is close to none."""
    by_lower = {option.lower(): option for option in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean '{by_lower[close[0]]}'?" if close else ""


def echo(value: Any) -> str:
    """A value as YAML would spell it, cut to a readable length."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case dict():
            return "a mapping"
        case _:
            text = repr(value)
            return text if len(text) <= 60 else text[:57] + "..."
