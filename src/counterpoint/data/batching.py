"""Which rows stand together in a batch: all in random order, as many of each class, or those of about one length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import singledispatch
from itertools import islice
from typing import final

import numpy as np

from counterpoint.data.base import Rows
from counterpoint.data.by_length import ByLength
from counterpoint.data.rounds import InRounds as InRounds
from counterpoint.data.rounds import Order as Order
from counterpoint.keys import Int, derive
from counterpoint.settings import Batching, ClassBalanced, LengthGrouped, Shuffled
from counterpoint.types import UNLABELLED

_CLASS = 14


@singledispatch
def order(batching: Batching, rows: Rows, batch: int, seed: int, names: Sequence[str] = ()) -> Order:
    """Make the order a recipe asks for; a batching of one's own registers its maker here.

    Args:
        batching: what is asked for.
        rows: what is drawn from.
        batch: rows of a batch.
        seed: decides everything.
        names: of the classes, for messages.

    Raises:
        ValueError: if these rows cannot be drawn so.
    """
    raise TypeError(f"{type(batching).__name__}: register its order with counterpoint.data.batching.order")


@order.register
def _shuffled(batching: Shuffled, rows: Rows, batch: int, seed: int, names: Sequence[str] = ()) -> Order:
    return InRounds(np.asarray(rows.ids, dtype=np.int64), batch, seed)


@order.register
def _class_balanced(batching: ClassBalanced, rows: Rows, batch: int, seed: int, names: Sequence[str] = ()) -> Order:
    batching.check(batch)
    return ByClass(rows, batching, seed, names)


@order.register
def _length_grouped(batching: LengthGrouped, rows: Rows, batch: int, seed: int, names: Sequence[str] = ()) -> Order:
    return ByLength(rows, batch, batching.pool, seed)


def histogram(labels: Int, names: Sequence[str] = ()) -> str:
    """Rows of each class and rows without a label, for people: ``Good 576, Porosity 0, unlabelled 3``.

    Args:
        labels: (n,) class index or ``UNLABELLED``.
        names: of the classes; their indices where not given.
    """
    counts = np.bincount(labels[labels != UNLABELLED], minlength=len(names))
    called = [names[i] if i < len(names) else f"class {i}" for i in range(len(counts))]
    parts = [f"{name} {count}" for name, count in zip(called, counts.tolist(), strict=True) if names or count]
    return ", ".join([*parts, f"unlabelled {int((labels == UNLABELLED).sum())}"])


def classes_among(labels: Int) -> int:
    """How many classes the labelled rows have."""
    return len(np.unique(labels[labels != UNLABELLED]))


def refuse_one_class(labels: Int, names: Sequence[str], who: str) -> None:
    """Refuse to tell classes apart where the training rows have fewer than two.

    Args:
        labels: (n,) of the training rows.
        names: of the classes.
        who: tells them apart.

    Raises:
        ValueError: with the histogram of the labels and the reason.
    """
    found = classes_among(labels)
    if found < 2:
        raise ValueError(
            f"{who} tells classes apart and of the {len(labels)} training rows "
            + (f"{(labels == UNLABELLED).sum()} are unlabelled" if not found else "all that are labelled are of one")
            + f": {histogram(labels, names)}. A row would have no negative, and supervised contrast would stay at "
            "ln(N - 1), the loss of embeddings that are all alike. Divide the data so that defects and normal rows are "
            "both trained on (data.split), or choose an objective that needs no labels"
        )


@final
class ByClass(Order):
    """The order of ``ClassBalanced``: classes take turns, and the rows of each class theirs.

    A batch is dealt round by round, one row of each of its classes a round, so that ranks that share it in slices all
    have the same classes where rounds are whole. Both turns are orders in rounds of their own, which is what makes
    batch t a function of t: how often a class has come before follows from t and the turns of the classes alone.

    Args:
        rows: what is drawn from.
        batching: how many classes and rows of each.
        seed: decides everything.
        names: of the classes, for messages.

    Raises:
        ValueError: if there are under two classes among the rows, or fewer than a batch takes.
    """

    def __init__(self, rows: Rows, batching: ClassBalanced, seed: int, names: Sequence[str]) -> None:
        labels = np.asarray(rows.labels, dtype=np.int64)
        refuse_one_class(labels, names, "ClassBalanced")
        present = np.unique(labels[labels != UNLABELLED])
        if len(present) < batching.classes:
            raise ValueError(
                f"ClassBalanced.classes is {batching.classes} and the training rows have {len(present)}: "
                f"{histogram(labels, names)}; set classes to {len(present)} at most"
            )
        self._classes, self._rows = batching.classes, batching.rows
        self._members = [np.flatnonzero(labels == label) for label in present]
        self._turns = InRounds(np.arange(len(present)), self._classes, seed)
        ids = np.asarray(rows.ids, dtype=np.int64)
        seeds = derive(present, _CLASS + (seed << 8)).tolist()
        self._own = [InRounds(ids[rows], self._rows, own) for rows, own in zip(self._members, seeds, strict=True)]
        self.count = int((labels != UNLABELLED).sum())
        self.note = _note(labels, names, batching)

    def batches(self, start: int) -> Iterator[Int]:
        """Rows of batch ``start`` and of all that follow."""
        before = self._times(start)
        running: dict[int, Iterator[Int]] = {}
        for chosen in self._turns.batches(start):
            drawn = []
            for label in chosen.tolist():
                if label not in running:
                    running[label] = self._own[label].batches(int(before[label]))
                drawn.append(self._members[label][next(running[label])])
            yield np.stack(drawn).T.ravel()

    def _times(self, start: int) -> Int:
        """How often each class stood in the batches before ``start``: once a full turn, and what is begun of the next.

        A turn may begin inside a batch, so the batches are looked through from the one in which it does.
        """
        count = len(self._members)
        turns = start * self._classes // count
        first = turns * count // self._classes
        recent = [np.empty(0, dtype=np.int64), *islice(self._turns.batches(first), start - first)]
        begun = np.concatenate(recent)[turns * count - first * self._classes :]
        return turns + np.bincount(begun, minlength=count)


def _note(labels: Int, names: Sequence[str], batching: ClassBalanced) -> str:
    """Which classes repeat within a batch, and how many rows are never drawn."""
    known = labels[labels != UNLABELLED]
    counts = np.bincount(known).tolist()
    few = [
        f"{names[i] if i < len(names) else f'class {i}'} has {count}"
        for i, count in enumerate(counts)
        if 0 < count < batching.rows
    ]
    said = [f"{len(labels) - len(known)} rows without a label are never drawn"] if len(known) < len(labels) else []
    if few:
        said.append(f"fewer rows than the {batching.rows} of a batch, which repeat in it: {', '.join(few)}")
    return "; ".join(said)
