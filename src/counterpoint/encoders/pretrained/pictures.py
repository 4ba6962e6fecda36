"""Pictures as published vision models want them: resized, cut and normalised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.types import Images

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, by which V-JEPA 2 and DINOv2 were published."""


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """The size at which pictures enter the model.

    The published preprocessing resizes the shorter side to 256/224 of ``size`` and cuts out the middle. Pictures
    that were cut already, as a reader does, are better kept whole: ``edge`` equal to ``size``.

    Args:
        size: height and width in pixels; whole patches of the model.
        edge: the shorter side after resizing, from the middle of which ``size`` is cut; at least ``size``.
    """

    size: int = 224
    edge: int = 224

    def __post_init__(self) -> None:
        if self.size < 1 or self.edge < self.size:
            raise ValueError(f"Pixels: size is {self.size} and edge {self.edge}; choose 1 <= size <= edge")

    def fits(self, owner: str, patch: int) -> None:
        """Refuse a size that is no whole number of patches.

        Raises:
            ValueError: naming both.
        """
        if self.size % patch:
            raise ValueError(
                f"{owner}: pixels.size is {self.size} and the model's patches have {patch}; choose a multiple, "
                f"{max(1, round(self.size / patch)) * patch} for one"
            )


WHOLE = Pixels()


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """What is taken from the colours, which lie in [0, 1], and what they are divided by."""

    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD

    @staticmethod
    def of(said: dict[str, Any]) -> Normalisation:
        """As a checkpoint's preprocessing says, and ImageNet's where it does not."""
        return Normalisation(mean=_three(said.get("image_mean"), MEAN), std=_three(said.get("image_std"), STD))


def _three(said: Sequence[float] | None, otherwise: tuple[float, ...]) -> tuple[float, ...]:
    return otherwise if said is None else tuple(float(value) for value in said)


def prepare(
    pictures: Tensor, pixels: Pixels, normalisation: Normalisation, filtering: Literal["bilinear", "bicubic"]
) -> Tensor:
    """Resize with an antialiasing filter, cut out the middle, normalise.

    On a CPU the filter runs in whole numbers as in ``VJEPA2VideoProcessor`` and ``BitImageProcessor``; elsewhere it
    runs in float32 and rounds, as theirs do there. Pictures of the right size are not filtered at all.

    Args:
        pictures: (N, 3, H, W) uint8.
        pixels: the sizes.
        normalisation: of the colours.
        filtering: V-JEPA 2 was published with ``bilinear``, DINOv2 with ``bicubic``.

    Returns:
        (N, 3, size, size) float32.
    """
    height, width = pictures.shape[2:]
    short = min(height, width)
    if short != pixels.edge:
        to = (int(pixels.edge * height / short), int(pixels.edge * width / short))
        exact = pictures if pictures.device.type == "cpu" else pictures.float()
        resized = F.interpolate(exact, to, mode=filtering, antialias=True, align_corners=False)
        pictures = resized if resized.dtype == torch.uint8 else resized.round().clamp(0, 255)
    top, left = (round((side - pixels.size) / 2) for side in pictures.shape[2:])
    cut = pictures[:, :, top : top + pixels.size, left : left + pixels.size].float() / 255
    mean, std = (cut.new_tensor(values).view(-1, 1, 1) for values in (normalisation.mean, normalisation.std))
    return (cut - mean) / std


def checked(images: Images) -> tuple[Tensor, Tensor]:
    """The pictures and their mask.

    Raises:
        ValueError: where they are not (B, L, 3, H, W) of uint8, or the mask does not fit.
    """
    values, mask = images
    if values.ndim != 5 or values.shape[2] != 3 or values.dtype != torch.uint8:
        raise ValueError(
            f"pictures have the shape {tuple(values.shape)} and the type {values.dtype}; the encoder was built for "
            "(rows, pictures, 3, height, width) of uint8"
        )
    if mask is None:
        mask = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
    if mask.shape != values.shape[:2]:
        raise ValueError(f"a mask of shape {tuple(mask.shape)} does not fit pictures {tuple(values.shape)}")
    return values, mask
