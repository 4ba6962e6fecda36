"""The model card of a run: what the model is, what it was trained and tested on, what it is worth, where it ends."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from counterpoint.evaluate.metrics import headline
from counterpoint.report.card_facts import Division, Weights, divisions, weights
from counterpoint.report.documents import Scores
from counterpoint.report.folder import Run, read_run
from counterpoint.report.page import flat, reasons
from counterpoint.report.tables import leaders
from counterpoint.report.templating import template

NAME = "model_card.md"
FEW_GROUPS = 30
"""Independent groups under which a card says that scores rest on few."""
SOURCES = 30
"""Sources that a card spells out; data.json has them all."""


class Part(NamedTuple):
    """A class that the recipe names, with what was set of it."""

    role: str
    name: str
    settings: str


def write_model_card(folder: Path) -> Path:
    """Write ``model_card.md`` from the files of a run folder.

    Args:
        folder: that `train` and `evaluate` have written.

    Returns:
        The card: Markdown with the YAML header that the Hugging Face Hub reads.

    Raises:
        ValueError: a file or a key is missing or makes no sense; the message names it and the remedy.
    """
    run = read_run(folder)
    path = folder / NAME
    scratch = path.with_suffix(".tmp")
    scratch.write_text(card(run), encoding="utf-8")
    scratch.replace(path)
    return path


def card(run: Run) -> str:
    """The text of the card of a run."""
    recipe = yaml.safe_load(run.recipe) or {}
    divided, weighed = divisions(run), weights(run)
    text = template("model_card.md.j2").render(
        header=header(run, recipe),
        run=run,
        scores=run.scores,
        account=run.account,
        parts=list(parts(recipe)),
        weights=weighed,
        divisions=divided,
        limits=limits(run, divided, weighed),
        error=_calibration_error(run.scores),
        counts=[(name, _number(count)) for name, count in flat(run.account.counts)],
        reasons=reasons(run.account),
        listed=SOURCES,
        line=line,
        code=code,
        metrics=_told(run.scores),
        place=run.folder.name,
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _told(scores: Scores) -> list[str]:
    """Scores that the table of the card has: what decides, and what is told beside it."""
    beside = [metric for metric in headline(scores.metric) if metric in scores.metrics]
    return beside if len(beside) > 1 else scores.metrics[:4]


def header(run: Run, recipe: dict[str, Any]) -> str:
    """The YAML on top: what the Hub lists a model by, the results of the main answer among it."""
    scores = run.scores
    tags = ["counterpoint", *recipe.get("encoders", {}), _type(recipe.get("objective"))]
    about: dict[str, Any] = {"library_name": "counterpoint", "license": "unknown"}
    about["tags"] = [*dict.fromkeys(tag for tag in tags if tag), *(["simulated-data"] if scores.simulated else [])]
    main = next((row for title, row in leaders(scores) if title == "Model"), None)
    found = [(name, score.value) for name, score in main.scores.items() if score.value is not None] if main else []
    if main and found:
        metrics = [{"type": name, "value": round(value, 4), "name": f"{name} of {main.name}"} for name, value in found]
        data = {"name": f"{_type(recipe.get('data')) or 'recordings'} of {scores.name}", "type": "local"}
        task = {"type": "classification" if scores.confusion else "regression"}
        about["model-index"] = [{"name": scores.name, "results": [{"task": task, "dataset": data, "metrics": metrics}]}]
    return yaml.safe_dump(about, sort_keys=False, allow_unicode=True).strip()


def parts(recipe: dict[str, Any]) -> Iterator[Part]:
    """What the recipe is made of, a class a line with its plain settings."""
    encoders = recipe.get("encoders") or {}
    roles = {"reader of the data": recipe.get("data")} | {f"encoder of {n}": made for n, made in encoders.items()}
    roles |= {"fusion": recipe.get("fusion") if len(encoders) > 1 else None, "objective": recipe.get("objective")}
    for role, made in roles.items():
        if name := _type(made):
            yield Part(role, name, _plain(made))
    terms = (recipe.get("objective") or {}).get("terms") if isinstance(recipe.get("objective"), dict) else None
    for name, term in (terms or {}).items():
        inner = term.get("objective") if isinstance(term, dict) else None
        if kind := _type(inner):
            yield Part(f"term {name}, weight {term.get('weight', 1.0):g}", kind, _plain(inner))


def limits(run: Run, divided: Sequence[Division], weighed: Weights) -> list[str]:
    """What follows from the files of the run about where the model ends, a sentence each."""
    scores, found = run.scores, list[str]()
    if scores.simulated:
        found.append(
            "Trained and tested on SIMULATED recordings: its scores show that the program works and say nothing of "
            "real machines, patients or scenes."
        )
    groups = max((one.test_groups for one in divided), default=0)
    tested = sorted({score.groups for row in scores.rows for score in row.scores.values()})
    if tested and tested[-1] < FEW_GROUPS:
        found.append(f"Tested on {tested[-1]} independent groups, which is few: intervals are wide, and rightly so.")
    elif tested:
        found.append(f"Tested on {tested[-1]:,} independent groups, up to {groups:,} a fold.")
    if scores.regression:
        found.append(
            f"It estimates {scores.regression.target} and nothing else. What it says of recordings whose true value "
            "lies outside the values it was trained on is a guess."
        )
    elif run.account.classes:
        names = ", ".join(run.account.classes)
        found.append(f"It knows these classes and no other; whatever it is shown is told to be one of them: {names}.")
    elif scores.rows:
        found.append(
            "It estimates a number, and does so for whatever it is shown; beyond the range it was trained on, blindly."
        )
    else:
        found.append("No recording was labelled: there is an embedding, and nothing that says what it is good for.")
    found += _of_classes(run)
    if divided and all(one.strange_domains for one in divided):
        found.append("Every test condition (domain) is one that training lacked: the scores are of new conditions.")
    elif divided and max(one.train_domains for one in divided) == 1 and not any(one.strange_domains for one in divided):
        found.append("All rows count as one condition (domain); what the model does under another is unknown.")
    elif divided and not any(one.strange_domains for one in divided):
        found.append(
            "Tested only under conditions (domains) that were trained on as well; what it does under others is unknown."
        )
    many = f"{weighed.trainings} models, one for each fold and seed; none was trained on all recordings"
    found.append(f"The scores are of {many}." if weighed.trainings > 1 else "The scores are of one training, one seed.")
    return found


def _of_classes(run: Run) -> Iterator[str]:
    unseen = sorted({name for row in run.scores.rows for name in row.unseen})
    if unseen:
        yield f"Tested in some fold but not trained on there, so always wrong: {', '.join(unseen)}."
    if run.scores.per_class and run.scores.per_class.never_predicted:
        yield f"Never predicted of any test row: {', '.join(run.scores.per_class.never_predicted)}."
    rare = [name for name, count in run.account.classes.items() if 0 < count < FEW_GROUPS]
    if rare:
        yield f"Fewer than {FEW_GROUPS} recordings have been seen of: {', '.join(rare)}."


def line(text: Any) -> str:
    """Text of a run within a line of Markdown: nothing in it makes a cell, a tag or a link."""
    flat = " ".join(str(text).split())
    return re.sub(r"([|`*\\]|(?<=\])[(:])", r"\\\1", flat).replace("<", "&lt;")


def code(text: str) -> str:
    """Text of a run within a block of code, which it cannot end."""
    return " ".join(text.split()).replace("`", "'")


def _calibration_error(scores: Scores) -> float | None:
    """Rows times the distance between predicted and observed, over all bins."""
    if scores.calibration is None:
        return None
    bins = scores.calibration.bins
    rows = np.array([one.rows for one in bins], np.float64)
    gaps = np.array([abs(one.predicted - one.observed) for one in bins])
    return float((rows * gaps).sum() / rows.sum()) if rows.sum() else None


def _type(made: Any) -> str:
    """The name of the class that a part of a recipe chooses."""
    return str(made.get("type", "")) if isinstance(made, dict) else made if isinstance(made, str) else ""


def _plain(made: Any) -> str:
    """Numbers and words that are set, without paths and what is nested."""
    if not isinstance(made, dict):
        return ""
    plain = {key: value for key, value in made.items() if key != "type" and isinstance(value, (int, float, str))}
    return ", ".join(f"{key} {value}" for key, value in plain.items() if value != "" and "/" not in str(value))


def _number(count: Any) -> str:
    return f"{count:,}" if isinstance(count, int) else str(count)
