"""Detection: is it a defect at all, whichever; every answer collapsed to two classes and judged again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from counterpoint.evaluate.embeddings import Truth
from counterpoint.evaluate.intervals import Int, combine_all
from counterpoint.evaluate.results import Result, json_table, known
from counterpoint.evaluate.rival import against_best, with_interval

DEFECT = "defect"
"""Name of all classes together that are not the normal one."""
METRIC = "auroc"
"""What answers are compared by: it needs no threshold."""


@dataclass(frozen=True)
class Detection:
    """Also judge whether a row is a defect at all, whichever.

    Args:
        normal: name of the class that is no defect.
        decides: what the verdict, the main table and the confusion matrix are about. ``defects`` where training has
            normal rows alone, since which defect it is cannot be known then.
        k: neighbours of the distance to the normal rows that hand features are judged by, as a baseline.
    """

    normal: str
    decides: Literal["classes", "defects"] = "classes"
    k: int = 5

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"evaluation.detection.k is {self.k}; use at least 1")


def check(settings: Detection | None, classes: tuple[str, ...], training: Mapping[str, Int]) -> None:
    """Refuse what cannot be judged, before anything is trained.

    Args:
        settings: of the recipe; None where nothing is asked.
        classes: of the data.
        training: (n,) labels of the training rows by fold.

    Raises:
        ValueError: the normal class is unknown, is the only one, or a fold has under two rows of it to train on.
    """
    if settings is None:
        return
    if settings.normal not in classes or len(classes) < 2:
        raise ValueError(
            f"evaluation.detection.normal is {settings.normal!r}, and the classes are {', '.join(classes) or 'none'}; "
            "name one of them, and have another to tell from it"
        )
    for fold, labels in training.items():
        count = int((labels == classes.index(settings.normal)).sum())
        if count < 2:
            raise ValueError(
                f"fold {fold!r}: {count} training rows are {settings.normal!r}, which evaluation.detection says is "
                "normal, and the baselines need 2; choose another split"
            )


def as_detection(result: Result, normal: str) -> Result:
    """The same answer about two classes, ``normal`` and ``defect``; what it says of the defects is added up.

    No class counts as unseen: a distance to the normal rows needs no row of the others.
    """
    truth = result.truth
    place = truth.classes.index(normal)
    probabilities = result.probabilities.astype(np.float64)
    # Not one minus the other: near 1 the probabilities of a network are rounded to float32 and would tie.
    certain, others = probabilities[:, place], np.delete(probabilities, place, 1).sum(1)
    defect = others / (others + certain)
    labels = np.asarray(truth.labels != place, np.int64)
    collapsed = truth._replace(labels=labels, classes=(normal, DEFECT))
    return replace(result, probabilities=np.stack([1 - defect, defect], 1), truth=collapsed, unseen=())


def deciding(settings: Detection | None, results: Sequence[Result]) -> list[Result]:
    """Results as the verdict is to see them: collapsed where defects decide, else as they are."""
    if settings is None or settings.decides == "classes":
        return list(results)
    return [as_detection(result, settings.normal) for result in results]


def detected(settings: Detection | None, judged: Sequence[Result], answer: str) -> dict[str, Any]:
    """How well every answer tells defects from normal rows, and the main one each kind of defect.

    Args:
        settings: of the recipe; None where nothing is asked.
        judged: results of all answers over all classes.
        answer: name of the main one.

    Returns:
        A JSON-able dict, empty without settings: ``normal``, ``decides``, ``metric``, ``answer``, ``chance`` by metric,
        ``rows``, ``best`` (the baseline; None without one), ``difference`` to it, ``classes`` (AUROC of each defect).
    """
    if settings is None:
        return {}
    collapsed = [as_detection(result, settings.normal) for result in judged]
    rows = json_table(collapsed)
    return {
        "normal": settings.normal,
        "decides": settings.decides,
        "metric": METRIC,
        "answer": answer,
        "chance": {name: score["chance"] for name, score in rows[0]["scores"].items()},
        "rows": rows,
        **against_best(rows, collapsed, answer, METRIC),
        "classes": _by_defect([result for result in judged if result.name == answer], settings.normal),
    }


def _by_defect(main: Sequence[Result], normal: str) -> list[dict[str, Any]]:
    """AUROC of each defect that has rows against the normal rows of the same fold.

    A defect whose rows stand in one group alone has no interval.
    """
    classes = main[0].truth.classes
    place, seeds = classes.index(normal), len({result.seed for result in main})
    names, rows, owners, scores = [], [], [], []
    for k, name in enumerate(classes):
        having = [result for result in main if k != place and (result.truth.labels == k).any()]
        if having:
            names.append(name)
            rows.append(sum(int((result.truth.labels == k).sum()) for result in having) // seeds)
            groups = np.concatenate([result.truth.groups[result.truth.labels == k] for result in having])
            owners.append(len(np.unique(groups)))
            scores.append([as_detection(_among(r, (place, k)), normal).statistics()[METRIC] for r in having])
    found = combine_all(scores)
    return [
        {
            "name": name,
            "rows": count,
            METRIC: {
                "value": known(estimate.value),
                "low": known(estimate.low) if groups > 1 else None,
                "high": known(estimate.high) if groups > 1 else None,
                "groups": groups,
            },
        }
        for name, count, groups, estimate in zip(names, rows, owners, found, strict=True)
    ]


def _among(result: Result, labels: tuple[int, int]) -> Result:
    """The rows of two classes."""
    rows, truth = np.isin(result.truth.labels, labels), result.truth
    columns = (truth.labels[rows], truth.groups[rows], truth.domains[rows], truth.ids[rows])
    return replace(result, probabilities=result.probabilities[rows], truth=Truth(*columns, truth.classes))


def detection_lines(scores: dict[str, Any]) -> list[str]:
    """What is printed of detection: the main answer beside the best baseline, and each kind of defect."""
    found = scores["detection"]
    if not found:
        return []
    by_name = {row["name"]: with_interval(row["scores"][METRIC]) for row in found["rows"]}
    line = f"Defect detection: AUROC {by_name[found['answer']]} of {found['answer']}"
    if found["best"] is not None:
        text = found["difference"]["text"]
        line += f", against {by_name[found['best']]} of the best baseline, {found['best']} (difference {text})"
    kinds = ", ".join(f"{one['name']} {with_interval(one[METRIC])}" for one in found["classes"])
    return [f"{line}.", f"AUROC of each defect against {found['normal']}: {kinds or 'none has test rows'}."]
