"""The role of an encoder: one modality in, ``Encoded`` out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn

from counterpoint.types import Encoded, EventSpec, ImageSpec, SignalSpec, Spec, SpectraSpec, TableSpec, TextSpec


class Encoder(nn.Module, ABC):
    """Base of all encoders.

    A constructor takes the spec of its modality as its one positional argument, because the data decide it, and
    everything a recipe may set as keyword-only arguments with defaults.

    Attributes:
        reads: the kinds of spec it takes, and with them of which kind its modality may be.
        dim: D, the width of the tokens and of the pooled embedding.
        latent: Z, the width of the latent variable its tokens are inferred through; 0 where there is none.
    """

    reads: ClassVar[tuple[type[Spec], ...]] = (SignalSpec,)
    dim: int
    latent: int = 0

    @abstractmethod
    def forward(self, modality: Any) -> Encoded:
        """Encode a ``Signal``, looking only at elements whose mask is True, or what else ``reads`` says."""

    def attend(self, modality: Any) -> dict[str, Tensor]:
        """What the encoder looks at, by a name for people, (B, ...) each; nothing from one that does not weigh."""
        return {}


def check_kind(place: str, spec: Spec, factory: Callable[..., Encoder]) -> None:
    """Refuse an encoder of signals for events, and the reverse; a plain function is taken at its word.

    Args:
        place: of the encoder in the recipe.
        spec: of the modality.
        factory: of the encoder.

    Raises:
        ValueError: if it reads another kind.
    """
    made = factory.func if isinstance(factory, partial) else factory
    if not (isinstance(made, type) and issubclass(made, Encoder)) or isinstance(spec, made.reads):
        return
    kinds: dict[type, str] = {
        SignalSpec: "regular signals",
        EventSpec: "irregular events",
        ImageSpec: "pictures",
        TextSpec: "sentences",
        SpectraSpec: "spectra",
        TableSpec: "a row of a table",
    }
    raise ValueError(
        f"{place}: {made.__name__} reads {kinds[made.reads[0]]} and the modality brings {kinds[type(spec)]}; "
        "`counterpoint show Encoder` lists what there is"
    )


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """Mean of (B, L, D) tokens over the real ones of (B, L); 0 for a row that has none."""
    weights = mask.to(tokens.dtype).unsqueeze(-1)
    return (tokens * weights).sum(1) / weights.sum(1).clamp_min(1.0)
