"""The Audio Spectrogram Transformer over log-mel spectrograms."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoint.encoders.frontend import checked
from counterpoint.encoders.pretrained.base import PLAIN, Inference, Pretrained
from counterpoint.encoders.pretrained.weights import StandIn, Wanted, library, load, preprocessing
from counterpoint.types import Features, Signal, SignalSpec

SMALL = {
    "hidden_size": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "frequency_stride": 14,
    "time_stride": 14,
}

MEAN, STD = -4.2677393, 4.5689974
"""Of the log-mel levels of AudioSet, by which the published weights were trained."""


@dataclass(frozen=True, kw_only=True)
class SpectrogramPooling:
    """How many neighbouring tokens of the backbone are averaged into one that is kept.

    At the edges, where the factor does not divide, fewer are averaged.

    Args:
        time: in time, of patches.
        frequency: in frequency, of patches.
    """

    time: int = 2
    frequency: int = 3

    def __post_init__(self) -> None:
        if self.time < 1 or self.frequency < 1:
            raise ValueError(
                f"SpectrogramPooling: time is {self.time} and frequency {self.frequency}; choose at least 1"
            )


@final
class ASTEncoder(Pretrained):
    """The Audio Spectrogram Transformer, frozen, over spectrograms of the length that the data bring.

    Gong et al., "AST: Audio Spectrogram Transformer" (2021, arXiv 2104.01778). The positions, trained on 1024 frames,
    are interpolated to the spectrogram's. The first token is the mean of the model's class and distillation tokens,
    and the embedding; averaged patches follow, low frequencies first. The model cannot look past padding: a row is
    all real or all missing.
    """

    def __init__(
        self,
        spec: SignalSpec,
        /,
        *,
        weights: str = "MIT/ast-finetuned-audioset-14-14-0.443",
        stand_in: StandIn = "none",
        unfreeze: int = 0,
        dim: int = 512,
        inference: Inference = PLAIN,
        pooling: SpectrogramPooling = SpectrogramPooling(),
        levels: Literal["log_mel", "standardised"] = "log_mel",
    ) -> None:
        """Load the weights and put a projection on top.

        Args:
            spec: the modality: a channel a mel band, a sample a frame.
            weights: a name on the Hugging Face hub, or a folder with config.json and model.safetensors.
            stand_in: ``small`` takes a small random model in their place, for trying things out.
            unfreeze: blocks at the end of the backbone that are trained too; features cannot be kept then.
            dim: width of tokens and embedding.
            inference: how the backbone is run.
            pooling: tokens averaged into one.
            levels: what the data bring: natural logarithms of mel power, which are normalised as the weights were
                trained, to a standard deviation of 0.5; or values of mean 0 and standard deviation 1, which are halved.

        Raises:
            ValueError: where the weights cannot be had or the sizes do not fit them.
            ImportError: where ``transformers`` is not installed.
        """
        owner = type(self).__name__
        hub = library(owner)
        wanted = Wanted(
            owner=owner,
            config=hub.ASTConfig,
            model=hub.ASTModel,
            weights=weights,
            stand_in=stand_in,
            small={**SMALL, "max_length": spec.length, "num_mel_bins": spec.channels},
            changes={},
            unused=(),
            precision=inference.dtype,
        )
        model = load(wanted)
        self._fit(model, spec)
        super().__init__(model, unfreeze=unfreeze, dim=dim, inference=inference)
        said = {} if levels == "standardised" else preprocessing(weights, stand_in)
        usual = (0.0, 1.0) if levels == "standardised" else (MEAN, STD)
        self.mean, self.std = float(said.get("mean", usual[0])), float(said.get("std", usual[1]))
        self.spec, self.pooling = spec, pooling
        self.grid = _grid(model.config, spec.channels, spec.length)

    @staticmethod
    def _fit(model: Any, spec: SignalSpec) -> None:
        """Interpolate the positions to the bands and frames of the data (Gong et al., section 2.2)."""
        config = model.config
        if spec.channels < config.patch_size or spec.length < config.patch_size:
            raise ValueError(
                f"ASTEncoder: spectrograms have {spec.channels} bands and {spec.length} frames and the model's patches "
                f"{config.patch_size} of each; bring at least as many"
            )
        old = _grid(config, config.num_mel_bins, config.max_length)
        new = _grid(config, spec.channels, spec.length)
        config.num_mel_bins, config.max_length = spec.channels, spec.length
        if old == new:
            return
        lead, places = model.embeddings.position_embeddings.detach().split([2, old[0] * old[1]], 1)
        table = places.transpose(1, 2).unflatten(2, old).float()
        fitted = F.interpolate(table, new, mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)
        model.embeddings.position_embeddings = nn.Parameter(torch.cat([lead, fitted.to(lead.dtype)], 1))

    def extract(self, signal: Signal) -> Features:
        """(B, frames, bands) to (B, 1 + n, width): the summary of the spectrogram, then its averaged patches.

        Raises:
            ValueError: where a row is partly real, or of another length than the encoder was built for.
        """
        values = checked(signal, self.spec).values
        if values.shape[1] != self.spec.length:
            raise ValueError(
                f"ASTEncoder was built for {self.spec.length} frames and met {values.shape[1]}; give spectrograms of "
                "one length"
            )
        real = values.new_ones(len(values)).bool() if signal.mask is None else signal.mask.all(1)
        if signal.mask is not None and not torch.equal(real, signal.mask.any(1)):
            raise ValueError(
                "ASTEncoder cannot look past padding and met a row that is partly real; spread the recording over all "
                "frames, or mask the whole row"
            )
        size = (self.pooling.frequency, self.pooling.time)
        kept = [-(-whole // part) for whole, part in zip(self.grid, size, strict=True)]
        shape = (len(values), 1 + kept[0] * kept[1])
        tokens, mask = self.scattered(shape, real.nonzero(), lambda rows: self._run(values[rows[:, 0]]))
        return Features(tokens, mask.unsqueeze(1).expand(shape))

    def settings(self) -> dict[str, Any]:
        return {"mean": self.mean, "std": self.std, "pooling": asdict(self.pooling)}

    def pool(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """The first token, which sums the spectrogram up."""
        return tokens[:, 0].masked_fill(~mask[:, :1], 0.0)

    def _run(self, levels: Tensor) -> Tensor:
        normalised = (levels - self.mean) / (2 * self.std)
        state: Tensor = self.model(input_values=normalised.to(self._dtype())).last_hidden_state
        patches = state[:, 2:].reshape(len(state), *self.grid, self.width).permute(0, 3, 1, 2)
        size = (self.pooling.frequency, self.pooling.time)
        kernel = tuple(min(part, whole) for part, whole in zip(size, self.grid, strict=True))
        kept = F.avg_pool2d(patches, kernel, ceil_mode=True, count_include_pad=False).flatten(2).transpose(1, 2)
        return torch.cat([state[:, :2].mean(1, keepdim=True), kept], 1)


def _grid(config: Any, bands: int, frames: int) -> tuple[int, int]:
    """Patches in frequency and in time."""
    size = int(config.patch_size)
    return (bands - size) // int(config.frequency_stride) + 1, (frames - size) // int(config.time_stride) + 1
