"""Front ends for machines: what modulates each band of a window, and how much power each band has."""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.encoders.frontend import Frontend, checked, zeroed
from counterpoint.types import Signal, SignalSpec

QUIET = 0.1
"""Added to the envelope, as a share of its mean, before the logarithm: silence is not minus infinity."""

REFERENCE_WINDOWS = 256
"""Windows of white noise that a front end measures itself against when it is built."""


@final
class ModulationSpectrum(Frontend):
    """What modulates each of a few bands of a window: an element a band, a channel a rate of modulation.

    A defect strikes at a rate that geometry gives; which resonance its strikes ring, and hence the band in which they
    are heard, belongs to the one machine. So the window is cut into half-overlapping bands, and each shows the
    spectrum of the *logarithm* of its envelope (after Borghesani and Antoni, 2017, on log-envelope indicators): a gain
    becomes an offset that drops out, and a few loud knocks do not hide many regular strikes. Values are square roots,
    standardised by what white noise gives, which are fixed numbers: a row never depends on other rows. Windows must be
    whole, ``spec.length`` real samples.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, spec: SignalSpec, /, *, bands: int = 4, rates: int = 60) -> None:
        """Size the transform.

        Args:
            spec: the modality.
            bands: bands side by side up to half the sampling rate; as many less one lie across their borders.
            rates: modulation rates kept, 1 / window length apart, from the first above zero.

        Raises:
            ValueError: where a band is too narrow for the rates asked for, or a size is out of range.
        """
        super().__init__()
        width = spec.length // 2 // bands if bands > 0 else 0
        if not 1 <= rates <= width:
            raise ValueError(
                f"ModulationSpectrum: {bands} bands of windows of {spec.length} samples are {width} lines wide and "
                f"show 1 to {width} rates, not {rates}; choose fewer bands, fewer rates or longer windows"
            )
        self.source, self.width, self.rates, self.bands = spec, width, rates, bands
        self.spec = SignalSpec(spec.channels * rates, 2 * bands - 1, 0.0)
        raw = self._spectrum(_white_noise(spec.length))
        self.register_buffer("mean", raw.mean((0, 1, 2)), persistent=False)
        self.register_buffer("spread", raw.std((0, 1, 2)), persistent=False)

    def forward(self, signal: Signal) -> Signal:
        values, mask = _whole(signal, self.source, self.spec.length, "ModulationSpectrum")
        found = (self._spectrum(values.transpose(1, 2)) - self.mean) / self.spread
        return Signal(zeroed(found.transpose(1, 2).flatten(2).to(signal.values.dtype), mask), mask)

    def _spectrum(self, values: Tensor) -> Tensor:
        """(B, C, L) to (B, C, bands, rates), before standardisation."""
        lines = torch.fft.rfft(values)[..., 1 : self.width * self.bands + 1]
        # Cut and filled up as real numbers: exporters know no slices of complex ones.
        parts = torch.view_as_real(lines).unfold(-2, self.width, self.width // 2)[..., : 2 * self.bands - 1, :, :]
        pieces = torch.view_as_complex(F.pad(parts.transpose(-1, -2), (0, 0, 0, self.width)).contiguous())
        envelope = torch.fft.ifft(pieces).abs()
        level = (envelope / (envelope.mean(-1, keepdim=True) + 1e-9) + QUIET).log()
        level = level - level.mean(-1, keepdim=True)
        taper = torch.hann_window(2 * self.width, periodic=False, dtype=values.dtype, device=values.device)
        spectrum = torch.fft.rfft(level * taper).abs()[..., 1 : self.rates + 1] / self.width
        root: Tensor = (spectrum + 1e-6).sqrt()
        return root


@final
class BandPowers(Frontend):
    """Logarithm of the power in bands of equal width: one element a window, a channel a band.

    Values are standardised by what white noise gives. Windows must be whole: ``spec.length`` real samples.
    """

    mean: Tensor

    def __init__(self, spec: SignalSpec, /, *, bands: int = 32) -> None:
        """Size the transform.

        Args:
            spec: the modality.
            bands: bands from zero to half the sampling rate.

        Raises:
            ValueError: where a band would have no line of the spectrum.
        """
        super().__init__()
        if not 1 <= bands <= spec.length // 2:
            raise ValueError(f"BandPowers: bands is {bands}; choose 1 to {spec.length // 2} for these windows")
        self.source, self.bands = spec, bands
        self.spec = SignalSpec(spec.channels * bands, 1, 0.0)
        self.register_buffer("mean", self._powers(_white_noise(spec.length)).mean((0, 1)), persistent=False)

    def forward(self, signal: Signal) -> Signal:
        values, mask = _whole(signal, self.source, 1, "BandPowers")
        found = self._powers(values.transpose(1, 2)) - self.mean
        return Signal(zeroed(found.flatten(1).unsqueeze(1).to(signal.values.dtype), mask), mask)

    def _powers(self, values: Tensor) -> Tensor:
        """(B, C, L) to (B, C, bands), in natural logarithms."""
        taper = torch.hann_window(values.shape[-1], periodic=False, dtype=values.dtype, device=values.device)
        power = torch.fft.rfft(values * taper).abs().square()[..., 1:]
        width = power.shape[-1] // self.bands
        cut = power[..., : width * self.bands].unflatten(-1, (self.bands, width))
        powers: Tensor = (cut.mean(-1) + 1e-6).log()
        return powers


def _whole(signal: Signal, spec: SignalSpec, elements: int, name: str) -> tuple[Tensor, Tensor | None]:
    """Values in float32 at least, and the mask of what comes out: a row is there or it is not.

    Raises:
        ValueError: for rows that are partly padding, or of another length than the encoder was built for.
    """
    signal = checked(signal, spec)
    values, mask = signal.values, signal.mask
    partly = mask is not None and not torch.compiler.is_exporting() and bool((mask.any(1) & ~mask.all(1)).any())
    if partly or values.shape[1] != spec.length:
        what = "rows that are partly padding" if partly else f"{values.shape[1]} samples"
        raise ValueError(
            f"{name} needs whole windows of the {spec.length} samples it was built for and met {what}; "
            "use windows of one length, or another front end"
        )
    wide = values.to(torch.promote_types(values.dtype, torch.float32))
    return wide, None if mask is None else mask[:, :1].expand(-1, elements)


def _white_noise(length: int) -> Tensor:
    """(windows, 1, length) of white noise, each of mean 0 and deviation 1."""
    noise = torch.randn(REFERENCE_WINDOWS, 1, length, generator=torch.Generator().manual_seed(0))
    return (noise - noise.mean(-1, keepdim=True)) / noise.std(-1, keepdim=True)
