"""What every pre-trained encoder is: a backbone that is frozen, and what is trained on top of it."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from counterpoint.encoders.base import Encoder, masked_mean
from counterpoint.encoders.frontend import zeroed
from counterpoint.encoders.pretrained.weights import Precision, architecture, digest
from counterpoint.types import Encoded, Features, Modality


@dataclass(frozen=True, kw_only=True)
class Inference:
    """How the frozen backbone is run.

    Args:
        dtype: of its weights and arithmetic.
        chunk: clips, photographs or spectrograms at a time, which bounds the memory and changes no value.
    """

    dtype: Precision = "float32"
    chunk: int = 8

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise ValueError(f"Inference: chunk is {self.chunk}; choose at least 1")


PLAIN = Inference()


class Pretrained(Encoder):
    """Base of the encoders that stand on published weights.

    Frozen means frozen: no gradient, no graph, always in evaluation mode, outside autocast. What the backbone makes
    of a recording is then a function of the recording and of ``fingerprint`` alone, so it can be computed once, kept
    and handed in as ``Features`` in place of the modality itself.

    A state dict holds what is trained and the digest of what is not: the frozen weights stay where they came from,
    and loading checks that they are the same.

    Attributes:
        model: the backbone; its ``config`` is the library's.
        width: D of the features.
        unfreeze: blocks at its end that are trained, with the normalisation behind them.
    """

    revision = 1
    """Counted up when the arithmetic between modality and features changes, so that no kept features survive it."""

    frozen: Tensor

    def __init__(self, model: Any, /, *, unfreeze: int, dim: int, inference: Inference) -> None:
        """Freeze the backbone and put a projection on top.

        Args:
            model: the backbone.
            unfreeze: blocks at its end to train.
            dim: width of tokens and embedding.
            inference: how the backbone is run.

        Raises:
            ValueError: where there are not as many blocks, or they were to be trained in half precision.
        """
        super().__init__()
        blocks = int(model.config.num_hidden_layers)
        owner = type(self).__name__
        if dim < 1:
            raise ValueError(f"{owner}: dim is {dim}; choose at least 1")
        if not 0 <= unfreeze <= blocks:
            raise ValueError(f"{owner}: unfreeze is {unfreeze}; the model has {blocks} blocks")
        if unfreeze and inference.dtype != "float32":
            raise ValueError(
                f"{owner}: unfreeze is {unfreeze} and inference.dtype {inference.dtype}; blocks are trained in float32"
            )
        self.model: nn.Module = model
        self.width, self.dim, self.unfreeze, self.inference = int(model.config.hidden_size), dim, unfreeze, inference
        self.model.requires_grad_(False)
        for module in self._trained():
            module.requires_grad_(True)
        self.project = nn.Sequential(nn.LayerNorm(self.width), nn.Linear(self.width, dim))
        known = bytes.fromhex(digest(self._frozen().values()))
        self.register_buffer("frozen", torch.frombuffer(bytearray(known), dtype=torch.uint8))
        self.register_state_dict_post_hook(_leave_out_frozen)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_put_in_frozen)  # type: ignore[no-untyped-call]
        self.train(self.training)

    @property
    def cacheable(self) -> bool:
        """Whether features may be kept on disk: only while nothing below them is trained."""
        return self.unfreeze == 0

    def train(self, mode: bool = True) -> Self:
        """Set the mode of what is trained; what is frozen stays in evaluation mode."""
        super().train(mode)
        self.model.eval()
        for module in self._trained():
            module.train(mode)
        return self

    def forward(self, modality: Modality) -> Encoded:
        """Encode the modality, or the ``Features`` that ``backbone`` made of it.

        Raises:
            ValueError: where features come in though the backbone is trained.
        """
        if not isinstance(modality, Features):
            return self.finish(self.backbone(modality))
        if self.unfreeze:
            raise ValueError(
                f"{type(self).__name__}: unfreeze is {self.unfreeze}, so features kept from before no longer hold; "
                "give the recordings themselves, or set unfreeze: 0"
            )
        return self.finish(modality)

    def backbone(self, modality: Any) -> Features:
        """What the backbone makes of a modality, (B, L', width); without a graph unless its blocks are trained."""
        if self.unfreeze:
            return self.extract(modality)
        with torch.no_grad(), torch.autocast(self.frozen.device.type, enabled=False):
            return self.extract(modality)

    def finish(self, features: Features) -> Encoded:
        """Project (B, L', width) features to (B, L', dim) tokens and pool them to (B, dim): the trained part.

        Raises:
            ValueError: where the features are of another width.
        """
        if features.tokens.ndim != 3 or features.tokens.shape[2] != self.width:
            raise ValueError(
                f"{type(self).__name__}: features have the shape {tuple(features.tokens.shape)} and the backbone "
                f"makes (rows, tokens, {self.width}); compute them again"
            )
        weight = self.project[1].weight
        assert isinstance(weight, Tensor)
        tokens = self.project(zeroed(features.tokens, features.mask).to(weight.dtype))
        tokens = zeroed(self.placed(tokens), features.mask)
        return Encoded(tokens, features.mask, self.pool(tokens, features.mask))

    def fingerprint(self) -> str:
        """Digest of all that decides the features but the recording: weights, sizes, preprocessing, pooling, dtype."""
        known = {
            "encoder": type(self).__name__,
            "revision": self.revision,
            "weights": digest(self.model.parameters()),
            "model": architecture(self.model.config),
            "dtype": str(self._dtype()),
            **self.settings(),
        }
        return hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()

    @abstractmethod
    def extract(self, modality: Any) -> Features:
        """Prepare the modality and run the backbone over it, rows that are missing left out."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What decides the features beside the model: preprocessing and pooling."""

    def placed(self, tokens: Tensor) -> Tensor:
        """(B, L', dim) tokens, told where they stand; as they are, where the backbone told them."""
        return tokens

    def pool(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B, dim) of (B, L', dim) tokens that are zero where the mask is False; 0 for a missing row."""
        return masked_mean(tokens, mask)

    def scattered(
        self, shape: tuple[int, ...], places: Tensor, run: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Run over places a chunk at a time and lay the results out, zeros elsewhere.

        Args:
            shape: of the result, its width left out; it begins with the sizes that places index.
            places: (n, k) indices of what is real.
            run: turns (m, k) of them into (m, ..., width).

        Returns:
            (*shape, width) values and the mask over the first k sizes.
        """
        values = torch.zeros(*shape, self.width, dtype=self._dtype(), device=places.device)
        mask = torch.zeros(shape[: places.shape[1]], dtype=torch.bool, device=places.device)
        for some in torch.split(places, self.inference.chunk) if len(places) else ():
            at = some.unbind(1)
            values[at] = run(some).to(values.dtype)
            mask[at] = True
        return values, mask

    def _dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype

    def behind(self, blocks: nn.ModuleList) -> list[nn.Module]:
        """What comes after the last of the blocks and is trained with it."""
        return [self.model.get_submodule("layernorm")]

    def _trained(self) -> list[nn.Module]:
        """The last blocks and the normalisation behind them."""
        if not self.unfreeze:
            return []
        count = int(self.model.config.num_hidden_layers)  # type: ignore[union-attr, arg-type]
        lists = [m for m in self.model.modules() if isinstance(m, nn.ModuleList) and len(m) == count]
        # A block may hold as many parts as there are blocks.
        inside = {id(part) for one in lists for part in one.modules() if part is not one}
        lists = [one for one in lists if id(one) not in inside]
        if len(lists) != 1:
            raise ValueError(
                f"{type(self).__name__}: unfreeze is {self.unfreeze} and of the model's modules {len(lists)} are lists "
                f"of {count} blocks, so which to train is not known; set unfreeze: 0"
            )
        return [*lists[0][count - self.unfreeze :], *self.behind(lists[0])]

    def _frozen(self) -> dict[str, Tensor]:
        """Weights by name that are never trained."""
        trained = {id(weight) for module in self._trained() for weight in module.parameters()}
        return {name: weight for name, weight in self.model.named_parameters() if id(weight) not in trained}


def _leave_out_frozen(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    assert isinstance(module, Pretrained)
    for name in module._frozen():
        state.pop(f"{prefix}model.{name}", None)


def _put_in_frozen(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Complete a state dict with the frozen weights that are here, if they are those it was saved over.

    Raises:
        ValueError: if they are others.
    """
    assert isinstance(module, Pretrained)
    saved = state.get(f"{prefix}frozen")
    if isinstance(saved, Tensor) and not torch.equal(saved.cpu(), module.frozen.cpu()):
        raise ValueError(
            f"{type(module).__name__}: the state was trained over frozen weights with the digest "
            f"{bytes(saved.tolist()).hex()[:12]} and these have {bytes(module.frozen.tolist()).hex()[:12]}; "
            "set weights, unfreeze and inference.dtype as they were in training"
        )
    for name, weight in module._frozen().items():
        state.setdefault(f"{prefix}model.{name}", weight)
