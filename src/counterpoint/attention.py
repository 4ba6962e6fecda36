"""What the fusion of a trained run looks at: its weights for every row, modality and query, in a table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from counterpoint.data.base import Data, Rows, SplitName
from counterpoint.embed import encode
from counterpoint.evaluate.embeddings import write_whole
from counterpoint.explain.attending import Look, looks
from counterpoint.fusion import Fusion
from counterpoint.model import Model
from counterpoint.recipe import keep_features, load, of_run
from counterpoint.scores import cell_folder

_BATCH = 64


class Weighed(NamedTuple):
    """How one query of the fusion weighs one modality of one row.

    Attributes:
        row: which row.
        modality: by name; where the tokens of one look at those of another, both: ``spectra>table``.
        query: of those the fusion has, or the place of the token that looks; 0 where there is none.
        weights: (L,) float32, 0 where no token is real; of a gate (1,).
        real: (L,) bool.
        gate: whether the modality as a whole is weighed, against the others, and not its tokens.
    """

    row: int
    modality: str
    query: int
    weights: NDArray[np.float32]
    real: NDArray[np.bool_]
    gate: bool


def attention(folder: Path, out: Path, split: SplitName = "test", plugins: Sequence[str] = ()) -> str:
    """Write what the fusion of the first cell of a run looks at, and say what it comes to.

    The table has a row for every recording, modality that it has, and query. Of ``TokenAttention``, ``weights`` are
    those of the modality's tokens in their order, the mean over its heads; they are 0 where ``real`` is false and
    1 in sum. Of ``Gated``, whose tokens are one a modality, ``weights`` is the gate alone; gates are 1 in sum over the
    modalities of a recording. ``CrossAttentionFusion`` has both: its gates by modality, and as ``spectra>table`` a row
    for every token of ``spectra``, whose weights are those of the tokens of ``table``.

    Args:
        folder: the run.
        out: a Parquet file.
        split: whose rows.
        plugins: modules that the run's recipe needs.

    Raises:
        ValueError: where the fusion does not weigh, or the split has no rows.
    """
    recipe = of_run(folder, plugins)
    data = recipe.data()
    fold, seed = data.folds[0], recipe.seeds[0]
    model, _ = load(cell_folder(folder, fold, seed), data, recipe)
    rows = data.evaluation(fold, split)
    if not len(rows):
        raise ValueError(f"fold {fold!r} has no rows to {split}; choose another --split")
    found = list(weights_of(model, keep_features(recipe, model, rows)))
    name = type(model.fusion).__name__
    known = {"fusion": name, "fold": fold, "seed": seed, "split": split, "heads": "mean"}
    write_whole(_table(found, data, rows).replace_schema_metadata({"attention": json.dumps(known)}), out)
    told = list(dict.fromkeys([*model.fused, *(one.modality for one in found)]))
    title = f"{name} over {len(rows)} rows of {split}, fold {fold}, seed {seed}"
    return "\n".join([title, *_lines(found, told), f"wrote {out}"])


def weights_of(model: Model, rows: Rows) -> Iterator[Weighed]:
    """How the fusion weighs every modality that a row has, row by row.

    Raises:
        ValueError: where the fusion does not weigh.
    """
    fusion = model.fusion
    if type(fusion).attend is Fusion.attend:
        raise ValueError(
            f"the fusion {type(fusion).__name__} does not weigh what it fuses, so there are no weights to write; "
            "fusion: TokenAttention, fusion: Gated and fusion: CrossAttentionFusion do"
        )
    first = 0
    for batch in encode(model, rows, _BATCH):
        parts = {name: batch[name] for name in model.fused}
        with torch.inference_mode():
            seen = [_plain(look) for look in looks(fusion, parts)]
        for row in range(len(next(iter(parts.values())).mask)):
            for name, weights, real, asked, gate in seen:
                for query in np.flatnonzero(asked[row] & real[row].any()).tolist():
                    yield Weighed(first + row, name, query, weights[row, query], real[row], gate)
        first += row + 1


def _plain(look: Look) -> tuple[str, NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], bool]:
    """What is weighed, weights (B, Q, L), real (B, L), asked (B, Q), and whether they are gates."""
    weights, real, asked = (part.cpu().numpy() for part in (look.weights.float(), look.real, look.asked))
    name = f"{look.asking}>{look.modality}" if look.asking else look.modality
    return name, weights, real, asked, look.gate


def _table(found: Sequence[Weighed], data: Data, rows: Rows) -> Any:
    import pyarrow as pa

    at = np.array([one.row for one in found])
    return pa.table(
        {
            "id": rows.ids[at],
            "name": [data.names[number] for number in rows.ids[at]],
            "label": rows.labels[at],
            "group": rows.groups[at],
            "modality": [one.modality for one in found],
            "query": pa.array([one.query for one in found], pa.int64()),
            "weights": pa.array([one.weights for one in found], pa.list_(pa.float32())),
            "real": pa.array([one.real for one in found], pa.list_(pa.bool_())),
        }
    )


def _lines(found: Sequence[Weighed], modalities: Sequence[str]) -> list[str]:
    """What the weights of each modality come to, and where they cannot tell anything."""
    lines = []
    having = Counter(row for row, _ in {(one.row, one.modality) for one in found if one.gate})
    for name in modalities:
        own = [one for one in found if one.modality == name]
        rows, gated = len({one.row for one in own}), bool(own) and own[0].gate
        # A softmax over one candidate is 1, whatever it is.
        telling = [one for one in own if (having[one.row] if gated else one.real.sum()) > 1]
        alone = rows - len({one.row for one in telling})
        said = f"{name}: {rows} rows"
        if telling and gated:
            said += f", gate {np.mean([one.weights.sum() for one in telling]):.3f} on average"
        elif telling:
            most, spread = (
                max(int(one.real.sum()) for one in telling),
                np.mean([_spread(one.weights) for one in telling]),
            )
            said += f", up to {most} tokens, over {spread:.1f} of which a query spreads on average"
        if alone:
            what = "no other modality beside it" if gated else "one token alone"
            said += f"; {'all' if alone == rows else alone} have {what}: the weight is 1 and tells nothing"
        lines.append(said)
    return lines


def _spread(weights: NDArray[np.float32]) -> float:
    """How many tokens the weights are spread over: exp of their entropy, from 1 to L."""
    positive = weights[weights > 0].astype(np.float64)
    return float(np.exp(-(positive * np.log(positive)).sum()))
