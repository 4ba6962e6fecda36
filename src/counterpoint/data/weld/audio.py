"""The sound of a weld run: a log-mel spectrogram of all of it, in a set number of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.ledger import DAMAGED
from counterpoint.data.weld.medium import Medium, Recorded, UnreadableFile, need, of_run
from counterpoint.types import SignalSpec

Float = NDArray[np.float64]
MAX_SAMPLES, MAX_RESAMPLED = 2**27, 2**26
"""Of a recording, over all its channels, and of what becomes of it: 0.5 GB and 0.25 GB as float32."""
FLOOR = 1.192092955078125e-07
"""The least power of which the logarithm is taken."""
_LOWEST, _EMPHASIS, _WINDOW, _HOP = 20.0, 0.97, 0.025, 0.010
_BLOCK = 2048


@dataclass(frozen=True, kw_only=True)
class AudioConfig:
    """How the sound is read.

    Args:
        rate: samples a second it is resampled to.
        mels: bands.
        frames: of the spectrogram, each the mean power of its share of the run.
    """

    rate: int = 16000
    mels: int = 128
    frames: int = 256

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: naming the one that does not fit.
        """
        if self.rate < 1000 or self.mels < 1 or self.frames < 1:
            raise ValueError(f"audio: rate {self.rate}, mels {self.mels}, frames {self.frames}; 1000, 1 and 1 at least")


@final
class AudioFiles(Medium):
    """``RUN.flac`` as (frames, mels).

    Args:
        config: rate and shape.
    """

    def __init__(self, config: AudioConfig) -> None:
        self._config = config
        self.spec = SignalSpec(config.mels, config.frames, 0.0)
        self.settings = f"audio 1: {config}"

    def files(self, folder: Path) -> list[Path]:
        """The recording."""
        return of_run(folder, ".flac")

    def check(self, files: Sequence[Path]) -> None:
        """Read the header and the last sample, which a truncated file does not have."""
        _samples(files[0], "end")

    def read(self, files: Sequence[Path]) -> Recorded:
        """Decode, resample, transform."""
        from scipy.signal import resample_poly

        samples, rate = _samples(files[0], "all")
        if rate != self._config.rate:
            ratio = Fraction(self._config.rate, rate).limit_denominator(10_000)
            if len(samples) * ratio > MAX_RESAMPLED:
                raise UnreadableFile(f"too long: {len(samples):,} samples at {rate} Hz")
            samples = resample_poly(samples, ratio.numerator, ratio.denominator).astype(np.float32)
        power = mel_power(samples, self._config.rate, self._config.mels)
        values = np.log(np.maximum(pooled(power, self._config.frames), FLOOR))
        return Recorded(values.astype(np.float32), np.ones(len(values), dtype=np.bool_))


def _samples(path: Path, part: Literal["all", "end"]) -> tuple[NDArray[np.float32], int]:
    """Samples (n,) of all channels' mean, or the last alone, and their rate."""
    try:
        import soundfile
    except ImportError as error:
        raise need("soundfile") from error
    try:
        with soundfile.SoundFile(path) as file:
            count, rate = file.frames, file.samplerate
            if not 0 < count * file.channels <= MAX_SAMPLES:
                raise UnreadableFile(f"too long or empty: {count:,} samples of {file.channels} channels")
            first = 0 if part == "all" else count - 1
            file.seek(first)
            samples = file.read(dtype="float32", always_2d=True).mean(1)
    except DAMAGED as error:
        raise UnreadableFile(f"truncated or damaged: {error}") from error
    if len(samples) != count - first:
        raise UnreadableFile(f"truncated: {len(samples)} samples of {count}")
    if not np.isfinite(samples).all():
        raise UnreadableFile("not finite")
    return samples, rate


def mel_power(samples: NDArray[np.float32], rate: int, mels: int) -> Float:
    """Power in mel bands every 10 ms.

    Frames of 25 ms without padding, their mean taken off, pre-emphasis 0.97, Hann window, power spectrum of the next
    power of two, triangular bands even in HTK mel (1127 ln(1 + f / 700)) from 20 Hz to half the rate: what the Audio
    Spectrogram Transformer (Gong et al. 2021) was trained on, before the logarithm.

    Args:
        samples: (n,) from -1 to 1.
        rate: samples a second.
        mels: bands.

    Returns:
        (frames, mels).

    Raises:
        UnreadableFile: if there is not one frame.
    """
    width, hop = round(_WINDOW * rate), round(_HOP * rate)
    if len(samples) < width:
        raise UnreadableFile(f"too short: {len(samples)} samples at {rate} Hz, a frame has {width}")
    frames = np.lib.stride_tricks.sliding_window_view(samples, width)[::hop]
    size, bands = 1 << (width - 1).bit_length(), mel_bands(rate, mels)
    out = np.empty((len(frames), mels))
    for first in range(0, len(frames), _BLOCK):
        block = frames[first : first + _BLOCK].astype(np.float64)
        block -= block.mean(1, keepdims=True)
        block[:, 1:] -= _EMPHASIS * block[:, :-1]
        block[:, 0] *= 1 - _EMPHASIS
        spectrum = np.fft.rfft(block * np.hanning(width), size)
        out[first : first + _BLOCK] = (spectrum.real**2 + spectrum.imag**2) @ bands
    return out


@cache
def mel_bands(rate: int, mels: int) -> Float:
    """Weights (bins, mels) of triangles that are even in mel."""
    width = round(_WINDOW * rate)
    size = 1 << (width - 1).bit_length()
    places = _mel(np.arange(size // 2 + 1) * rate / size)[:, None]
    corners = np.linspace(_mel(_LOWEST), _mel(rate / 2), mels + 2)
    left, middle, right = corners[:-2], corners[1:-1], corners[2:]
    rising, falling = (places - left) / (middle - left), (right - places) / (right - middle)
    bands: Float = np.maximum(0.0, np.minimum(rising, falling))
    return bands


def _mel(frequency: Float | float) -> Float:
    return np.asarray(1127.0 * np.log1p(np.asarray(frequency) / 700.0))


def pooled(power: Float, frames: int) -> Float:
    """Mean of (n, C) over ``frames`` equal shares of n; a frame on a border counts by its part in either share."""
    count = len(power)
    total = np.concatenate([np.zeros((1, power.shape[1])), np.cumsum(power, 0)])
    edges = np.linspace(0, count, frames + 1)
    low = np.minimum(edges.astype(np.int64), count - 1)
    at_edges = total[low] + (edges - low)[:, None] * (total[low + 1] - total[low])
    # Differences of a running sum may fall below 0 by rounding.
    means: Float = np.maximum(np.diff(at_edges, axis=0) * (frames / count), 0.0)
    return means
