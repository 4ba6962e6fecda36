"""The model: what is kept after training. Encoders and their fusion, no objective."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from counterpoint.encoders.base import Encoder, check_kind
from counterpoint.fusion import Fusion
from counterpoint.types import Encoded, Modality, Spec

FUSED = "fused"
"""Key of the fused embedding in what a model returns."""


class Model(nn.Module):
    """One encoder a modality, and a fusion over them.

    Attributes:
        fused: modalities that make the embedding; the others are encoded beside it, as the sentences of a clip are.
        dims: width of every output, modality name -> D, ``FUSED`` included.
        latents: width of the latent variable of every modality, 0 where there is none.
    """

    def __init__(self, encoders: dict[str, Encoder], fusion: Fusion, fused: Sequence[str] = ()) -> None:
        """Hold encoders and a fusion that was sized by the widths of those in ``fused``; none there are all."""
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        self.fusion = fusion
        self.fused = tuple(fused or encoders)
        self.dims = {name: encoder.dim for name, encoder in encoders.items()} | {FUSED: fusion.dim}
        self.latents = {name: encoder.latent for name, encoder in encoders.items()}

    def forward(self, view: dict[str, Modality]) -> dict[str, Encoded]:
        """Encode every modality of a view and add their fusion under ``FUSED``.

        Raises:
            ValueError: if the view lacks a modality this model encodes (a modality missing from some rows is
                a mask, not a missing key).
        """
        missing = [name for name in self.encoders if name not in view]
        if missing:
            raise ValueError(f"the batch has no modality {missing}; it has {sorted(view)}")
        encoded: dict[str, Encoded] = {name: encoder(view[name]) for name, encoder in self.encoders.items()}
        return encoded | {FUSED: self.fusion({name: encoded[name] for name in self.fused})}


def build_model(
    specs: dict[str, Spec],
    encoders: dict[str, Callable[..., Encoder]],
    fusion: Callable[..., Fusion],
    fused: Sequence[str] = (),
) -> Model:
    """Build a model whose shapes flow from the data.

    Args:
        specs: what the data say of each modality.
        encoders: a factory a modality.
        fusion: the factory of the fusion.
        fused: modalities that it fuses; all where there are none.

    Raises:
        ValueError: if a modality has no encoder, an encoder no modality, or one of another kind.
    """
    if set(specs) != set(encoders):
        raise ValueError(
            f"encoders: the data bring {sorted(specs)}, the recipe has encoders for {sorted(encoders)}; "
            "each modality needs exactly one encoder of its name"
        )
    strange = [name for name in fused if name not in specs]
    if strange:
        raise ValueError(f"fused: {strange[0]!r} is none of the modalities, {', '.join(specs)}")
    for name, factory in encoders.items():
        check_kind(f"encoders.{name}", specs[name], factory)
    built = {name: factory(specs[name]) for name, factory in encoders.items()}
    return Model(built, fusion({name: built[name].dim for name in fused or built}), fused)
