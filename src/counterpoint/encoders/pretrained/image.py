"""DINOv2 over photographs."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoint.encoders.base import masked_mean
from counterpoint.encoders.patch import attention_pool
from counterpoint.encoders.pretrained.base import PLAIN, Inference, Pretrained
from counterpoint.encoders.pretrained.pictures import WHOLE, Normalisation, Pixels, checked, prepare
from counterpoint.encoders.pretrained.weights import StandIn, Wanted, library, load, preprocessing
from counterpoint.types import Features, Images, ImageSpec

SMALL = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2, "patch_size": 14}


@dataclass(frozen=True, kw_only=True)
class Photographs:
    """What is kept of each photograph, and how several become one embedding.

    Args:
        tokens: ``cls`` keeps the class token of each; ``patches`` its patches too, averaged over neighbours.
        space: neighbouring patches averaged into one, in height and in width; without meaning for ``cls``.
        aggregation: of the class tokens of a row's photographs: their mean, their largest values, all of them side
            by side through one layer, or learned weights.
    """

    tokens: Literal["cls", "patches"] = "cls"
    space: int = 4
    aggregation: Literal["mean", "max", "concat", "attention"] = "mean"

    def __post_init__(self) -> None:
        if self.space < 1:
            raise ValueError(f"Photographs: space is {self.space}; choose at least 1")


@final
class DINOv2Encoder(Pretrained):
    """DINOv2, frozen, over each photograph by itself; photographs that are not there are left out.

    Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision" (2023, arXiv 2304.07193). The library
    interpolates the positions to the size of the photographs.
    """

    reads: ClassVar = (ImageSpec,)

    def __init__(
        self,
        spec: ImageSpec,
        /,
        *,
        weights: str = "facebook/dinov2-base",
        stand_in: StandIn = "none",
        unfreeze: int = 0,
        dim: int = 512,
        inference: Inference = PLAIN,
        pixels: Pixels = WHOLE,
        photographs: Photographs = Photographs(),
    ) -> None:
        """Load the weights and put a projection on top.

        Args:
            spec: the modality.
            weights: a name on the Hugging Face hub, or a folder with config.json and model.safetensors.
            stand_in: ``small`` takes a small random model in their place, for trying things out.
            unfreeze: blocks at the end of the backbone that are trained too; features cannot be kept then.
            dim: width of tokens and embedding.
            inference: how the backbone is run.
            pixels: the size at which photographs enter the model.
            photographs: what is kept of each and how they become one embedding.

        Raises:
            ValueError: where the weights cannot be had or the sizes do not fit them.
            ImportError: where ``transformers`` is not installed.
        """
        owner = type(self).__name__
        hub = library(owner)
        wanted = Wanted(
            owner=owner,
            config=hub.Dinov2Config,
            model=hub.Dinov2Model,
            weights=weights,
            stand_in=stand_in,
            small={**SMALL, "image_size": pixels.size},
            changes={},
            unused=("embeddings.mask_token",),
            precision=inference.dtype,
        )
        super().__init__(load(wanted), unfreeze=unfreeze, dim=dim, inference=inference)
        config: Any = self.model.config
        pixels.fits(owner, int(config.patch_size))
        self.spec, self.pixels, self.photographs = spec, pixels, photographs
        self.side = pixels.size // int(config.patch_size)
        kept = math.ceil(self.side / photographs.space) ** 2 if photographs.tokens == "patches" else 0
        self.each = 1 + kept
        self.normalisation = Normalisation.of(preprocessing(weights, stand_in))
        together = photographs.aggregation
        self.join = nn.Linear(spec.frames * dim, dim) if together == "concat" else None
        self.query = nn.Parameter(torch.randn(dim) * 0.02) if together == "attention" else None

    def extract(self, images: Images) -> Features:
        """(B, L, 3, H, W) photographs to (B, L * n, width): of each its class token, then its n - 1 patches."""
        pictures, real = checked(images)

        def run(places: Tensor) -> Tensor:
            return self._run(pictures[places[:, 0], places[:, 1]])

        values, mask = self.scattered((*real.shape, self.each), real.nonzero(), run)
        return Features(values.flatten(1, 2), mask.repeat_interleave(self.each, 1))

    def settings(self) -> dict[str, Any]:
        kept = {"tokens": self.photographs.tokens, "space": self.photographs.space if self.each > 1 else 0}
        return {"pixels": asdict(self.pixels), "colours": asdict(self.normalisation), "pooling": kept}

    def pool(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Aggregate the class tokens of a row's photographs.

        Raises:
            ValueError: where the features hold another number of tokens a photograph, or too many photographs.
        """
        if tokens.shape[1] % self.each or (self.join is not None and tokens.shape[1] > self.spec.frames * self.each):
            raise ValueError(
                f"DINOv2Encoder: features of {tokens.shape[1]} tokens a row do not fit {self.each} a photograph and at "
                f"most {self.spec.frames} photographs; compute them again"
            )
        each, real = tokens[:, :: self.each], mask[:, :: self.each]
        present = real.any(1, keepdim=True)
        if self.join is not None:
            missing = self.spec.frames - each.shape[1]
            pooled: Tensor = self.join(F.pad(each, (0, 0, 0, missing)).flatten(1))
        elif self.query is not None:
            pooled = attention_pool(each, real, self.query)
        elif self.photographs.aggregation == "max":
            pooled = each.masked_fill(~real.unsqueeze(2), float("-inf")).amax(1)
        else:
            pooled = masked_mean(each, real)
        return pooled.masked_fill(~present, 0.0)

    def _run(self, pictures: Tensor) -> Tensor:
        """(m, 3, H, W) to (m, n, width)."""
        prepared = prepare(pictures, self.pixels, self.normalisation, "bicubic").to(self._dtype())
        state: Tensor = self.model(pixel_values=prepared).last_hidden_state
        if self.each == 1:
            return state[:, :1]
        grid = state[:, 1:].reshape(len(state), self.side, self.side, self.width).permute(0, 3, 1, 2)
        kernel = min(self.photographs.space, self.side)
        patches = F.avg_pool2d(grid, kernel, ceil_mode=True, count_include_pad=False).flatten(2).transpose(1, 2)
        return torch.cat([state[:, :1], patches], 1)
