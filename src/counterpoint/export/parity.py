"""Writing of a graph, in as many ways as it takes, and what of it agrees with the model on other sizes and lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from counterpoint.export.graph import Graph
from counterpoint.graphs import NEEDED, SUFFIX, Format, Runner, Way, kept, lacking, largest, write
from counterpoint.types import Modality

CLOSE = 1e-4
"""Largest difference in any number of any output that still counts as the same."""
TRACED = 3
"""Rows the graph is followed with."""
SIZES = (TRACED, 1, 5)
"""Rows of the batches it is checked with."""
SHARES = (0.85, 0.6)
"""Lengths it is checked with, beside whole ones, as shares of whole ones."""
_FOLLOWED = 0.75

View = dict[str, Modality]


class Case(NamedTuple):
    """Rows that a file is checked on, what the model says of them, and what they are in words."""

    view: View
    expected: tuple[Tensor, ...]
    told: str


class Outcome(NamedTuple):
    """What became of a graph.

    Attributes:
        file: its name; "" where none was kept.
        difference: the largest that was met; NaN where there was nothing to compare.
        checked: the batches it was compared on, in words.
        how: how it was written, and of which lengths.
        reason: why no file was kept; "".
    """

    file: str
    difference: float
    checked: tuple[str, ...]
    how: str
    reason: str


def export_graph(graph: Graph, views: Mapping[int, View], path: Path, form: Format) -> Outcome:
    """Write a graph and keep it where it agrees with the model.

    Lengths that any will do are tried first, then one length that shorter rows are filled up to; of ONNX the older
    tracing comes last.

    Args:
        graph: to write.
        views: size of a batch -> real rows, of ``SIZES``.
        path: of the file, its suffix left out.
        form: of the file.
    """
    missing = lacking(NEEDED[form])
    if missing:
        return _none(f"{', '.join(missing)} not installed: pip install 'counterpoint[onnx]'")
    file, cases = path.with_name(path.name + SUFFIX[form]), _cases(graph, views)
    shorter = len(cases) > len(views)
    ragged = shorter and any(port.ragged for port in graph.ports.values())
    ways: list[tuple[bool, Way]] = [(False, "dynamo")] if ragged else []
    ways += [(True, "dynamo"), (True, "tracing")] if form == "onnx" else [(True, "dynamo")]
    reasons, worst = [], float("nan")
    for fixed, way in ways:
        graph.fixed = fixed
        checked = cases if not fixed or _masked(graph) else cases[: len(views)]
        worst, reason = _attempt(graph, views[TRACED], checked, file, form, way)
        how = ("torch.export" if way == "dynamo" else "tracing") + (", one length" if fixed and shorter else "")
        if not reason:
            lengths = "any length" if not fixed else "rows filled up to one length" if shorter else "whole rows"
            return Outcome(file.name, worst, tuple(case.told for case in checked), f"{how}, {lengths}", "")
        reasons.append(reason)
    # Why one length did not do either, followed as usual.
    return _none(reasons[int(ragged)], worst)


def _attempt(graph: Graph, rows: View, cases: Sequence[Case], file: Path, form: Format, way: Way) -> tuple[float, str]:
    ports = graph.names()

    def export() -> None:
        followed = rows if graph.fixed else graph.shortened(rows, _FOLLOWED)
        write(graph, graph.tensors(followed), ports, file, form, way)

    def differences() -> float:
        run = Runner(file, ports)
        return max(largest(case.expected, run(graph.tensors(case.view))) for case in cases)

    return kept(file, export, differences, CLOSE)


@torch.no_grad()
def _cases(graph: Graph, views: Mapping[int, View]) -> list[Case]:
    """Whole rows first, then shorter ones, where the encoders take these."""
    cases = [Case(view, graph.expected(view), f"{size} rows") for size, view in views.items()]
    if not any(port.ragged for port in graph.ports.values()):
        return cases
    size = SIZES[-1]
    for share in SHARES:
        view = graph.shortened(views[size], share)
        try:
            cases.append(Case(view, graph.expected(view), f"{size} rows, {share:.0%} of their length"))
        except ValueError:
            # Encoders that need whole rows say so.
            return cases
    return cases


def _masked(graph: Graph) -> bool:
    """Whether shorter rows can be filled up: every modality that has lengths has a mask."""
    return all(len(port.inputs(True)) > 1 for port in graph.ports.values() if port.ragged)


def _none(reason: str, difference: float = float("nan")) -> Outcome:
    return Outcome("", difference, (), "", reason)
