"""Published weights, found by name or folder and checked; and the digest by which they are known."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from torch import Tensor

LOG = logging.getLogger("counterpoint")

StandIn = Literal["none", "small"]
Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The weights an encoder is to be built on.

    Attributes:
        owner: the encoder, for messages.
        config: class of the library's configuration.
        model: class of the library's model.
        weights: a name on the Hugging Face hub, or a folder written by ``save_pretrained``.
        stand_in: ``small`` for random weights of the sizes in ``small``.
        small: the configuration of the stand-in.
        changes: what differs from the configuration the weights came with.
        unused: beginnings of the names of weights that may be absent, because nothing reads them.
        precision: of the arithmetic.
    """

    owner: str
    config: Any
    model: Any
    weights: str
    stand_in: StandIn
    small: Mapping[str, Any]
    changes: Mapping[str, Any]
    unused: tuple[str, ...]
    precision: Precision


def library(owner: str) -> Any:
    """``transformers``, imported late: it takes seconds and is an extra.

    Raises:
        ImportError: where it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise ImportError(f"{owner} needs the transformers library: pip install 'counterpoint[hf]'") from error
    return transformers


def load(wanted: Wanted) -> Any:
    """The model with its weights, every one of them found.

    Raises:
        ValueError: where the weights cannot be had, are damaged, or belong to another kind of model.
    """
    dtype = getattr(torch, wanted.precision)
    if wanted.stand_in == "small":
        LOG.warning(
            "%s: a small random stand-in takes the place of %s; what it scores says nothing of it",
            wanted.owner,
            wanted.weights,
        )
        # The same weights in every process and for every seed, as published ones would be.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return wanted.model(wanted.config(**{**wanted.small, **wanted.changes})).to(dtype)
    source = str(Path(wanted.weights).expanduser())
    try:
        raw, _ = wanted.config.get_config_dict(source)
        _check_kind(wanted, raw)
        config = wanted.config.from_dict({**raw, **wanted.changes})
        model, found = wanted.model.from_pretrained(
            source, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ValueError(f"{wanted.owner}: {_remedy(source, error)}") from error
    missing = [name for name in found["missing_keys"] if not name.startswith(wanted.unused)]
    if missing:
        raise ValueError(
            f"{wanted.owner}: {wanted.weights!r} lacks {len(missing)} of the model's weights, {sorted(missing)[0]} for "
            "one; take a complete download"
        )
    return model


def configuration(owner: str, weights: str) -> Any:
    """The configuration that weights came with, of whatever kind their model is.

    Raises:
        ValueError: where it cannot be had.
    """
    from transformers import AutoConfig

    source = str(Path(weights).expanduser())
    try:
        return AutoConfig.from_pretrained(source)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{owner}: {_remedy(source, error)}") from error


def preprocessing(weights: str, stand_in: StandIn) -> dict[str, Any]:
    """What the checkpoint says of how its inputs are prepared; nothing where it says nothing.

    Raises:
        ValueError: where its file cannot be read.
    """
    if stand_in == "small":
        return {}
    from transformers.utils.hub import cached_file

    for name in ("video_preprocessor_config.json", "preprocessor_config.json"):
        try:
            path = cached_file(str(Path(weights).expanduser()), name)
        except OSError:
            continue
        if path is not None:
            try:
                said: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
            except ValueError as error:
                raise ValueError(f"{path} is not valid JSON: {error}; take a complete download") from error
            return said
    return {}


def digest(tensors: Iterable[Tensor]) -> str:
    """SHA-256 of what the tensors hold, with shapes and types.

    Neither order nor names count, as both differ between versions of the library that read the same file.
    """
    single = []
    for tensor in tensors:
        known = hashlib.sha256(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        known.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        single.append(known.digest())
    return hashlib.sha256(b"".join(sorted(single))).hexdigest()


def architecture(config: Any) -> dict[str, Any]:
    """What of a configuration decides the arithmetic: everything but names, paths and versions."""
    beside = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype", "id2label", "label2id")
    return {key: value for key, value in config.to_dict().items() if key not in beside}


def _check_kind(wanted: Wanted, raw: Mapping[str, Any]) -> None:
    if not raw:
        raise OSError("there is no config.json")
    kind = raw.get("model_type")
    if kind != wanted.config.model_type:
        raise ValueError(
            f"{wanted.owner}: {wanted.weights!r} holds a model of type {kind!r}; it needs {wanted.config.model_type!r}"
        )


def _remedy(source: str, error: Exception) -> str:
    """What is wrong with the weights and what to do about it."""
    trial = "To try the rest out, a small random stand-in is there: stand_in: small"
    if Path(source).is_dir():
        return f"the weights in {source!r} cannot be read: {_short(error)} Take a complete download. {trial}"
    if source.startswith((".", "/", "~")) or source.count("/") > 1:
        return f"there is no folder {source!r} to take weights from; mend the path. {trial}"
    return (
        f"the weights {source!r} are neither a folder here nor in the local Hugging Face cache, and cannot be "
        f"downloaded: {_short(error)} On a machine with a network run `hf download {source} --local-dir FOLDER`, copy "
        f"the folder here and set weights: FOLDER. {trial}"
    )


def _short(error: Exception) -> str:
    """The beginning of a message that may run over many lines, ending in a full stop."""
    text = " ".join(str(error).split()).rstrip(".")
    return f"{text[:300]}." if len(text) <= 300 else f"{text[:300]} ..."
