"""What a signal encoder looks at: the waveform itself, or a spectrum computed from it without parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoint.types import Signal, SignalSpec

FLOOR = 1e-3
"""Added to magnitudes before the logarithm: 60 dB below white noise of unit standard deviation."""

TAPS = 65
"""Length of the filter that makes the analytic signal. Odd, so that it delays nothing."""


class Frontend(nn.Module, ABC):
    """Base of all front ends: a signal in, a signal out that an encoder reads as its sequence.

    A constructor takes the ``SignalSpec`` of the modality as its one positional argument. Padding never
    changes what comes out at a real element, whatever the padding holds.

    Attributes:
        spec: what comes out, so that the encoder can size itself.
    """

    spec: SignalSpec

    @abstractmethod
    def forward(self, signal: Signal) -> Signal:
        """Turn (B, L, C) values into (B, L', C') values, zero wherever the new mask is False."""


@final
class Waveform(Frontend):
    """The samples as they are."""

    def __init__(self, spec: SignalSpec, /) -> None:
        """Take the samples as they are."""
        super().__init__()
        self.spec = spec

    def forward(self, signal: Signal) -> Signal:
        return checked(signal, self.spec)


@final
class LogSpectrogram(Frontend):
    """Log magnitude of the short-time Fourier transform: an element a frame, a channel a bin and channel."""

    taper: Tensor

    def __init__(self, spec: SignalSpec, /, *, window: int = 128, hop: int = 64) -> None:
        """Size the transform.

        Args:
            spec: the modality.
            window: samples a frame, tapered by Hann.
            hop: samples between the starts of two frames, at most ``window``.

        Raises:
            ValueError: where the window is under 4 samples or longer than the signal, or the hop does not
                fit the window.
        """
        super().__init__()
        if not 4 <= window <= spec.length:
            raise ValueError(
                f"LogSpectrogram: window is {window} samples; choose from 4 to the {spec.length} of a signal"
            )
        if not 1 <= hop <= window:
            raise ValueError(f"LogSpectrogram: hop is {hop} samples; choose from 1 to the window, {window}")
        self.source, self.window, self.hop = spec, window, hop
        taper = torch.hann_window(window, dtype=torch.float64)
        # Divided by its energy, so that white noise of unit standard deviation has a magnitude near 1.
        self.register_buffer("taper", (taper / taper.square().sum().sqrt()).float(), persistent=False)
        self.spec = SignalSpec(
            spec.channels * (window // 2 + 1), frame_count(spec.length, window, hop), spec.rate / hop
        )

    def forward(self, signal: Signal) -> Signal:
        cut = frames(checked(signal, self.source), self.window, self.hop)
        pieces = _at_least_float32(cut.values).view(*cut.values.shape[:2], self.window, self.source.channels)
        spectrum = torch.fft.rfft(pieces * self.taper.unsqueeze(-1), dim=2).abs()
        values = torch.log(spectrum + FLOOR).flatten(2).to(signal.values.dtype)
        return Signal(zeroed(values, cut.mask), cut.mask)


@final
class EnvelopeSpectrum(Frontend):
    """Log magnitude spectrum of the envelope: one element a frequency, one channel a channel.

    A defect of a bearing strikes at a rate of its own and each strike rings the structure: the rate stands in
    the spectrum of the envelope of the ringing, not in that of the signal (Randall and Antoni, 2011). The
    envelope is the magnitude of the analytic signal of one band, made by a short complex filter rather than
    by a Fourier transform of the row, so that padding cannot reach it. The spectrum has the same
    frequencies for rows of any length.
    """

    filters: Tensor

    def __init__(self, spec: SignalSpec, /, *, low: float = 0.1, high: float = 0.9, share: float = 1.0) -> None:
        """Size the transform.

        Args:
            spec: the modality.
            low: lower edge of the band whose envelope is taken, as a share of half the sampling rate.
            high: upper edge, likewise.
            share: how much of the spectrum is kept, counted from the lowest frequency.

        Raises:
            ValueError: where the band or the share is empty or leaves [0, 1], or a signal is too short.
        """
        super().__init__()
        if not 0.0 <= low < high <= 1.0:
            raise ValueError(f"EnvelopeSpectrum: band is {low} to {high}; choose 0 <= low < high <= 1")
        bins = round(spec.length // 2 * share) if 0.0 < share <= 1.0 else 0
        if bins < 1:
            raise ValueError(
                f"EnvelopeSpectrum: share {share} of the {spec.length // 2} frequencies of {spec.length} "
                "samples keeps none; choose a share in (0, 1] and signals of at least 2 samples"
            )
        self.source, self.bins = spec, bins
        self.register_buffer("filters", _analytic_filters(low, high).float(), persistent=False)
        self.spec = SignalSpec(spec.channels, bins, 0.0)

    def forward(self, signal: Signal) -> Signal:
        signal = checked(signal, self.source)
        rows, length, channels = signal.values.shape
        if length > self.source.length:
            raise ValueError(
                f"EnvelopeSpectrum was sized for {self.source.length} samples and met {length}; give shorter "
                "windows or build the encoder for the longer ones"
            )
        values = _at_least_float32(signal.values).transpose(1, 2)
        quadrature = F.conv1d(values.reshape(-1, 1, length), self.filters, padding=TAPS // 2)
        envelope = torch.linalg.vector_norm(quadrature, dim=1).view(rows, channels, length)
        real = values.new_ones(rows, 1, length) if signal.mask is None else signal.mask.unsqueeze(1).to(values)
        count = real.sum(2, keepdim=True).clamp_min(1.0)
        mean = (envelope * real).sum(2, keepdim=True) / count
        taper = torch.sin(torch.pi * (real.cumsum(2) - 0.5) / count).square() * real
        energy = taper.square().sum(2, keepdim=True).clamp_min(FLOOR)
        spectrum = torch.fft.rfft((envelope - mean) * taper * energy.rsqrt(), n=self.source.length, dim=2).abs()
        # The mean was taken away, so the bin of frequency zero says nothing.
        found = torch.log(spectrum[:, :, 1 : self.bins + 1] + FLOOR).transpose(1, 2).to(signal.values.dtype)
        mask = None if signal.mask is None else signal.mask.any(1, keepdim=True).expand(rows, self.bins)
        return Signal(zeroed(found, mask), mask)


def checked(signal: Signal, spec: SignalSpec) -> Signal:
    """The signal with its padding zeroed.

    Raises:
        ValueError: where the values are not (B, L, C) with the channels of ``spec`` and at least one sample.
    """
    values, mask = signal.values, signal.mask
    if values.ndim != 3 or values.shape[1] == 0 or values.shape[2] != spec.channels:
        raise ValueError(
            f"a signal has the shape {tuple(values.shape)}; the encoder was built for (rows, samples, "
            f"{spec.channels} channels) with at least one sample"
        )
    if mask is not None and mask.shape != values.shape[:2]:
        raise ValueError(f"a mask of shape {tuple(mask.shape)} does not fit values {tuple(values.shape)}")
    return Signal(zeroed(values, mask), mask)


def zeroed(values: Tensor, mask: Tensor | None) -> Tensor:
    """(B, L, C) values with zeros where (B, L) is False; padding may be NaN, so it is not multiplied."""
    return values if mask is None else values.masked_fill(~mask.unsqueeze(-1), 0.0)


def frame_count(length: int, size: int, stride: int) -> int:
    """How many frames cover every sample."""
    return max(1, -((size - length) // stride) + 1)


def frames(signal: Signal, size: int, stride: int) -> Signal:
    """Cut a zero-padded signal into frames, the last one filled up with zeros.

    A frame is real when it holds a real sample that no earlier frame holds. So the number of real frames
    depends on the real samples alone, whatever padding follows and however far frames overlap.

    Args:
        signal: (B, L, C) values, zero where the mask is False.
        size: samples a frame.
        stride: samples between the starts of two frames, at most ``size``.

    Returns:
        (B, n, size * C) values, samples before channels, and the (B, n) mask; None where there was none.
    """
    assert 1 <= stride <= size, (stride, size)
    rows, length, channels = signal.values.shape
    count = frame_count(length, size, stride)
    missing = (count - 1) * stride + size - length
    # In a graph the length is a symbol, of which nothing may be asked.
    pad = torch.compiler.is_exporting() or missing
    values = F.pad(signal.values, (0, 0, 0, missing)) if pad else signal.values
    if stride == size:
        cut = values.reshape(rows, count, size * channels)
    else:
        cut = values.unfold(1, size, stride).transpose(2, 3).flatten(2)
    if signal.mask is None:
        return Signal(cut)
    real = F.pad(signal.mask, (0, missing))
    fresh = real[:, size - stride :].reshape(rows, count, stride).any(2)
    first = real[:, :size].any(1, keepdim=True)
    return Signal(cut, torch.cat([first, fresh[:, 1:]], 1))


def _at_least_float32(values: Tensor) -> Tensor:
    """Fourier transforms want float32 at least."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _analytic_filters(low: float, high: float) -> Tensor:
    """(2, 1, taps): real and imaginary part of the band-pass that passes positive frequencies with gain 2."""
    time = torch.arange(TAPS, dtype=torch.float64) - TAPS // 2
    edges = torch.stack([torch.exp(1j * torch.pi * edge * time) for edge in (high, low)])
    ideal = (edges[0] - edges[1]) / (1j * torch.pi * torch.where(time == 0, 1.0, time))
    ideal = torch.where(time == 0, torch.tensor(high - low, dtype=torch.complex128), ideal)
    tapered = ideal * torch.hamming_window(TAPS, periodic=False, dtype=torch.float64)
    return torch.stack([tapered.real, tapered.imag]).unsqueeze(1)
