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
from torch import Tensor

from counterpoint.data.base import Data, Rows, SplitName
from counterpoint.embed import encode
from counterpoint.evaluate.embeddings import write_whole
from counterpoint.fusion import Fusion
from counterpoint.model import Model
from counterpoint.recipe import keep_features, load, of_run
from counterpoint.scores import cell_folder
from counterpoint.types import Encoded

_BATCH = 64


class Weighed(NamedTuple):
    """How one query of the fusion weighs one modality of one row.

    Attributes:
        row: which row.
        modality: by name.
        query: of those the fusion has; 0 where it has none.
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
    modalities of a recording.

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
    title = f"{name} over {len(rows)} rows of {split}, fold {fold}, seed {seed}"
    return "\n".join([title, *_lines(found, model.fused), f"wrote {out}"])


def weights_of(model: Model, rows: Rows) -> Iterator[Weighed]:
    """How the fusion weighs every modality that a row has, row by row.

    Raises:
        ValueError: where the fusion does not weigh.
    """
    fusion = model.fusion
    if type(fusion).attend is Fusion.attend:
        raise ValueError(
            f"the fusion {type(fusion).__name__} does not weigh what it fuses, so there are no weights to write; "
            "fusion: TokenAttention and fusion: Gated do"
        )
    first = 0
    for batch in encode(model, rows, _BATCH):
        parts = {name: batch[name] for name in model.fused}
        with torch.inference_mode():
            weighed = {name: _by_query(fusion, values, parts[name]) for name, values in fusion.attend(parts).items()}
        for row in range(len(next(iter(parts.values())).mask)):
            for name, (values, real, gate) in weighed.items():
                if real[row].any():
                    for query, one in enumerate(values[row]):
                        yield Weighed(first + row, name, query, one, real[row], gate)
        first += row + 1


def _by_query(fusion: Fusion, values: Tensor, encoded: Encoded) -> tuple[NDArray[np.float32], NDArray[np.bool_], bool]:
    """Weights (B, Q, L), which of them are of real tokens, (B, L), and whether they are gates."""
    mask = encoded.mask
    if values.ndim == 4 and values.shape[-1] == mask.shape[1]:
        return values.mean(1).float().cpu().numpy(), mask.cpu().numpy(), False
    if values.ndim == 1:
        return values.float()[:, None, None].cpu().numpy(), mask.any(1, keepdim=True).cpu().numpy(), True
    raise ValueError(
        f"{type(fusion).__name__}.attend returns weights of the shape {tuple(values.shape)}; known are (B,), a gate, "
        f"and (B, heads, queries, {mask.shape[1]})"
    )


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
    having = Counter(row for row, _ in {(one.row, one.modality) for one in found})
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
