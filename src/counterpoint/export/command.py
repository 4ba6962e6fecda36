"""What ``counterpoint export`` does: every encoder of a trained run into files that were checked, with a manifest."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from counterpoint.data.base import Data, Draw, Rows
from counterpoint.encoders.pretrained import TextEncoder
from counterpoint.export.choosing import port_of
from counterpoint.export.graph import Graph
from counterpoint.export.manifest import TOKENIZER, Exported, write_manifest
from counterpoint.export.parity import SIZES, Outcome, View, export_graph
from counterpoint.export.ports import NoPortError, Port
from counterpoint.graphs import Format
from counterpoint.model import Model
from counterpoint.objectives import Objective
from counterpoint.recipe import keep_features, load, of_run
from counterpoint.scores import cell_folder

LOG = logging.getLogger("counterpoint")
WHOLE = "model"
"""Name of the file of all modalities that make the embedding; others are called by their modality."""


class Cell(NamedTuple):
    """A trained model and the rows it is checked on."""

    model: Model
    objective: Objective
    data: Data
    rows: Rows


def export(
    folder: Path, out: Path, form: Format = "onnx", fold: str = "", seed: int | None = None, plugins: Sequence[str] = ()
) -> str:
    """Write the encoders of a run as files, with a manifest and an example, and say what became of each.

    Args:
        folder: the run.
        out: a folder; what it holds of an earlier export is replaced.
        form: of the files.
        fold: whose model; "" for the first.
        seed: whose model; None for the first.
        plugins: modules that the run's recipe needs.

    Raises:
        ValueError: if there is no such cell, or the fold has no test rows to check on.
    """
    recipe = of_run(folder, plugins)
    data = recipe.data()
    fold, seed = fold or data.folds[0], recipe.seeds[0] if seed is None else seed
    if fold not in data.folds or seed not in recipe.seeds:
        raise ValueError(
            f"{folder} has no cell of fold {fold!r} and seed {seed}; folds are {', '.join(data.folds)}, seeds "
            f"{', '.join(map(str, recipe.seeds))}"
        )
    model, objective = load(cell_folder(folder, fold, seed), data, recipe)
    rows = keep_features(recipe, model, data.evaluation(fold, "test"))
    if not len(rows):
        raise ValueError(f"fold {fold!r} has no test rows, on which what is exported could be checked")
    out.mkdir(parents=True, exist_ok=True)
    found = export_cell(Cell(model.cpu(), objective.cpu(), data, rows), out, form)
    about = {"run": folder.name, "fold": fold, "seed": seed, "format": form}
    write_manifest(out, found, about, recipe, data)
    lines = [f"{one.told()}" for one in found]
    return "\n".join([*lines, f"wrote {out / 'manifest.json'}"])


def export_cell(cell: Cell, out: Path, form: Format) -> list[Exported]:
    """Every encoder of a model into a file: those that are fused in one, the others in one each.

    Where the fused ones do not go into a file together, each is tried by itself.

    Args:
        cell: the model, and rows to check on.
        out: a folder.
        form: of the files.
    """
    views, ports, refused = batches(cell.rows), dict[str, Port](), list[Exported]()
    for name, encoder in cell.model.encoders.items():
        try:
            ports[name] = port_of(name, encoder, cell.data.specs[name], views[SIZES[0]][name])  # type: ignore[arg-type]
        except NoPortError as error:
            refused.append(Exported.nothing(name, (name,), str(error)))
    fused = [name for name in cell.model.fused if name in ports]
    groups = {name: [name] for name in ports if name not in fused}
    if len(fused) == len(cell.model.fused):
        whole = _export(WHOLE, cell, {name: ports[name] for name in fused}, views, out, form)
        if whole.outcome.file or len(fused) == 1:
            return [whole, *(_export(name, cell, {name: ports[name]}, views, out, form) for name in groups), *refused]
        refused.insert(0, whole)
    else:
        refused.insert(0, Exported.nothing(WHOLE, cell.model.fused, "not all its modalities can enter a graph"))
    return [*(_export(name, cell, {name: ports[name]}, views, out, form) for name in ports), *refused]


def batches(rows: Rows) -> dict[int, View]:
    """Size of a batch -> real rows, as they are read for evaluation; the first ones again where there are too few."""
    found, first = {}, 0
    for size in SIZES:
        draws = [Draw(row % len(rows), row % len(rows)) for row in range(first, first + size)]
        found[size] = dict(rows.__getitems__(draws).views[0])
        first += size
    return found


def _export(
    name: str, cell: Cell, ports: Mapping[str, Port], views: Mapping[int, View], out: Path, form: Format
) -> Exported:
    """One file, or why there is none."""
    LOG.info("export: %s", name)
    graph = Graph(cell.model, cell.objective, ports).eval()
    silent = graph.ask(views[SIZES[0]])
    outcome = export_graph(graph, views, out / name, form)
    for modality in ports:
        encoder = cell.model.encoders[modality]
        if outcome.file and isinstance(encoder, TextEncoder):
            try:
                encoder.vocabulary.save(out / TOKENIZER)  # type: ignore[attr-defined]
            except ValueError as error:
                (out / outcome.file).unlink()
                outcome = Outcome("", outcome.difference, (), "", str(error))
    shown = graph.tensors(views[SIZES[-1]]) if outcome.file else ()
    return Exported.of(name, graph, outcome, silent, shown)
