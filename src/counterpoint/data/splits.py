"""Who is trained on and who is tested on: splits that keep a group on one side.

A group is what makes recordings alike beyond what they are labelled with: a bearing, a patient, a plate.
Windows or recordings of one group on both sides of a split let a model score by recognising the group.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.dealing import cut_valid, deal, strata
from counterpoint.keys import Int

Value = str | int | float
Columns = Mapping[str, Sequence[Value | None]]
Sharing = Literal["refuse", "report"]
Names = NDArray[np.str_]


class Fold(NamedTuple):
    """Row numbers (ascending) of either part of one division."""

    train: Int
    valid: Int
    test: Int


class KnownGroups(Fold):
    """A division that may have groups on more than one side, as its split says with ``shared_groups: report``."""


def text(cell: Value | None) -> str:
    """A cell as text, the same however its table stores numbers: 1, 1.0 and "1" are "1"; empty is ""."""
    if cell is None or cell != cell:
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()


class Split(ABC):
    """Base of all ways to divide the rows of a table."""

    @abstractmethod
    def divide(self, columns: Columns, groups: NDArray[Any], labels: NDArray[Any]) -> dict[str, Fold]:
        """Divide n rows.

        Args:
            columns: cells of the table, (n,) each.
            groups: (n,) names of the groups, or their indices.
            labels: (n,) class index or ``UNLABELLED``, or a continuous target, NaN where none is known; only used to
                make the parts alike.

        Returns:
            Name of the fold -> its parts, which share no row and, unless the split may, no group.

        Raises:
            ValueError: if a group would stand on two sides, or the train or the test part would be empty.
        """


@final
@dataclass(frozen=True, kw_only=True)
class ByGroup(Split):
    """Whole groups drawn at random, each part with the classes in about the shares of the whole.

    Args:
        test: share of the rows to test on.
        valid: share of the rows to choose by; 0 for none.
        seed: decides which groups.
    """

    test: float = 0.2
    valid: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.test > 0 and self.valid >= 0 and self.test + self.valid < 1):
            raise ValueError(f"ByGroup: test={self.test} and valid={self.valid} must leave a share to train on")

    def divide(self, columns: Columns, groups: NDArray[Any], labels: NDArray[Any]) -> dict[str, Fold]:
        """One fold, ``main``."""
        part = deal(groups, labels, [1 - self.test - self.valid, self.valid, self.test], self.seed)
        fold = Fold(*(np.flatnonzero(part == number) for number in range(3)))
        return {"main": _checked("ByGroup", fold, groups, "refuse", self.valid)}


@final
@dataclass(frozen=True, kw_only=True)
class ByValue(Split):
    """Train on some values of a column and test on others: another load, another site.

    Where every bearing was run at every load, a split by load has the same bearings on both sides: it asks
    for another load of a known bearing, and ``shared_groups: report`` says that this is meant.

    Args:
        column: name of the column.
        train: its values to train on.
        test: its values to test on; rows of neither are left out.
        valid: share of the training rows to choose by, whole groups; 0 for none.
        seed: decides which groups choose.
        shared_groups: refuse a group on both sides, or let the audit report it.
    """

    column: str
    train: list[Value]
    test: list[Value]
    valid: float = 0.1
    seed: int = 0
    shared_groups: Sharing = "refuse"

    def __post_init__(self) -> None:
        both = {text(value) for value in self.train} & {text(value) for value in self.test}
        if both:
            raise ValueError(f"ByValue: {self.column} {', '.join(sorted(both))} is in both train and test")
        _check_valid("ByValue", self.valid)

    def divide(self, columns: Columns, groups: NDArray[Any], labels: NDArray[Any]) -> dict[str, Fold]:
        """One fold, ``main``."""
        cells = _cells("ByValue", columns, self.column)
        for side in (self.train, self.test):
            _check_values("ByValue", self.column, cells, [text(value) for value in side])
        known = np.flatnonzero(np.isin(cells, [text(value) for value in self.train]))
        test = np.flatnonzero(np.isin(cells, [text(value) for value in self.test]))
        train, valid = cut_valid(known, groups, labels, self.valid, self.seed)
        return {"main": _checked("ByValue", Fold(train, valid, test), groups, self.shared_groups, self.valid)}


@final
@dataclass(frozen=True, kw_only=True)
class LeaveOut(Split):
    """One fold a value of a column: tested on that value, trained on all others.

    Args:
        column: name of the column.
        values: values to leave out, one at a time; empty for all there are.
        valid: share of the training rows to choose by, whole groups; 0 for none.
        seed: decides which groups choose.
        shared_groups: refuse a group on both sides, or let the audit report it.
    """

    column: str
    values: list[Value] = field(default_factory=list)
    valid: float = 0.1
    seed: int = 0
    shared_groups: Sharing = "refuse"

    def __post_init__(self) -> None:
        _check_valid("LeaveOut", self.valid)

    def divide(self, columns: Columns, groups: NDArray[Any], labels: NDArray[Any]) -> dict[str, Fold]:
        """Folds named ``column=value``. Rows whose cell is empty are always trained on."""
        cells = _cells("LeaveOut", columns, self.column)
        values = [text(value) for value in self.values] or sorted(set(cells.tolist()) - {""})
        _check_values("LeaveOut", self.column, cells, values)
        folds = {}
        for value in values:
            train, valid = cut_valid(np.flatnonzero(cells != value), groups, labels, self.valid, self.seed)
            fold = Fold(train, valid, np.flatnonzero(cells == value))
            name = f"{self.column}={value}"
            folds[name] = _checked(f"LeaveOut, fold {name}", fold, groups, self.shared_groups, self.valid)
        return folds


@final
@dataclass(frozen=True, kw_only=True)
class ByColumn(Split):
    """The table itself says ``train``, ``valid`` or ``test``.

    Args:
        column: name of the column; rows with an empty cell are left out.
        valid: share of the training rows to choose by, whole groups, where the table has no ``valid``.
        seed: decides which groups choose.
        shared_groups: refuse a group on both sides, or let the audit report it.
    """

    column: str
    valid: float = 0.0
    seed: int = 0
    shared_groups: Sharing = "refuse"

    def __post_init__(self) -> None:
        _check_valid("ByColumn", self.valid)

    def divide(self, columns: Columns, groups: NDArray[Any], labels: NDArray[Any]) -> dict[str, Fold]:
        """One fold, ``main``."""
        cells = np.char.lower(_cells("ByColumn", columns, self.column))
        others = sorted(set(cells.tolist()) - {"train", "valid", "test", ""})
        if others:
            raise ValueError(f"ByColumn: {self.column} holds {others[0]!r}; it may hold train, valid, test")
        train, valid, test = (np.flatnonzero(cells == name) for name in ("train", "valid", "test"))
        if not len(valid):
            train, valid = cut_valid(train, groups, labels, self.valid, self.seed)
        return {"main": _checked("ByColumn", Fold(train, valid, test), groups, self.shared_groups, self.valid)}


@final
@dataclass(frozen=True, kw_only=True)
class GroupedKFold(Split):
    """Whole groups in parts with about equal shares of the classes (``StratifiedGroupKFold`` of scikit-learn).

    Each part is tested on once. Of a continuous target the quarters take the place of classes; rows without a label are
    shared out evenly, and so are all rows where no class has a row for every part.

    Args:
        folds: how many parts.
        valid: share of the training rows to choose by, whole groups; 0 for none.
        seed: decides which groups.
    """

    folds: int = 5
    valid: float = 0.0
    seed: int = 0

    def divide(self, columns: Columns, groups: NDArray[Any], labels: NDArray[Any]) -> dict[str, Fold]:
        """Folds named ``part=1`` to ``part=N``."""
        from sklearn.model_selection import StratifiedGroupKFold

        _check_valid("GroupedKFold", self.valid)
        if not 2 <= self.folds <= len(np.unique(groups)):
            raise ValueError(
                f"GroupedKFold: folds is {self.folds}, from 2 to the {len(np.unique(groups))} groups there are"
            )
        alike = strata(labels)
        if np.unique(alike, return_counts=True)[1].max() < self.folds:
            alike = np.zeros(len(alike), dtype=np.int64)
        with warnings.catch_warnings():
            # A class of fewer rows than parts is shared out as far as it goes.
            warnings.filterwarnings("ignore", message="The least populated class")
            splitter = StratifiedGroupKFold(self.folds, shuffle=True, random_state=self.seed)
            parts = list(splitter.split(alike, alike, groups))
        cuts = ((*cut_valid(rest, groups, labels, self.valid, self.seed), test) for rest, test in parts)
        checked = (_checked("GroupedKFold", Fold(*cut), groups, "refuse", self.valid) for cut in cuts)
        return {f"part={number}": fold for number, fold in enumerate(checked, start=1)}


def _check_valid(name: str, valid: float) -> None:
    if not 0 <= valid < 1:
        raise ValueError(f"{name}: valid is a share from 0 to below 1, not {valid}")


def _cells(name: str, columns: Columns, column: str) -> Names:
    if column not in columns:
        raise ValueError(f"{name}: no column {column!r}; the table has {', '.join(columns)}")
    return np.array([text(cell) for cell in columns[column]], dtype=np.str_)


def _check_values(name: str, column: str, cells: Names, values: list[str]) -> None:
    known = sorted(set(cells.tolist()))
    for value in values:
        if value not in known:
            raise ValueError(f"{name}: {column} is never {value!r}; it is one of {', '.join(known)}")


def _checked(name: str, fold: Fold, groups: NDArray[Any], sharing: Sharing, valid: float = 0.0) -> Fold:
    for part, rows in (("train", fold.train), ("test", fold.test), ("valid", fold.valid)):
        if not len(rows) and (part != "valid" or valid):
            raise ValueError(
                f"{name}: nothing is left for the {part} part of {len(np.unique(groups))} groups; use "
                "a finer group, other shares" + (", or valid: 0" if part == "valid" else "")
            )
    for (one, first), (other, second) in combinations(fold._asdict().items(), 2):
        shared = np.intersect1d(groups[first], groups[second])
        if len(shared) and sharing == "refuse":
            raise ValueError(
                f"{name}: group {str(shared[0])!r} ({len(shared)} in all) is in both {one} and {other}; "
                "split by whole groups, or set shared_groups: report if known groups under new conditions are meant"
            )
    return KnownGroups(*fold) if sharing == "report" else fold
