"""What an event's variable looks like to an encoder: a learned vector, or one made from the text of its name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from counterpoint.types import EventSpec


class Variables(nn.Module, ABC):
    """Base of all embeddings of variables.

    A constructor takes the ``EventSpec`` and the width D as its positional arguments.
    """

    @abstractmethod
    def forward(self) -> Tensor:
        """The vectors (V, D) of all variables, in the order of their codes."""


@final
class LearnedVariables(Variables):
    """A free vector a variable, learned from nothing."""

    def __init__(self, spec: EventSpec, dim: int, /) -> None:
        """Draw the vectors."""
        super().__init__()
        self.table = nn.Parameter(torch.randn(len(spec.variables), dim))

    def forward(self) -> Tensor:
        """See ``Variables.forward``."""
        return self.table


@final
class CachedVariables(Variables):
    """Vectors computed elsewhere, projected to the width of the encoder; variables of like meaning start alike."""

    def __init__(self, spec: EventSpec, dim: int, /, *, table: Path) -> None:
        """Read the table.

        Args:
            spec: of the modality.
            dim: D.
            table: a CSV with a column ``Key``, the variable, and one column a dimension, as ``cached.csv`` has it.

        Raises:
            ValueError: naming the file and the variables it lacks or the row that is no vector.
        """
        super().__init__()
        self.vectors: Tensor
        self.register_buffer("vectors", _read_vectors(table, spec.variables))
        self.project = nn.Linear(self.vectors.shape[1], dim)

    def forward(self) -> Tensor:
        """See ``Variables.forward``."""
        projected: Tensor = self.project(self.vectors)
        return projected


@final
class NamedVariables(Variables):
    """Vectors of the variables' names from a text encoder, frozen, projected to the width of the encoder."""

    def __init__(self, spec: EventSpec, dim: int, /, *, model: str, names: dict[str, str] = {}) -> None:  # noqa: B006
        """Embed the names once.

        Args:
            spec: of the modality.
            dim: D.
            model: name of a text encoder on the Hugging Face hub, or a local folder.
            names: variable -> what to call it to the text encoder, such as ``HR`` -> ``heart rate``.

        Raises:
            ValueError: if the model cannot be loaded, or a name is given to a variable that there is none of.
        """
        super().__init__()
        strange = sorted(set(names) - set(spec.variables))
        if strange:
            raise ValueError(f"NamedVariables.names: the data have no variable {strange[0]!r}")
        self.vectors: Tensor
        self.register_buffer("vectors", _embed_names(model, [names.get(v, v) for v in spec.variables]))
        self.project = nn.Linear(self.vectors.shape[1], dim)

    def forward(self) -> Tensor:
        """See ``Variables.forward``."""
        projected: Tensor = self.project(self.vectors)
        return projected


def _read_vectors(path: Path, variables: tuple[str, ...]) -> Tensor:
    import pyarrow as pa
    from pyarrow import csv

    try:
        table = csv.read_csv(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise ValueError(f"{path}: not a readable table of vectors: {error}") from error
    if "Key" not in table.column_names or len(table.column_names) < 2:
        raise ValueError(f"{path}: needs a column 'Key' and one column a dimension; it has {table.column_names[:4]}")
    rows = {str(key): place for place, key in enumerate(table["Key"].to_pylist())}
    missing = [variable for variable in variables if variable not in rows]
    if missing:
        raise ValueError(
            f"{path}: has no row for {len(missing)} of {len(variables)} variables: {', '.join(missing[:5])}; "
            "add them, or use LearnedVariables"
        )
    names = [name for name in table.column_names if name != "Key"]
    try:
        columns = [table[name].to_numpy().astype(np.float32) for name in names]
    except ValueError as error:
        raise ValueError(f"{path}: a column is not of numbers: {error}") from error
    values = np.stack(columns, 1)[[rows[variable] for variable in variables]]
    bad = np.flatnonzero(~np.isfinite(values).all(1))
    if len(bad):
        raise ValueError(f"{path}: the vector of {variables[bad[0]]!r} is not finite")
    return _unit(torch.from_numpy(values))


def _embed_names(model: str, names: list[str]) -> Tensor:
    try:
        from transformers import AutoModel, AutoTokenizer
    except ModuleNotFoundError as error:
        raise ValueError("NamedVariables needs transformers: pip install 'counterpoint[hf]'") from error
    try:
        tokenizer, encoder = AutoTokenizer.from_pretrained(model), AutoModel.from_pretrained(model).eval()
    except OSError as error:
        raise ValueError(f"NamedVariables.model: {model!r} is neither a folder nor reachable: {error}") from error
    words = tokenizer(names, padding=True, return_tensors="pt")
    with torch.no_grad():
        tokens = encoder(**words).last_hidden_state
    weight = words["attention_mask"].unsqueeze(-1).to(tokens.dtype)
    return _unit((tokens * weight).sum(1) / weight.sum(1))


def _unit(vectors: Tensor) -> Tensor:
    """Rows scaled to a length of sqrt(D), the size that free vectors are drawn with."""
    scaled: Tensor = nn.functional.normalize(vectors.float(), dim=-1) * vectors.shape[1] ** 0.5
    return scaled
