"""A SIMULATED radar: the beat signal of an FMCW radar with eight antennas, and the three views made from it.

A chirp sweeps from ``CARRIER`` upwards by ``SLOPE``. A scatterer at range R answers tau = 2 R / c later; mixed with
what is being sent, its echo beats as exp(2 pi i (f tau + S tau t - S tau^2 / 2)) at the instant t of the chirp. The
beat signals of all scatterers are added up sample by sample, chirp by chirp, antenna by antenna, noise is added, and
the views are Fourier transforms of the sum: no peak is ever painted. Within a frame of 64 chirps (7.7 ms)

    range of scatterer j  ->  exp(2 pi i S tau_j t)           256 samples
    its radial speed      ->  exp(2 pi i 2 v_j m T_c / lambda)   64 chirps
    its direction cosine  ->  exp(pi i k u_j)                   8 antennas

and the signal is the sum over j of the products. That is exact where a scatterer keeps its range bin, its speed and
its direction for a frame and stands still during a chirp ("stop and hop"), and lies far beyond the 13 mm of the array.
Phases from chirp to chirp and from antenna to antenna are those of the middle of the sweep, 2.2 % from its ends.

Taken for granted: no scatterer hides another, none rotates, antennas look everywhere alike, the echo's phase does not
depend on material, and the eight antennas receive at once (two transmitters by four receivers, their delay made good).
Static things in the room are scatterers like any other.

After Richards, Fundamentals of Radar Signal Processing, 2nd ed., McGraw-Hill 2014, chapters 2 and 4.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.special import ndtri

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Complex64 = NDArray[np.complex64]

LIGHT = 299_792_458.0
CARRIER, SLOPE = 77e9, 70e12
"""Hz at the first sample of a chirp, and Hz a second."""
SAMPLES, SAMPLE_RATE = 256, 5.209e6
"""Of the beat signal a chirp: complex, over 49 us and 3.4 GHz."""
CHIRPS, CHIRP_INTERVAL = 64, 120e-6
"""A frame, and seconds from one chirp of an antenna to its next: +-7.9 m/s, which only a runner's foot passes."""
ANTENNAS = 8
"""Half a wavelength apart on a level line, from the first towards -x."""
FRAME_RATE = 20.0
"""Frames a second, as the joints of HumanML3D have them."""
RANGE_BINS, DOPPLER_BINS, AZIMUTH_BINS = 256, 128, 128

MIDDLE = (SAMPLES - 1) / 2.0 / SAMPLE_RATE
WAVELENGTH = LIGHT / (CARRIER + SLOPE * MIDDLE)
"""Metres, in the middle of the sampled sweep: 3.8 mm."""
METRES_PER_BIN = LIGHT * SAMPLE_RATE / (2.0 * SLOPE * SAMPLES)
"""Bin b of ``range_time`` is b times this far away; the first beyond the last bin, at 11.2 m, is taken for bin 0."""
SPEED_PER_BIN = WAVELENGTH / (2.0 * CHIRP_INTERVAL * DOPPLER_BINS)
"""Bin b of ``doppler_time`` moves at (b - 64) times this in m/s; positive is AWAY from the radar."""
SINE_PER_BIN = 2.0 / AZIMUTH_BINS
"""Bin b of ``azimuth_time`` has x / R = (b - 64) times this; +x is to the left as the radar looks along +z."""
SECONDS_PER_FRAME = 1.0 / FRAME_RATE

AZIMUTH_CHIRPS = (16, 48)
"""Chirps whose eight antennas ``azimuth_time`` is made of."""
_ROOT = 16
_BLOCK = 16
_LEVELS = ndtri((np.arange(2**16) + 0.5) / 2**16).astype(np.float32)
"""Equally likely values of standard normal noise, as fine as 16 bits make it; several times faster than exact ones."""


class Targets(NamedTuple):
    """J point scatterers over T frames.

    Attributes:
        position: (T, J, 3) metres from the radar: x to its left, y up, z away from it.
        velocity: (T, J, 3) metres a second.
        section: (J,) radar cross-section in square metres.
    """

    position: Float
    velocity: Float
    section: Float


class Receiver(NamedTuple):
    """What is not echo.

    Attributes:
        gain: amplitude of a sample over noise, for 1 square metre at 1 metre; the echo falls with the square of range.
        noise: standard deviation of a sample's complex noise; 0 is none.
        jitter: of the phase from chirp to chirp in radians, the same in all antennas.
    """

    gain: float = 200.0
    noise: float = 1.0
    jitter: float = 0.03


class Views(NamedTuple):
    """Raw magnitudes, bins first, about 1 where there is noise alone.

    Attributes:
        range_time: (256, T) root of the power of the range transform, mean over the 64 chirps of the first antenna.
        doppler_time: (128, T) root of the power of the transform over chirps, mean over range; see ``SPEED_PER_BIN``.
        azimuth_time: (128, T) the same over antennas, mean over range and two chirps; see ``SINE_PER_BIN``.
    """

    range_time: Float32
    doppler_time: Float32
    azimuth_time: Float32


def hann(size: int) -> Float:
    """(size,) Hann window without its two zeros, of unit energy, so that white noise keeps its power."""
    window: Float = np.sin(np.pi * (np.arange(size) + 1.0) / (size + 1.0)) ** 2
    return window / math.sqrt(float((window**2).sum()))


def beat(targets: Targets, receiver: Receiver, chance: np.random.Generator) -> Complex64:
    """The samples the views look at: all chirps of the first antenna, then ``AZIMUTH_CHIRPS`` of the seven others.

    Args:
        targets: T frames of J scatterers.
        receiver: gain and noise.
        chance: of noise and jitter.

    Returns:
        (T, 64 + 7 * 2, 256) samples; row 64 + 2 (k - 1) + i is the i-th of ``AZIMUTH_CHIRPS`` at antenna k.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, or a scatterer at the radar itself.
    """
    frames, count, distance = _checked(targets)
    delay = 2.0 * distance / LIGHT
    samples = _powers(2.0 * np.pi * SLOPE / SAMPLE_RATE * delay, SAMPLES)
    turns = CARRIER * delay - 0.5 * SLOPE * delay**2  # thousands of them: in float64
    echo = receiver.gain * np.sqrt(targets.section) / distance**2 * np.exp(2j * np.pi * (turns % 1.0))
    speed = (targets.velocity * targets.position).sum(-1) / distance
    per_chirp = 4.0 * np.pi * CHIRP_INTERVAL / WAVELENGTH * speed
    chirps = (
        _powers(per_chirp, CHIRPS) * (echo * np.exp(-0.5j * (CHIRPS - 1) * per_chirp)).astype(np.complex64)[:, None]
    )
    antennas = _powers(np.pi * targets.position[..., 0] / distance, ANTENNAS)
    others = (antennas[:, 1:, None] * chirps[:, None, AZIMUTH_CHIRPS]).reshape(frames, -1, count)
    signal: Complex64 = np.concatenate([chirps, others], 1) @ samples.transpose(0, 2, 1)
    return _disturb(signal, receiver, chance)


def views(targets: Targets, receiver: Receiver, chance: np.random.Generator) -> Views:
    """What the radar shows of the scatterers.

    Args:
        targets: T frames of J scatterers.
        receiver: gain and noise.
        chance: of noise and jitter.

    Returns:
        Views of T frames. Windows over samples, chirps and antennas are Hann's.

    Raises:
        ValueError: see ``beat``.
    """
    length = len(targets.position)
    parts = []
    for start in range(0, length, _BLOCK):  # a block of frames stays in the cache of the processor
        block = slice(start, start + _BLOCK)
        some = targets._replace(position=targets.position[block], velocity=targets.velocity[block])
        parts.append(look(beat(some, receiver, chance)))
    return Views(*(np.concatenate(view, 1) for view in zip(*parts, strict=True)))


def look(signal: Complex64) -> Views:
    """Views of samples, (T, 78, 256), as ``beat`` lays them out."""
    frames = len(signal)
    windowed = signal * hann(SAMPLES).astype(np.float32)
    first, others = windowed[:, :CHIRPS], windowed[:, CHIRPS:]
    spectrum = fft.fft(first, axis=2)
    others = others.reshape(frames, ANTENNAS - 1, len(AZIMUTH_CHIRPS), SAMPLES)
    array = np.concatenate([first[:, None, AZIMUTH_CHIRPS], others], 1).reshape(frames, ANTENNAS, -1)
    return Views(
        range_time=np.sqrt((spectrum.real**2 + spectrum.imag**2).mean(1)).T,
        doppler_time=_integrated(first, DOPPLER_BINS),
        azimuth_time=_integrated(array, AZIMUTH_BINS) / np.float32(math.sqrt(len(AZIMUTH_CHIRPS))),
    )


def _integrated(rows: Complex64, bins: int) -> Float32:
    """(bins, T) root of the power of the padded Hann transform over the n rows of (T, n, cells), summed over cells.

    Over the samples of a chirp that is the mean over range bins (Parseval). The power of a transform is the transform
    of the correlation, which is summed over cells first: one transform a frame for as many as there are cells.
    """
    frames, size, _ = rows.shape
    window = hann(size).astype(np.float32)
    products = (rows.conj() @ rows.transpose(0, 2, 1)) * (window[:, None] * window)
    # Rows of `bins` numbers cut out of rows of `bins` - 1 push [m, m'] to column m' - m, its lag, modulo `bins`.
    shifted = np.zeros((frames, size * bins), np.complex64)
    shifted[:, : size * (bins - 1)].reshape(frames, size, bins - 1)[..., :size] = products
    power = fft.fft(shifted.reshape(frames, size, bins).sum(1), axis=1).real
    magnitude: Float32 = np.sqrt(np.maximum(fft.fftshift(power, axes=1), 0.0)).T
    return magnitude


def _powers(step: Float, count: int) -> Complex64:
    """(T, count, J) exp(i n step) for n from 0, step (T, J): a table of sixteen by a table of every sixteenth."""
    fine = np.exp(1j * step[:, None] * np.arange(min(count, _ROOT))[:, None]).astype(np.complex64)
    coarse = np.exp(1j * step[:, None] * np.arange(0, count, _ROOT)[:, None]).astype(np.complex64)
    powers: Complex64 = (coarse[:, :, None] * fine[:, None]).reshape(len(step), -1, step.shape[1])
    return powers


def _disturb(signal: Complex64, receiver: Receiver, chance: np.random.Generator) -> Complex64:
    if receiver.jitter > 0.0:
        turn = np.exp(1j * receiver.jitter * chance.standard_normal((len(signal), CHIRPS)))
        others = np.tile(turn[:, AZIMUTH_CHIRPS], (1, ANTENNAS - 1))
        signal *= np.concatenate([turn, others], 1).astype(np.complex64)[..., None]
    if receiver.noise > 0.0:
        levels = _LEVELS * np.float32(receiver.noise / math.sqrt(2.0))
        drawn = chance.integers(0, 2**64, signal.size // 2, np.uint64).view(np.uint16)
        signal += levels[drawn].view(np.complex64).reshape(signal.shape)
    return signal


def _checked(targets: Targets) -> tuple[int, int, Float]:
    """T, J and (T, J) distances."""
    position, velocity, section = targets
    if position.ndim != 3 or position.shape[2] != 3 or velocity.shape != position.shape:
        raise ValueError(f"targets at {position.shape} moving at {velocity.shape}: want (T, J, 3) both")
    if section.shape != position.shape[1:2] or (section < 0.0).any():
        raise ValueError(f"cross-sections {section.shape} of {position.shape[1]} targets: want one each, none below 0")
    if not (np.isfinite(position).all() and np.isfinite(velocity).all() and np.isfinite(section).all()):
        raise ValueError("targets: positions, velocities and cross-sections are to be finite")
    distance = np.sqrt((position**2).sum(-1))
    if (distance < 0.1).any():
        raise ValueError(f"a target at {distance.min():.3f} m: nearer than 0.1 m the radar is no point any more")
    return position.shape[0], position.shape[1], distance
