"""V-JEPA 2 over the frames of a video."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoint.encoders.pretrained.base import PLAIN, Inference, Pretrained
from counterpoint.encoders.pretrained.pictures import WHOLE, Normalisation, Pixels, checked, prepare
from counterpoint.encoders.pretrained.weights import StandIn, Wanted, library, load, preprocessing
from counterpoint.types import Features, Images, ImageSpec

SMALL = {
    "patch_size": 16,
    "hidden_size": 48,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "pred_hidden_size": 24,
    "pred_num_attention_heads": 2,
    "pred_num_hidden_layers": 1,
}


@dataclass(frozen=True, kw_only=True)
class VideoPooling:
    """How many neighbouring tokens of the backbone are averaged into one that is kept.

    A clip of 32 frames of 224 pixels has 16 x 14 x 14 tokens, 13 MB of them; as they stand here, 8 x 2 x 2 are kept.
    At the edges, where the factor does not divide, fewer are averaged.

    Args:
        time: in time, of steps of two frames.
        space: in height and in width, of patches.
    """

    time: int = 2
    space: int = 7

    def __post_init__(self) -> None:
        if self.time < 1 or self.space < 1:
            raise ValueError(f"VideoPooling: time is {self.time} and space {self.space}; choose at least 1")


@final
class VJEPA2Encoder(Pretrained):
    """V-JEPA 2, frozen, its tokens averaged over neighbours in space and time.

    Assran et al., "V-JEPA 2: Self-Supervised Video Models Enable Understanding, Prediction and Planning" (2025,
    arXiv 2506.09985). Only its encoder is kept; the predictor is left out. Its positions are relative, so any size and
    any number of frames will do; when and where a token stands is added after the projection, and learned. A row is
    encoded from its real frames alone, as if the others were not there; an odd number of them repeats the last one,
    since the model reads frames in twos.
    """

    reads: ClassVar = (ImageSpec,)

    def __init__(
        self,
        spec: ImageSpec,
        /,
        *,
        weights: str = "facebook/vjepa2-vitl-fpc64-256",
        stand_in: StandIn = "none",
        unfreeze: int = 0,
        dim: int = 512,
        inference: Inference = PLAIN,
        pixels: Pixels = WHOLE,
        pooling: VideoPooling = VideoPooling(),
    ) -> None:
        """Load the weights and put a projection on top.

        Args:
            spec: the modality.
            weights: a name on the Hugging Face hub, or a folder with config.json and model.safetensors.
            stand_in: ``small`` takes a small random model in their place, for trying things out.
            unfreeze: blocks at the end of the backbone that are trained too; features cannot be kept then.
            dim: width of tokens and embedding.
            inference: how the backbone is run.
            pixels: the size at which frames enter the model.
            pooling: tokens averaged into one.

        Raises:
            ValueError: where the weights cannot be had or the sizes do not fit them.
            ImportError: where ``transformers`` is not installed.
        """
        owner = type(self).__name__
        hub = library(owner)
        wanted = Wanted(
            owner=owner,
            config=hub.VJEPA2Config,
            model=hub.VJEPA2Model,
            weights=weights,
            stand_in=stand_in,
            small=SMALL,
            # The library counts patches by this size, whatever the size of the frames: another one turns positions.
            changes={"crop_size": pixels.size},
            unused=("predictor.",),
            precision=inference.dtype,
        )
        super().__init__(load(wanted).encoder, unfreeze=unfreeze, dim=dim, inference=inference)
        config: Any = self.model.config
        pixels.fits(owner, int(config.patch_size))
        self.spec, self.pixels, self.pooling = spec, pixels, pooling
        self.tubelet, self.side = int(config.tubelet_size), pixels.size // int(config.patch_size)
        self.normalisation = Normalisation.of(preprocessing(weights, stand_in))
        steps, side = self._kept(spec.frames)
        self.places = nn.Parameter(torch.zeros(steps * side**2, dim))

    def extract(self, images: Images) -> Features:
        """(B, L, 3, H, W) frames to (B, steps * side * side, width), time before height before width."""
        values, real = checked(images)
        counts = real.sum(1)
        steps, side = self._kept(values.shape[1])
        tokens = torch.zeros(len(values), steps * side**2, self.width, dtype=self._dtype(), device=values.device)
        mask = torch.zeros(tokens.shape[:2], dtype=torch.bool, device=values.device)
        for count in torch.unique(counts).tolist():
            used = self._kept(count)[0] * side**2
            rows = (counts == count).nonzero().squeeze(1)
            for some in torch.split(rows, self.inference.chunk) if count else ():
                frames = values[some][real[some]].view(len(some), count, *values.shape[2:])
                tokens[some, :used] = self._run(frames).to(tokens.dtype)
                mask[some, :used] = True
        return Features(tokens, mask)

    def settings(self) -> dict[str, Any]:
        return {"pixels": asdict(self.pixels), "colours": asdict(self.normalisation), "pooling": asdict(self.pooling)}

    def placed(self, tokens: Tensor) -> Tensor:
        """Add the learned places.

        Raises:
            ValueError: where there are more tokens than the frames of the spec make.
        """
        if tokens.shape[1] > len(self.places):
            raise ValueError(
                f"VJEPA2Encoder: {tokens.shape[1]} tokens a row, and {self.spec.frames} frames, as the data announced, "
                f"make {len(self.places)}; give videos of at most so many frames, or compute the features again"
            )
        return tokens + self.places[: tokens.shape[1]].to(tokens.dtype)

    def _kept(self, frames: int) -> tuple[int, int]:
        """Steps in time and places along a side that are left of so many frames."""
        return -(-frames // (self.tubelet * self.pooling.time)), -(-self.side // self.pooling.space)

    def _run(self, frames: Tensor) -> Tensor:
        rows, count = frames.shape[:2]
        pictures = prepare(frames.flatten(0, 1), self.pixels, self.normalisation, "bilinear")
        clips = pictures.view(rows, count, *pictures.shape[1:]).to(self._dtype())
        short = -count % self.tubelet
        clips = torch.cat([clips, clips[:, -1:].expand(-1, short, -1, -1, -1)], 1) if short else clips
        state: Tensor = self.model(pixel_values_videos=clips).last_hidden_state
        grid = state.view(rows, -1, self.side, self.side, self.width).permute(0, 4, 1, 2, 3)
        size = (self.pooling.time, self.pooling.space, self.pooling.space)
        kernel = tuple(min(part, whole) for part, whole in zip(size, grid.shape[2:], strict=True))
        return F.avg_pool3d(grid, kernel, ceil_mode=True, count_include_pad=False).flatten(2).transpose(1, 2)
