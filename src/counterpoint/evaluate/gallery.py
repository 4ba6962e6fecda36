"""What was found in galleries: kept query by query, the table of all answers, and what it comes to in words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from counterpoint.evaluate.embeddings import write_whole
from counterpoint.evaluate.intervals import Int, Statistic, combine_all, paired_difference, signed
from counterpoint.evaluate.results import Kind, known, whole
from counterpoint.evaluate.retrieval import Retrieval, Standing, recall_name, statistics


class Asked(NamedTuple):
    """What was looked for where.

    Attributes:
        query: the output of the model that asks.
        gallery: the output that is searched.
        shown: the fused modalities that were shown, with commas between them; "" for all.
    """

    query: str
    gallery: str
    shown: str = ""

    def __str__(self) -> str:
        """``fused -> text, range_time alone``."""
        return f"{self.query} -> {self.gallery}" + (f", {self.shown} alone" if self.shown else "")


@dataclass(frozen=True)
class Retrieved:
    """Where one answer found the right rows of one fold under one seed.

    Args:
        asked: of what.
        name: of the answer, the same over folds and seeds.
        kind: whether it uses a learned representation.
        standing: of the queries.
        groups: (Q,) of which group each query is.
        ids: (Q,) its recording.
        left_out: test rows that are no query, as they lack one of the two sides.
        lacking: test rows that are not in the gallery, as they lack its side.
        different: rows of the gallery that differ in their key, as captions do.
        fold: of the data.
        seed: of the run.
    """

    asked: Asked
    name: str
    kind: Kind
    standing: Standing
    groups: Int
    ids: Int
    left_out: int
    lacking: int
    different: int
    fold: str = ""
    seed: int = 0

    def statistics(self, ks: Sequence[int]) -> dict[str, Statistic]:
        """The scores by name, to be resampled."""
        return statistics(self.standing, self.groups, ks)


def retrieval_scores(settings: Retrieval | None, found: Sequence[Retrieved]) -> dict[str, Any]:
    """What ``scores.json`` holds of retrieval: ``ks``, ``rows`` and ``verdict``; empty where nobody asked.

    Args:
        settings: of the recipe.
        found: all answers, over all folds and seeds, the one to judge first.
    """
    if settings is None or not found:
        return {}
    answers: dict[tuple[Asked, str], list[Retrieved]] = {}
    for one in found:
        answers.setdefault((one.asked, one.name), []).append(one)
    scored = [[member.statistics(settings.ks) for member in members] for members in answers.values()]
    names = list(scored[0][0])
    estimates = iter(combine_all([[one[name] for one in statistics] for statistics in scored for name in names]))
    rows = [
        _row(members, statistics, {name: next(estimates) for name in names}, settings.ks)
        for members, statistics in zip(answers.values(), scored, strict=True)
    ]
    told = _verdict(rows, dict(zip(answers, scored, strict=True)), settings.ks[-1])
    return {"ks": list(settings.ks), "rows": rows, "verdict": told}


def _row(
    members: Sequence[Retrieved], scored: Sequence[dict[str, Statistic]], estimates: dict[str, Any], ks: Sequence[int]
) -> dict[str, Any]:
    """One answer, over all of its folds and seeds; JSON-able."""
    first = members[0]
    chances = [member.standing.chance(ks) for member in members]
    seeds = sorted({member.seed for member in members})
    groups = len(np.unique(np.concatenate([member.groups for member in members])))
    scores = {}
    for name, estimate in estimates.items():
        values = [whole(one[name]) for one in scored]
        by_seed = [np.mean([v for v, m in zip(values, members, strict=True) if m.seed == seed]) for seed in seeds]
        scores[name] = {
            "value": known(estimate.value),
            "low": known(estimate.low),
            "high": known(estimate.high),
            "groups": groups,
            "spread": known(float(np.std(by_seed, ddof=1))) if len(seeds) > 1 else None,
            "chance": float(np.mean([chance[name] for chance in chances])),
        }
    return {
        **first.asked._asdict(),
        "name": first.name,
        "kind": first.kind,
        "sizes": sorted({member.standing.gallery for member in members}),
        "different": max(member.different for member in members),
        "queries": sum(len(member.ids) for member in members),
        "left_out": sum(member.left_out for member in members),
        "lacking": sum(member.lacking for member in members),
        "groups": groups,
        "folds": len({member.fold for member in members}),
        "seeds": len(seeds),
        "scores": scores,
    }


def _verdict(
    rows: Sequence[dict[str, Any]], scored: dict[tuple[Asked, str], list[dict[str, Statistic]]], k: int
) -> str:
    """A headline and two sentences: what was asked first, against chance and the best baseline.

    Args:
        rows: the table.
        scored: statistics of every row, in the same order.
        k: how many answers are looked at.
    """
    own, metric = rows[0], recall_name(k)
    keys = list(scored)
    asked, score = keys[0][0], own["scores"][metric]
    (rival,) = _best([row for row in rows if _asked(row) == asked], metric)
    theirs = scored[asked, rival["name"]]
    gap = paired_difference([one[metric] for one in scored[keys[0]]], [one[metric] for one in theirs])
    lucky = score["low"] is None or score["low"] <= score["chance"]
    if lucky:
        head = "Retrieval is NOT distinguishable from chance"
    elif gap.low > 0:
        head = "Retrieval beats chance and every baseline"
    else:
        head = (
            "Retrieval does NOT beat the baselines"
            if gap.value <= 0
            else "Retrieval does not clearly beat the baselines"
        )
    return (
        f"{head}. {own['name']}, {asked}, has a right answer among the first {k} of {_sizes(own)} for "
        f"{_told(score)} of the queries of {own['groups']} groups ({_luck(score)}). The best baseline, "
        f"{rival['name']}, has one for {_told(rival['scores'][metric])}: a difference of {signed(gap)}."
    )


def retrieval_lines(scores: dict[str, Any]) -> list[str]:
    """What is printed of retrieval: of each direction and condition the model's line, and one of the best baseline.

    The best is that of the largest recall at the largest k; of equal ones the first. The others are in the report.
    """
    found = scores["retrieval"]
    if not found:
        return []
    metric = recall_name(found["ks"][-1])
    asked: dict[Asked, list[dict[str, Any]]] = {}
    for row in found["rows"]:
        asked.setdefault(_asked(row), []).append(row)
    return [_line(row) for rows in asked.values() for row in (*_of_kind(rows, "model"), *_best(rows, metric))]


def _asked(row: dict[str, Any]) -> Asked:
    return Asked(row["query"], row["gallery"], row["shown"])


def _of_kind(rows: Sequence[dict[str, Any]], kind: Kind) -> list[dict[str, Any]]:
    return [row for row in rows if row["kind"] == kind]


def _best(rows: Sequence[dict[str, Any]], metric: str) -> list[dict[str, Any]]:
    """The baseline of the largest score; none where none has one."""
    rivals = [row for row in _of_kind(rows, "baseline") if row["scores"][metric]["value"] is not None]
    return sorted(rivals, key=lambda row: row["scores"][metric]["value"], reverse=True)[:1]


def _line(row: dict[str, Any]) -> str:
    parts = []
    for name, score in row["scores"].items():
        luck = f" ({_luck(score)})" if name.startswith("R@") else f" (chance {_number(name, score['chance'])})"
        parts.append(f"{name} {_told(score, name)}{luck}")
    notes = [f"{row['different']} different"] if row["different"] < row["sizes"][-1] else []
    notes += [f"{row['left_out']} rows lack a side and do not ask"] if row["left_out"] else []
    notes += [f"{row['lacking']} rows are not in the gallery"] if row["lacking"] else []
    told = f" ({'; '.join(notes)})" if notes else ""
    return f"{row['name']}: {_asked(row)}, gallery {_sizes(row)}{told}: {', '.join(parts)}"


def _sizes(row: dict[str, Any]) -> str:
    sizes = row["sizes"]
    return str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"


def _luck(score: dict[str, Any]) -> str:
    """``chance 0.020, 21 x chance``."""
    level = f"chance {score['chance']:.3f}"
    return (
        level
        if not score["value"] or not score["chance"]
        else f"{level}, {score['value'] / score['chance']:.3g} x chance"
    )


def _told(score: dict[str, Any], name: str = "") -> str:
    value, low, high = (None if score[end] is None else _number(name, score[end]) for end in ("value", "low", "high"))
    if value is None:
        return "undefined"
    return value if low is None else f"{value} [{low}, {high}]"


def _number(name: str, value: float) -> str:
    return f"{value:.4g}" if name == "MedR" else f"{value:.3f}"


def save_retrieved(path: Path, found: Sequence[Retrieved]) -> None:
    """Write where the right rows stand to a Parquet file, a row a query; metadata have what is of whole answers."""
    import pyarrow as pa

    heads, tables = [], []
    for index, one in enumerate(found):
        known_of = [one.name, one.kind, one.fold, one.seed, one.left_out, one.lacking, one.different]
        heads.append([list(one.asked), one.standing.gallery, known_of])
        columns = {
            "answer": np.full(len(one.ids), index),
            "id": one.ids,
            "group": one.groups,
            "above": one.standing.above,
            "wrong": one.standing.wrong,
            "tied": one.standing.tied,
            "right": one.standing.right,
        }
        tables.append(pa.table(columns))
    write_whole(pa.concat_tables(tables).replace_schema_metadata({"answers": json.dumps(heads)}), path)


def load_retrieved(path: Path) -> list[Retrieved]:
    """Read what ``save_retrieved`` wrote.

    Raises:
        ValueError: the file is not one of ours.
    """
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    heads = (table.schema.metadata or {}).get(b"answers")
    if heads is None:
        raise ValueError(f"{path}: not a file of ranks; `counterpoint evaluate` writes them")
    owner = table["answer"].to_numpy()
    found = []
    for index, (asked, gallery, (name, kind, fold, seed, left_out, lacking, different)) in enumerate(json.loads(heads)):
        own = np.flatnonzero(owner == index)
        ids, groups, above, wrong, tied, right = (
            table[column].to_numpy()[own] for column in ("id", "group", "above", "wrong", "tied", "right")
        )
        standing = Standing(above, wrong, tied, right, gallery)
        place = (left_out, lacking, different, fold, seed)
        found.append(Retrieved(Asked(*asked), name, kind, standing, groups, ids, *place))
    return found
