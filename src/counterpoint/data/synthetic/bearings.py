"""A SIMULATOR of vibration from rolling bearings: nothing that comes out of it was recorded.

A local defect is struck once for every rolling element that passes it. Each strike sets the housing ringing;
strikes come at the defect's rate with a little slip, louder where the defect is under load. The rate is the physics
a model should find. Everything else differs from bearing to bearing and says nothing of the fault: where and how
long the housing rings, how loud the machine is, random knocks (in sound bearings too), the shaft's harmonics.

After McFadden and Smith, "Model for the vibration produced by a single point defect in a rolling element bearing",
Journal of Sound and Vibration 96 (1984), with the slip of Randall and Antoni, "Rolling element bearing
diagnostics", Mechanical Systems and Signal Processing 25 (2011).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.vibration.hdf5 import write_collection

Fault = Literal["normal", "inner", "outer", "ball"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
Float = NDArray[np.float64]

_NOMINAL_RPM, _RPM_PER_LOAD = 1797.0, -22.0


class Orders(NamedTuple):
    """Rates in turns of the shaft: strikes on an outer, inner or ball defect, and turns of the cage."""

    outer: float
    inner: float
    ball: float
    cage: float


@dataclass(frozen=True)
class Geometry:
    """A rolling bearing.

    Args:
        balls: number of rolling elements.
        ball_diameter: in any unit of length.
        pitch_diameter: of the circle of ball centres, in the same unit.
        contact_angle: in degrees.
    """

    balls: int
    ball_diameter: float
    pitch_diameter: float
    contact_angle: float = 0.0

    def __post_init__(self) -> None:
        if self.balls < 1 or not 0.0 < self.ball_diameter < self.pitch_diameter:
            raise ValueError(f"{self}: wants a ball at least, with a diameter between 0 and the pitch diameter")

    @property
    def orders(self) -> Orders:
        """BPFO, BPFI, twice BSF, FTF over the shaft's rate; a ball's defect strikes both races in a spin."""
        ratio = self.ball_diameter / self.pitch_diameter * math.cos(math.radians(self.contact_angle))
        spin = self.pitch_diameter / (2.0 * self.ball_diameter) * (1.0 - ratio**2)
        return Orders(
            outer=self.balls / 2.0 * (1.0 - ratio),
            inner=self.balls / 2.0 * (1.0 + ratio),
            ball=2.0 * spin,
            cage=(1.0 - ratio) / 2.0,
        )


SKF_6205 = Geometry(balls=9, ball_diameter=0.3126, pitch_diameter=1.537)


@dataclass(frozen=True)
class Bearing:
    """One bearing in its housing.

    Args:
        fault: where its defect is.
        strikes_db: power of the defect's strikes over the noise, dB, at no load; unused for ``normal``.
        knocks_db: power of random knocks over that of the noise, dB.
        resonance: frequency at which the housing rings, Hz.
        damping: of that ringing, as a share of critical.
        slip: standard deviation of the time between strikes, as a share of it.
        noise: root mean square of the noise, in g.
        geometry: of the bearing.
    """

    fault: Fault
    strikes_db: float
    knocks_db: float = -20.0
    resonance: float = 3000.0
    damping: float = 0.03
    slip: float = 0.01
    noise: float = 0.1
    geometry: Geometry = SKF_6205


def simulate_recording(
    bearing: Bearing, *, rpm: float, load: int, seconds: float, rate: float, seed: int | tuple[int, ...]
) -> NDArray[np.float32]:
    """One recording of one bearing: strikes, knocks, harmonics of the shaft and noise.

    Args:
        bearing: what is recorded.
        rpm: speed of the shaft, turns a minute.
        load: in hp; every one makes the strikes 1 dB stronger.
        seconds: length.
        rate: samples a second.
        seed: the recording is a function of the arguments and of this alone.

    Returns:
        (L, 1) float32 in g.

    Raises:
        ValueError: the housing rings above half the rate, or the recording would be empty.
    """
    length = round(seconds * rate)
    if length < 1 or bearing.resonance >= rate / 2:
        raise ValueError(f"{seconds} s at {rate} Hz cannot hold a ringing at {bearing.resonance} Hz")
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=length)
    knocks = np.sort(rng.uniform(0.0, seconds, rng.poisson(rpm / 60.0 * seconds) + 1))
    heights = rng.lognormal(0.0, 0.5, len(knocks)) * rng.choice((-1.0, 1.0), len(knocks))
    signal = noise + _at_power(_ring(bearing, knocks, heights, length, rate), bearing.knocks_db)
    signal += _shaft(rng, rpm, length, rate)
    if bearing.fault != "normal":
        times, heights = _strikes(rng, bearing, rpm / 60.0, seconds)
        signal += _at_power(_ring(bearing, times, heights, length, rate), bearing.strikes_db + load)
    return (bearing.noise * signal).astype(np.float32)[:, None]


def _strikes(rng: np.random.Generator, bearing: Bearing, shaft: float, seconds: float) -> tuple[Float, Float]:
    """Times (s) and heights of the strikes on a defect; ``shaft`` in Hz."""
    orders = bearing.geometry.orders
    # A defect that turns passes through the loaded zone once a turn: of the shaft, or of the cage for a ball.
    order, turning, depth = {
        "outer": (orders.outer, 0.0, 0.0),
        "inner": (orders.inner, 1.0, 0.6),
        "ball": (orders.ball, orders.cage, 0.6),
    }[bearing.fault]
    period = 1.0 / (order * shaft)
    gaps = period * (1.0 + bearing.slip * rng.normal(size=math.ceil(1.2 * seconds / period) + 8))
    times = np.cumsum(np.maximum(gaps, 0.1 * period)) - period * rng.uniform(0.0, 1.0)
    times = times[(times >= 0.0) & (times < seconds)]
    zone = 1.0 + depth * np.cos(2.0 * np.pi * turning * shaft * times + rng.uniform(0.0, 2.0 * np.pi))
    return times, zone * (1.0 + 0.1 * rng.normal(size=len(times)))


def _ring(bearing: Bearing, times: Float, heights: Float, length: int, rate: float) -> Float:
    """(L,) ringing after each strike, evaluated at its exact time, until it has died to a thousandth."""
    omega = 2.0 * np.pi * bearing.resonance
    tail = math.ceil(math.log(1000.0) / (bearing.damping * omega) * rate)
    damped = omega * math.sqrt(1.0 - bearing.damping**2)
    out = np.zeros(length)
    for time, height in zip(times, heights, strict=True):
        first = math.ceil(time * rate)
        age = np.arange(first, min(first + tail, length)) / rate - time
        out[first : first + tail] += height * np.exp(-bearing.damping * omega * age) * np.sin(damped * age)
    return out


def _at_power(signal: Float, decibel: float) -> Float:
    """Scaled to a mean power over that of unit noise."""
    power = float(np.mean(signal**2))
    return signal * math.sqrt(10.0 ** (decibel / 10.0) / power) if power > 0.0 else signal


def _shaft(rng: np.random.Generator, rpm: float, length: int, rate: float) -> Float:
    """Imbalance and misalignment: four harmonics of the shaft of random height and phase."""
    phase = 2.0 * np.pi * rpm / 60.0 * np.arange(length) / rate
    heights, offsets = rng.exponential(0.4, 4), rng.uniform(0.0, 2.0 * np.pi, 4)
    waves = [h * np.sin(n * phase + o) for n, (h, o) in enumerate(zip(heights, offsets, strict=True), start=1)]
    return np.asarray(np.sum(waves, axis=0), dtype=np.float64)


def draw_bearing(fault: Fault, level: int, rng: np.random.Generator, rate: float) -> Bearing:
    """A bearing of a fleet: all but its fault and level (1 to 3) is drawn alike for every class."""
    return Bearing(
        fault=fault,
        strikes_db=-12.0 + 3.0 * level + rng.uniform(-1.0, 1.0),
        knocks_db=rng.uniform(-10.0, -3.0),
        resonance=rate * rng.uniform(0.15, 0.40),
        damping=math.exp(rng.uniform(math.log(0.015), math.log(0.06))),
        slip=rng.uniform(0.01, 0.02),
        noise=math.exp(rng.uniform(math.log(0.05), math.log(0.3))),
    )


def generate(
    destination: Path,
    *,
    seed: int = 0,
    bearings: int = 24,
    loads: tuple[int, ...] = (0, 1, 2),
    seconds: float = 4.0,
    rate: float = 12_000.0,
) -> Path:
    """Write a fleet of SIMULATED bearings, in the layout of every other vibration collection.

    Args:
        destination: the folder to make.
        seed: the fleet is a function of the arguments alone.
        bearings: how many, the four classes in turn.
        loads: each bearing is recorded once at each, in hp; the ``Domain_id``.
        seconds: length of a recording.
        rate: samples a second.

    Returns:
        The destination, with ``metadata.csv`` (column ``bearing`` is the group) and ``signals.h5``.

    Raises:
        ValueError: fewer bearings than classes, no load, or a destination that holds something.
    """
    if bearings < len(FAULTS) or not loads:
        raise ValueError(f"{bearings} bearings, loads {loads}: wants a bearing of each class and a load at least")
    rows: list[dict[str, Any]] = []
    recipes: list[tuple[Bearing, int, float, tuple[int, ...]]] = []
    for index in range(bearings):
        fault, level = FAULTS[index % len(FAULTS)], 1 + index // len(FAULTS) % 3
        rng = np.random.default_rng((seed, index))
        bearing = draw_bearing(fault, level, rng, rate)
        for at, load in enumerate(loads):
            rpm = _NOMINAL_RPM + _RPM_PER_LOAD * load + rng.uniform(-3.0, 3.0)
            rows.append(_row(len(rows), index, level, bearing, load, rpm, round(seconds * rate), rate))
            recipes.append((bearing, load, rpm, (seed, index, at)))

    def signals() -> Iterator[tuple[str, NDArray[np.float32]]]:
        for row, (bearing, load, rpm, key) in zip(rows, recipes, strict=True):
            recording = simulate_recording(bearing, rpm=rpm, load=load, seconds=seconds, rate=rate, seed=key)
            yield str(row["Id"]), recording

    return write_collection(destination, rows, signals())


def _row(
    identifier: int, index: int, level: int, bearing: Bearing, load: int, rpm: float, length: int, rate: float
) -> dict[str, Any]:
    return {
        "Id": identifier,
        "Dataset_id": 0,
        "Name": "simulated bearings",
        "File": "simulated",
        "Label": bearing.fault,
        "Label_Description": f"simulated, {bearing.fault}",
        "Domain_id": load,
        "Fault_level": 0 if bearing.fault == "normal" else level,
        "Sample_rate": rate,
        "Sample_length": length,
        "Channels": 1,
        "channel_names": "DE",
        "bearing": f"simulated-{index:03d}",
        "fault_end": "DE",
        "or_position": None,
        "rpm": round(rpm),
    }
