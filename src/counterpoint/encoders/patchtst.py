"""PatchTST of the ``transformers`` library as an encoder, from random or from published weights."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn

from counterpoint.encoders.base import Encoder, masked_mean
from counterpoint.encoders.frontend import checked
from counterpoint.types import Encoded, Signal, SignalSpec


@final
class PatchTST(Encoder):
    """PatchTST from random weights: each channel a sequence of its own, tokens averaged over the channels.

    Nie et al., "A Time Series is Worth 64 Words" (2023). It costs about ``channels`` times what
    ``PatchTransformer`` costs, and twice that again by its overlapping patches. Layer normalisation takes the
    place of the library's batch normalisation, so that rows do not see each other.

    The library's model knows one length and no mask: a row is all real or all missing, every batch has
    ``spec.length`` samples, anything else is an error. Where the patches do not divide the length, the
    library leaves out samples at the start.
    """

    def __init__(
        self,
        spec: SignalSpec,
        /,
        *,
        dim: int = 128,
        depth: int = 4,
        heads: int = 4,
        patch: int = 16,
        overlap: int = 8,
        dropout: float = 0.0,
    ) -> None:
        """Size the encoder.

        Args:
            spec: the modality.
            dim: width of tokens and embedding, divisible by the heads.
            depth: blocks.
            heads: attention heads of a block.
            patch: samples a patch, under ``spec.length``.
            overlap: samples that two neighbouring patches share, under ``patch``.
            dropout: share of activations and of attention weights dropped in training.

        Raises:
            ValueError: where the sizes do not fit each other or the signal.
            ImportError: where ``transformers`` is not installed.
        """
        super().__init__()
        library = _transformers()
        if dim < 1 or depth < 1 or heads < 1 or dim % heads:
            raise ValueError(
                f"PatchTST: dim {dim}, depth {depth}, heads {heads}; all at least 1, heads must divide dim"
            )
        if not 1 <= patch < spec.length or not 0 <= overlap < patch:
            raise ValueError(
                f"PatchTST: patch is {patch} and overlap {overlap}; choose a patch under the {spec.length} "
                "samples of a signal and an overlap under the patch"
            )
        config = library.PatchTSTConfig(
            num_input_channels=spec.channels,
            context_length=spec.length,
            patch_length=patch,
            patch_stride=patch - overlap,
            num_hidden_layers=depth,
            d_model=dim,
            num_attention_heads=heads,
            ffn_dim=4 * dim,
            norm_type="layernorm",
            attention_dropout=dropout,
            positional_dropout=dropout,
            ff_dropout=dropout,
        )
        self.spec, self.dim = spec, dim
        self.model: nn.Module = library.PatchTSTModel(config)

    def forward(self, signal: Signal) -> Encoded:
        """Encode (B, spec.length, C) into (B, patches, D) tokens and (B, D)."""
        return _encode(self.model, signal, self.spec, lead=0)


@final
class PretrainedPatchTST(Encoder):
    """PatchTST with weights from a folder or the Hugging Face hub; its sizes come with the weights.

    The limits of ``PatchTST`` hold here too. Most published weights use batch normalisation: in training mode
    rows then see each other, so gradients collected over several batches differ from those of one.
    """

    def __init__(self, spec: SignalSpec, /, *, source: str) -> None:
        """Load the weights.

        Args:
            spec: the modality; its length must be the one that the weights were trained on.
            source: a folder written by ``save_pretrained``, or a name on the hub.

        Raises:
            ValueError: where the source cannot be read, was trained on another length, or ties its weights
                to a number of channels other than the signal's.
            ImportError: where ``transformers`` is not installed.
        """
        super().__init__()
        library = _transformers()
        try:
            config = library.PatchTSTConfig.from_pretrained(source)
            self._check(config, spec, source)
            config.num_input_channels = spec.channels
            self.model: nn.Module = library.PatchTSTModel.from_pretrained(source, config=config)
        except OSError as error:
            raise ValueError(f"PretrainedPatchTST: nothing to load at {source!r}: {error}") from error
        self.spec, self.dim, self.lead = spec, int(config.d_model), int(config.use_cls_token)

    @staticmethod
    def _check(config: Any, spec: SignalSpec, source: str) -> None:
        if config.context_length != spec.length:
            raise ValueError(
                f"PretrainedPatchTST: {source!r} was trained on {config.context_length} samples and the data "
                f"bring {spec.length}; set the window to {config.context_length}"
            )
        tied = not config.share_embedding or config.channel_attention
        if tied and config.num_input_channels != spec.channels:
            raise ValueError(
                f"PretrainedPatchTST: the weights of {source!r} belong to {config.num_input_channels} "
                f"channels and the data bring {spec.channels}; choose channels to match"
            )

    def forward(self, signal: Signal) -> Encoded:
        """Encode (B, spec.length, C) into (B, patches, D) tokens and (B, D)."""
        return _encode(self.model, signal, self.spec, self.lead)


def _transformers() -> Any:
    """The library, imported late: it takes seconds and is an extra."""
    try:
        import transformers
    except ImportError as error:
        raise ImportError("PatchTST needs the transformers library: pip install 'counterpoint[hf]'") from error
    return transformers


def _encode(model: nn.Module, signal: Signal, spec: SignalSpec, lead: int) -> Encoded:
    """Run the model and average over channels; ``lead`` tokens at the start stand for no patch."""
    if signal.mask is None:
        present = torch.ones(len(signal.values), dtype=torch.bool, device=signal.values.device)
    else:
        present = signal.mask.all(1)
        if not torch.equal(present, signal.mask.any(1)):
            raise ValueError(
                "PatchTST cannot look past padding and met a row that is partly real; give windows of one "
                "length or use PatchTransformer"
            )
    if signal.values.shape[1] != spec.length:
        raise ValueError(
            f"PatchTST was built for {spec.length} samples and met {signal.values.shape[1]}; give windows of "
            "one length or use PatchTransformer"
        )
    state: Tensor = model(past_values=checked(signal, spec).values).last_hidden_state
    tokens = state[:, :, lead:].mean(1)
    mask = present.unsqueeze(1).expand(tokens.shape[:2])
    tokens = tokens.masked_fill(~mask.unsqueeze(-1), 0.0)
    return Encoded(tokens, mask, masked_mean(tokens, mask))
