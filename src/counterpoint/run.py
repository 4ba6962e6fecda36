"""A run from recipe to report, kept in a folder that every later command reads."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from counterpoint import alignment, analyses, explain, modalities, rates, regressing
from counterpoint.data.audit import refuse_leaks
from counterpoint.data.base import Data, Rows
from counterpoint.data.batching import classes_among, histogram, order
from counterpoint.data.sampling import StreamSampler
from counterpoint.evaluate import detection, errors, few_shot, gallery, worth
from counterpoint.evaluate.attributing import attribution_lines
from counterpoint.evaluate.metrics import headline
from counterpoint.evaluate.results import Result, render
from counterpoint.evaluate.verdict import shot_lines, transfer_lines
from counterpoint.log import read_log
from counterpoint.model import Model
from counterpoint.objectives import Objective
from counterpoint.products import write_products
from counterpoint.recipe import Recipe, build, keep_features, load, of_run, plan, read, train_cell
from counterpoint.recompute import in_words
from counterpoint.report import write_model_card, write_report
from counterpoint.scores import (
    Fold,
    cell_folder,
    embed_cell,
    judge_cell,
    judge_fold,
    judge_shots,
    judge_transfer,
    main_answer,
    shots_file,
    summarise,
)
from counterpoint.search.building import build_index
from counterpoint.snapshot import changes, prepare, read_json, write_json
from counterpoint.summary import weigh
from counterpoint.watch import findings

LOG = logging.getLogger("counterpoint")


def check(recipe: Recipe) -> str:
    """Read the data, divide them, build the model, score one batch, and say what was found.

    Raises:
        ValueError: for what cannot work: unusable recordings, splits that leak, a model that does not fit.
    """
    data = recipe.data()
    refuse_leaks(data)
    model, objective = build(recipe, data, recipe.seeds[0])
    _refuse(recipe, data, model, objective)
    account = data.report()
    lines = [f"data: {json.dumps(account['counts'])}, classes {json.dumps(account['classes'])}"]
    if "labels" in account:
        lines.append(f"labels, class -> cell -> specimens: {json.dumps(account['labels'])}")
    rates.freeze(model, objective, recipe.optimizer.parts)
    for fold in data.folds:
        lines += _fold_lines(recipe, data, fold, objective)
    for name, module in (("model", model), ("objective", objective)):
        count = sum(p.numel() for p in module.parameters())
        trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
        lines.append(f"{name}: {count:,} parameters, {trained:,} trained")
    if recipe.trainer.hardware.recompute == "on":
        lines.append(in_words(model))
    lines.append(_first_batch(recipe, data.training(data.folds[0], "train"), model, objective))
    return "\n".join(lines)


def _fold_lines(recipe: Recipe, data: Data, fold: str, objective: Objective) -> list[str]:
    """What training on a fold comes to."""
    rows = data.training(fold, "train")
    steps, per_epoch = plan(recipe, data, fold, rows, objective)
    sizes = {split: len(data.evaluation(fold, split)) for split in ("train", "valid", "test")}
    overlap = "; ".join(data.audit(fold)) or "no overlap found"
    lines = [f"fold {fold}: {overlap}; {steps} steps, {per_epoch} an epoch; rows {json.dumps(sizes)}"]
    if note := order(recipe.trainer.batches, rows, recipe.trainer.batch_size, 0, data.classes).note:
        lines.append(f"fold {fold}: {note}")
    valid = data.training(fold, "valid").labels
    if len(valid) and classes_among(valid) < min(2, objective.classes_needed):
        lines.append(
            f"fold {fold}: the validation rows have one class or none, {histogram(valid, data.classes)}; valid/loss "
            "says nothing of them, and neither the best checkpoint nor an early stop should hang on it"
        )
    return lines


def _first_batch(recipe: Recipe, rows: Rows, model: Model, objective: Objective) -> str:
    """The loss of the first batch, beside the value that means nothing is told apart where there is one."""
    import torch

    size, batches = recipe.trainer.batch_size, recipe.trainer.batches
    sampler = StreamSampler(rows, batch_size=size, epochs=1, seed=recipe.seeds[0], batches=batches)
    batch = rows.__getitems__(next(iter(sampler)))
    if len(batch.views) < objective.views:
        raise ValueError(
            f"{type(objective).__name__} compares {objective.views} views of a row and the data bring "
            f"{len(batch.views)}: set data.views to bring as many, or choose another objective"
        )
    with torch.no_grad():
        encoded = [model(view) for view in batch.views]
        loss, found = objective(encoded, batch), objective.diagnose(encoded, batch)
    known = f", nothing told apart is {found['collapse']:.3f}" if "collapse" in found else ""
    return f"first batch: loss {loss.value:.3f}{known}"


def _refuse(recipe: Recipe, data: Data, model: Model, objective: Objective) -> None:
    """Raise ValueError, before a step is taken, if data or objective lack what training or evaluation need."""
    regressing.check(recipe, data, objective)
    asked, shots = recipe.evaluation.detection, recipe.evaluation.few_shot
    training = {fold: data.evaluation(fold, "train").labels for fold in data.folds if asked or shots}
    detection.check(asked, data.classes, training)
    for fold, labels in training.items():
        if shots and data.classes:
            few_shot.check(shots, labels, f"fold {fold!r}", recipe.seeds)
    analyses.check(recipe.evaluation, data)
    modalities.check(recipe, data)
    alignment.check(recipe, data, model, objective)
    explain.check(recipe, data, model, objective)
    for fold in data.folds:
        plan(recipe, data, fold, data.training(fold, "train"), objective)


def train(recipe: Recipe, folder: Path, *, overwrite: bool = False) -> str:
    """Train every fold with every seed, then evaluate and report.

    Run again on a folder that was interrupted, it goes on from the newest whole checkpoint.

    Args:
        recipe: what to run.
        folder: the run folder.
        overwrite: delete what is there.

    Returns:
        The table of scores and the verdict.
    """
    from lightning.pytorch.utilities import rank_zero_only

    data = recipe.data()
    refuse_leaks(data)
    model, objective = build(recipe, data, recipe.seeds[0])
    _refuse(recipe, data, model, objective)
    leader = rank_zero_only.rank == 0  # type: ignore[attr-defined]
    if leader:
        prepare(folder, recipe, data, overwrite)
        write_json(folder / "model.json", weigh(model, objective, recipe.optimizer))
    for fold in data.folds:
        for seed in recipe.seeds:
            cell = cell_folder(folder, fold, seed)
            if not (cell / "trained.json").is_file():
                LOG.info("training fold %s with seed %d", fold, seed)
                task = train_cell(recipe, data, fold, seed, cell)
                if leader:
                    write_json(cell / "trained.json", {"position": task.position})
    if not leader:
        return ""
    _leave_the_group()
    return _judge(recipe, data, folder)


def evaluate(folder: Path, plugins: Sequence[str] = ()) -> str:
    """Score a trained run again, from its checkpoints and its data, and write its report anew.

    Args:
        folder: the run.
        plugins: modules that its recipe needs.
    """
    recipe = of_run(folder, plugins)
    data = recipe.data()
    told = changes(folder, data)
    for sentence in told:
        LOG.warning("%s", sentence)
    kept = (folder / "baselines", folder / regressing.KEPT)
    for stale in (*kept, *folder.glob("cells/*/transfer"), *folder.glob("cells/*/retrieval")):
        shutil.rmtree(stale, ignore_errors=True)
    for cell in folder.glob("cells/*"):
        shots_file(cell).unlink(missing_ok=True)
    modalities.forget(folder)
    explain.forget(folder)
    return _judge(recipe, data, folder, told)


def embed(folder: Path, out: Path, overrides: Sequence[str] = (), plugins: Sequence[str] = ()) -> str:
    """Embed every usable recording with the model of the first cell of a run.

    Args:
        folder: the run.
        out: a Parquet file.
        overrides: of the run's recipe, to point it at other recordings.
        plugins: modules that its recipe needs.
    """
    from counterpoint.embed import embed as embed_rows

    recipe = of_run(folder, plugins)
    fold, seed = recipe.data().folds[0], recipe.seeds[0]
    changed = read(folder / "recipe.yaml", overrides)
    data = changed.data()
    model, _ = load(cell_folder(folder, fold, seed), data, changed)
    found = embed_rows(model, data, keep_features(changed, model, data.evaluation(data.folds[0], "all")))
    return f"wrote {len(found)} embeddings of fold {fold}, seed {seed} to {found.save(out)}"


def _judge(recipe: Recipe, data: Data, folder: Path, told: Sequence[str] = ()) -> str:
    if regressing.about_target(recipe):
        return _tell(folder, regressing.judge(recipe, data, folder) | explain.explained(recipe, data, folder), told)
    judged: list[Result] = []
    transferred: list[Result] = []
    shots: list[Result] = []
    retrieved: list[gallery.Retrieved] = []
    for fold in data.folds:
        hand = Fold(data, fold, recipe.fused)
        if data.classes:
            judged += judge_fold(hand, folder, recipe.evaluation.detection)
        for seed in recipe.seeds:
            LOG.info("evaluating fold %s with seed %d", fold, seed)
            retrieved += alignment.judge_retrieval(recipe, data, fold, seed, cell_folder(folder, fold, seed))
            if not data.classes:
                embed_cell(recipe, data, fold, seed, folder)
                continue
            judged += judge_cell(recipe, data, fold, seed, folder)
            judged += modalities.judge_modalities(recipe, data, fold, seed, cell_folder(folder, fold, seed))
            judged += alignment.judge_zero_shot(recipe, data, fold, seed, cell_folder(folder, fold, seed))
            if recipe.evaluation.transfer:
                transferred += judge_transfer(recipe, data, fold, seed, folder)
            if recipe.evaluation.few_shot:
                shots += judge_shots(recipe, hand, seed, folder)
    build_index(recipe, data, folder)
    cells = [cell_folder(folder, fold, seed) for fold in data.folds for seed in recipe.seeds]
    more = analyses.beside(data, cells if data.classes else ())
    if judged:
        wrong = analyses.all_wrong(recipe.evaluation, main_answer(recipe, judged), data)
        errors.write_errors(folder / "errors.csv", wrong)
    scores = summarise(recipe, judged, transferred, shots, retrieved, more)
    return _tell(folder, scores | explain.explained(recipe, data, folder), told)


def _tell(folder: Path, scores: dict[str, Any], changed: Sequence[str]) -> str:
    """Write scores and report, and say what they come to."""
    account = read_json(folder / "data.json")
    scores |= {
        "name": folder.name,
        "simulated": account["simulated"],
        "findings": [*changed]
        + [f"fold {fold}: {told}" for fold, found in account["audit"].items() for told in found]
        + _findings(folder),
        "command": f"counterpoint train {folder / 'recipe.yaml'} --out {folder}",
    }
    write_json(folder / "scores.json", scores)
    page = report(folder)
    note = "The recordings are SIMULATED.\n" if account["simulated"] else ""
    table = render(scores["rows"], headline(scores["metric"]))
    more = [*transfer_lines(scores), *shot_lines(scores), *detection.detection_lines(scores)]
    more += [*worth.modality_lines(scores), *gallery.retrieval_lines(scores), *analyses.lines(scores)]
    more += [*attribution_lines(scores), *regressing.target_lines(scores)]
    return "\n".join([table, "", *more, *changed, f"{note}{scores['verdict']}", f"Report: {page}"])


def report(folder: Path) -> Path:
    """Write products, page and card of an evaluated run anew, from its folder alone.

    Args:
        folder: the run.

    Returns:
        The page; tables, predictions and ``model_card.md`` lie beside it.
    """
    write_products(folder)
    write_model_card(folder)
    return write_report(folder)


def _findings(folder: Path) -> list[str]:
    """What the watch says of each cell's log."""
    logs = sorted(folder.glob("cells/*/metrics.csv"))
    return [f"{path.parent.name}: {sentence}" for path in logs for sentence in findings(read_log(path)).values()]


def _leave_the_group() -> None:
    """After training the leader goes on alone; the others have left."""
    import torch.distributed as distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
