"""Scores of a run: every evaluator on every cell, the baselines on every fold, and one verdict in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from counterpoint.analyses import KEYS, NOTHING, Beside, analyse, head_results, keep
from counterpoint.data.base import Data, SplitName
from counterpoint.data.sampling import PassSampler, loader
from counterpoint.embed import ask, embed
from counterpoint.evaluate.against_rest import against_rest
from counterpoint.evaluate.baselines import SUMMARY, HandFeatures, baselines, hand_features, hand_probe
from counterpoint.evaluate.by_group import group_deciding, group_note
from counterpoint.evaluate.calibration import reliability
from counterpoint.evaluate.detection import Detection, deciding, detected
from counterpoint.evaluate.embeddings import Embeddings
from counterpoint.evaluate.few_shot import Learner, few_shot, shot_table
from counterpoint.evaluate.gallery import Retrieved, retrieval_scores
from counterpoint.evaluate.intervals import Float, signed
from counterpoint.evaluate.per_class import confusion, per_class
from counterpoint.evaluate.probes import LinearProbe
from counterpoint.evaluate.results import (
    Result,
    difference,
    json_table,
    known,
    load_results,
    save_results,
    unseen_classes,
)
from counterpoint.evaluate.threshold import set_rate
from counterpoint.evaluate.verdict import OWN_HEAD, verdict
from counterpoint.modalities import modality_scores
from counterpoint.recipe import Recipe, build, keep_features, load
from counterpoint.transfer import transfer_cell


class Embedded(NamedTuple):
    """A cell after its pass over the rows.

    Attributes:
        splits: embeddings by split, of those that have rows.
        probabilities: what the objective itself predicts, by split; empty where it predicts nothing.
        heads: what each of its heads predicts of test, NaN where it knows nothing of a row.
    """

    splits: dict[str, Embeddings]
    probabilities: dict[str, Embeddings]
    heads: dict[str, Float]


class Fold:
    """A fold of the data and its hand features, which are computed when first asked for, and once."""

    def __init__(self, data: Data, name: str, fused: Sequence[str] = ()) -> None:
        """Take the fold ``name`` of ``data``, and of its modalities those that make the embedding, or all."""
        self.data, self.name = data, name
        self.specs = {modality: data.specs[modality] for modality in fused or data.specs}

    @cached_property
    def train(self) -> HandFeatures:
        """Of the training rows."""
        return self._features("train")

    @cached_property
    def test(self) -> HandFeatures:
        """Of the test rows; what is unknown of them is filled as it is in training."""
        return self._features("test", self.train.medians)

    def _features(self, split: SplitName, medians: Mapping[str, Float] | None = None) -> HandFeatures:
        rows, (classes, names) = self.data.evaluation(self.name, split), (self.data.classes, self.data.names)
        batches = loader(rows, PassSampler(rows, batch_size=256))
        return hand_features(rows, batches, specs=self.specs, classes=classes, names=names, medians=medians)


def cell_folder(folder: Path, fold: str, seed: int) -> Path:
    """Where one fold with one seed is kept."""
    return folder / "cells" / f"{fold}-seed{seed}"


def embed_cell(recipe: Recipe, data: Data, fold: str, seed: int, folder: Path) -> Embedded:
    """Embed the splits of a cell with its model, and keep them in its folder."""
    cell = cell_folder(folder, fold, seed)
    model, objective = load(cell, data, recipe)
    found = Embedded({}, {}, {})
    for split in ("train", "valid", "test"):
        rows = data.evaluation(fold, split)
        if len(rows):
            embedded, predicted, heads, _ = ask(model, objective, data, keep_features(recipe, model, rows))
            found.splits[split] = embedded
            embedded.save(cell / "embeddings" / split)
            if predicted is not None:
                found.probabilities[split] = predicted
            if split == "test":
                found.heads.update(heads)
    return found


def judge_cell(recipe: Recipe, data: Data, fold: str, seed: int, folder: Path) -> list[Result]:
    """Results of a cell: its own head where it has one, every evaluator, and the same model before any training."""
    cell = cell_folder(folder, fold, seed)
    embedded = embed_cell(recipe, data, fold, seed, folder)
    found, first = embedded.splits, recipe.evaluation.evaluators[0]
    untrained, _ = build(recipe, data, seed)
    before = {
        split: embed(untrained, data, keep_features(recipe, untrained, data.evaluation(fold, split)))
        for split in ("train", "test")
    }
    results = [_of_head(recipe, embedded, "test", fold, seed)] if embedded.probabilities else []
    for evaluator in recipe.evaluation.evaluators:
        name = f"{recipe.title}, {evaluator.name}"
        results.append(evaluator.evaluate(found["train"], found["test"], name=name, fold=fold, seed=seed))
    name = f"untrained encoder, {first.name}"
    results.append(first.evaluate(before["train"], before["test"], name=name, kind="baseline", fold=fold, seed=seed))
    save_results(cell / "predictions.parquet", results)
    heads = head_results(embedded.heads, found["test"], found["train"].truth, fold, seed)
    keep(cell, _validated(recipe, embedded, fold, seed), heads)
    return results


def _of_head(recipe: Recipe, embedded: Embedded, split: SplitName, fold: str, seed: int) -> Result:
    """What the objective itself predicts of the labelled rows of a split."""
    own = embedded.probabilities[split].labelled()
    unseen = unseen_classes(embedded.splits["train"].truth, own.truth)
    return Result(own_head(recipe), "model", own.values.astype(float), own.truth, unseen, fold, seed)


def _validated(recipe: Recipe, embedded: Embedded, fold: str, seed: int) -> list[Result]:
    """The main answer on the validation rows, where a threshold is to be chosen on them."""
    if recipe.evaluation.threshold is None:
        return []
    if embedded.probabilities:
        return [_of_head(recipe, embedded, "valid", fold, seed)]
    train, valid = (embedded.splits[split] for split in ("train", "valid"))
    return [recipe.evaluation.evaluators[0].evaluate(train, valid, name=_first(recipe), fold=fold, seed=seed)]


def judge_fold(fold: Fold, folder: Path, detection: Detection | None = None) -> list[Result]:
    """Results of the baselines on a fold, read from the run folder where they stand there."""
    path = folder / "baselines" / f"{fold.name}.parquet"
    if not path.is_file():
        save_results(path, baselines(fold.train, fold.test, fold=fold.name, detection=detection))
    return load_results(path)


def judge_shots(recipe: Recipe, fold: Fold, seed: int, folder: Path) -> list[Result]:
    """Results of the first evaluator on few labels, and of summary statistics on the same, read where they stand."""
    assert recipe.evaluation.few_shot is not None
    cell = cell_folder(folder, fold.name, seed)
    path = shots_file(cell)
    if not path.is_file():
        learned = (Embeddings.load(cell / "embeddings" / split) for split in ("train", "test"))
        simple = hand_probe(fold.train)
        learners = [
            Learner(_first(recipe), "model", recipe.evaluation.evaluators[0], *learned),
            Learner(f"{SUMMARY}, {simple.name}", "baseline", simple, fold.train.sets[SUMMARY], fold.test.sets[SUMMARY]),
        ]
        save_results(path, few_shot(recipe.evaluation.few_shot, learners, fold=fold.name, seed=seed))
    return load_results(path)


def shots_file(cell: Path) -> Path:
    """Where a cell keeps what was predicted from few labels."""
    return cell / "few_shot.parquet"


def judge_transfer(recipe: Recipe, data: Data, fold: str, seed: int, folder: Path) -> list[Result]:
    """Results of fine-tuning on shares of the labels, from the pre-trained weights and from scratch."""
    answers = transfer_cell(recipe, data, fold, seed, cell_folder(folder, fold, seed))
    results = []
    for (fraction, start), probabilities in answers.items():
        known = probabilities.labelled()
        name = transfer_name(fraction, start)
        results.append(Result(name, "model", known.values.astype(float), known.truth, (), fold, seed))
    return results


def transfer_name(fraction: float, start: str) -> str:
    """What a fine-tuned answer is called: ``pretrained, 1 % of labels``."""
    return f"{start}, {100 * fraction:g} % of labels"


def summarise(
    recipe: Recipe,
    judged: Sequence[Result],
    transferred: Sequence[Result],
    shots: Sequence[Result] = (),
    retrieved: Sequence[Retrieved] = (),
    more: Beside = NOTHING,
) -> dict[str, Any]:
    """The numbers of a run as its report and its table need them.

    Args:
        recipe: of the run.
        judged: of evaluators and baselines, over all folds and seeds; empty where nothing is labelled.
        transferred: of fine-tuning; may be empty.
        shots: of few labels; may be empty.
        retrieved: of galleries; may be empty.
        more: what analyses need beside them.

    Returns:
        A JSON-able dict: metric, chance, rows, folds, transfer, gains, shots, calibration, confusion,
        per_class, detection, modalities, retrieval, verdict, and those of ``analyses.KEYS``.
    """
    metric, retrieval = recipe.evaluation.metric, retrieval_scores(recipe.evaluation.retrieval, retrieved)
    if not judged:
        return _unlabelled(metric, retrieval)
    detection, groups, every = recipe.evaluation.detection, recipe.evaluation.by_group, judged
    by_row, transferred, shots = (deciding(detection, side) for side in (judged, transferred, shots))
    found = analyse(recipe.evaluation, by_row, main_answer(recipe, by_row), more)
    judged, transferred, shots = (group_deciding(groups, side) for side in (by_row, transferred, shots))
    rows = json_table(judged)
    folds = list(dict.fromkeys(result.fold for result in judged))
    per_fold = [rows] if len(folds) == 1 else [json_table([r for r in judged if r.fold == f]) for f in folds]
    main = main_answer(recipe, judged)
    told = (verdict(metric, main, judged, rows), group_note(groups), retrieval.get("verdict"))
    return {
        "metric": metric,
        "chance": {name: score["chance"] for name, score in rows[0]["scores"].items()},
        "rows": rows,
        "folds": [{"fold": fold, "rows": table} for fold, table in zip(folds, per_fold, strict=True)],
        "transfer": _transfer_rows(recipe, transferred),
        "gains": _gains(recipe, transferred),
        "shots": _shots(recipe, shots),
        "calibration": _calibration(recipe, main),
        "confusion": confusion(main),
        "per_class": per_class(main) | {"against_rest": against_rest(main, set_rate(recipe.evaluation.threshold))},
        "detection": detected(detection, every, main[0].name),
        "modalities": modality_scores(recipe, main, judged, rows),
        "retrieval": retrieval,
        "regression": {},
        **found,
        "verdict": " ".join(filter(None, told)),
    }


def _unlabelled(metric: str, retrieval: dict[str, Any]) -> dict[str, Any]:
    """The numbers of a run in which nothing is labelled."""
    unknown = "No recording is labelled, so nothing can be scored. The encoder was trained; see its curves and its map."
    lists: dict[str, Any] = {name: [] for name in ("rows", "folds", "transfer", "gains", "shots")}
    parts = ("chance", "calibration", "confusion", "per_class", "detection", "modalities", "regression", *KEYS)
    empty: dict[str, Any] = {name: {} for name in parts}
    told = retrieval.get("verdict", unknown)
    return {"metric": metric, **lists, **empty, "retrieval": retrieval, "verdict": told}


def main_answer(recipe: Recipe, judged: Sequence[Result]) -> list[Result]:
    """Results of the answer that decides: of the objective's own head where it has one, else the first evaluator."""
    return [r for r in judged if r.name == own_head(recipe)] or [r for r in judged if r.name == _first(recipe)]


def own_head(recipe: Recipe) -> str:
    """What the objective's own predictions are called."""
    return f"{recipe.title}{OWN_HEAD}"


def _first(recipe: Recipe) -> str:
    """What the answer of the first evaluator is called."""
    return f"{recipe.title}, {recipe.evaluation.evaluators[0].name}"


def _transfer_rows(recipe: Recipe, results: Sequence[Result]) -> list[dict[str, Any]]:
    table = {row["name"]: row["scores"] for row in json_table(results)} if results else {}
    fractions = recipe.evaluation.transfer.fractions if recipe.evaluation.transfer else ()
    return [
        {"fraction": fraction, "start": start, "scores": table[transfer_name(fraction, start)]}
        for fraction in fractions
        for start in ("pretrained", "scratch")
    ]


def _gains(recipe: Recipe, results: Sequence[Result]) -> list[dict[str, Any]]:
    """The deciding score of pre-trained minus scratch at each share of the labels, on the same groups."""
    gains, metric = [], recipe.evaluation.metric
    for fraction in recipe.evaluation.transfer.fractions if recipe.evaluation.transfer else ():
        sides = [[r for r in results if r.name == transfer_name(fraction, s)] for s in ("pretrained", "scratch")]
        gain = difference(sides[0], sides[1], metric)
        gains.append({"fraction": fraction, "metric": metric, "value": known(gain.value), "text": signed(gain)})
    return gains


def _shots(recipe: Recipe, results: Sequence[Result]) -> list[dict[str, Any]]:
    settings = recipe.evaluation.few_shot
    if settings is None or not results:
        return []
    simple = f"{SUMMARY}, {LinearProbe().name}"
    return shot_table(settings, results, _first(recipe), simple, recipe.evaluation.metric)


def _calibration(recipe: Recipe, main: Sequence[Result]) -> dict[str, Any]:
    """The reliability of the main answer, if it is meant as a probability, which a distance is not."""
    classes, evaluator = main[0].truth.classes, recipe.evaluation.evaluators[0]
    if main[0].name == _first(recipe) and evaluator.gives == "order":
        return {}
    positive = classes[1] if len(classes) == 2 else "the predicted class"
    return {"name": main[0].name, "positive": positive, "bins": reliability(main)}
