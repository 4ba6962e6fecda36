"""SIMULATED sensor channels and sound of weld runs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter

from counterpoint.data.synthetic.weld_process import Course, Float, Run

AUDIO_RATE = 24_000
"""Hz; 192 000 in the real set."""
COLUMNS = (
    "Pressure",
    "CO2 Weld Flow",
    "Feed",
    "Primary Weld Current",
    "Wire Consumed",
    "Secondary Weld Voltage",
)
"""Of the sensor, in the order of its file: bar, L/min, mm/s, A, mm, V."""
_SENSOR_STEP, _JITTER = 0.106, 0.012
"""Seconds between rows, and how much more or less."""
_FILL = 0.1
"""Share of the recording over which a sound run lets the current down, to fill the crater."""


class Trace(NamedTuple):
    """(t,) seconds since the recording began, and (t, 6) values of ``COLUMNS``."""

    time: Float
    values: Float


def sensor_trace(run: Run, seconds: float) -> Trace:
    """Slow channels of a run at 9 to 10 Hz, at jittered times."""
    rng, course, settings, mark = run.chance("sensor"), run.course, run.settings, run.marks.sensor
    steps = _SENSOR_STEP + rng.uniform(-_JITTER, _JITTER, int(seconds / (_SENSOR_STEP - _JITTER)) + 2)
    time = np.cumsum(steps) - steps[0]
    time = time[time < seconds]
    place, severity = course.place(time / seconds), course.severity
    # A level off the nominal by more than most defects shift it: what tells them is how it moves within the run.
    offset = rng.normal(0.0, 0.04, 3)
    current, voltage, feed = (1.0 + offset)[:, None] + rng.normal(0.0, 1.0, (3, len(time))) * [[0.04], [0.02], [0.02]]
    wander = lfilter([0.6], [1.0, -0.8], rng.normal(size=len(time)))
    if mark == "surplus":
        current += 0.17 * severity * course.growth(place)
        voltage -= 0.05 * severity * course.growth(place)
    elif mark == "dropouts":
        current -= 0.55 * min(severity, 1.3) * course.episodes(place)
        voltage += 0.30 * severity * course.episodes(place)
    elif mark == "overfeed":
        feed += 0.22 * severity * course.growth(place)
    elif mark == "wander":
        voltage += 0.09 * severity * wander
        current -= 0.05 * severity * wander
    fill = _FILL * max(0.05, 1.0 - 0.9 * severity) if mark == "abrupt" else _FILL
    arc = _arc(course, time, seconds, fill)
    on = (arc > 0.0).astype(np.float64)
    speed = (12.0 + 0.25 * settings.current) * feed * arc
    flow = lfilter([0.12], [1.0, -0.88], on * 9.0 * settings.gas**0.5)
    values = [
        np.where(on > 0.0, 0.05, settings.gas) + rng.normal(0.0, 0.01, len(time)),
        flow + rng.normal(0.0, 0.05, len(time)),
        speed,
        settings.current * current * arc,
        np.cumsum(speed * steps[: len(time)]),
        np.where(on > 0.0, settings.voltage * voltage * (0.55 + 0.45 * arc), 0.0),
    ]
    return Trace(time, np.stack(values, 1).round(2) + 0.0)


def _arc(course: Course, time: Float, seconds: float, fill: float) -> Float:
    """0 to 1: share of its current that the arc has; struck at once, let down over ``fill`` of the recording."""
    start, end = (seconds * share for share in course.arc)
    struck = np.clip((time - start) / 0.15, 0.0, 1.0)
    arc: Float = struck * np.clip((end + 0.5 * _FILL * seconds - time) / (fill * seconds), 0.0, 1.0)
    return arc


def sound(run: Run, seconds: float, rate: int = AUDIO_RATE) -> Float:
    """(rate * seconds,) pressure of a run, within -1 and 1: hum, hiss, short circuits and what its class adds."""
    rng, course, station, mark = run.chance("audio"), run.course, run.station, run.marks.audio
    time = np.arange(round(rate * seconds)) / rate
    arc, place = _arc(course, time, seconds, 0.5 * _FILL), course.place(time / seconds)
    level = run.settings.current / 185.0
    hum = sum(np.sin(2.0 * np.pi * 100.0 * k * time + rng.uniform(0.0, 6.3)) / k for k in (1, 2, 3))
    hiss = _resonating(rng.normal(size=len(time)), station.resonance, rate)
    shorts = _at_random(rng, np.ones(len(time)), station.droplets * seconds)
    steady = 0.006 * hum + 0.010 * hiss + 0.05 * _ringing(shorts, 3200.0, 0.0012, rate)
    # Every arc pops now and then, and every plate ticks as it cools: more of it is what tells.
    welding = ((place > 0.0) & (place < 1.0)).astype(np.float64)
    cooling = (place > 1.12).astype(np.float64)
    pops, crackle = _at_random(rng, welding, 1.0), np.zeros(len(time))
    pings = 0.3 * _at_random(rng, cooling, 0.7)
    if mark == "gaps":
        arc = arc * (1.0 - np.clip(0.85 * course.severity * course.episodes(place), 0.0, 0.95))
    elif mark == "pops":
        near = course.episodes(place) * welding
        pops += _at_random(rng, near, 16.0 * course.severity)
    elif mark == "crackle":
        crackle = _at_random(rng, course.episodes(place) * arc, 160.0 * course.severity)
    elif mark == "pings":
        pings += _at_random(rng, cooling, 8.0) * course.severity
    total = arc * level * steady + 0.25 * _ringing(pops, 1100.0, 0.006, rate)
    total += 0.07 * _ringing(crackle, 7500.0, 0.0008, rate) + 0.04 * _ringing(pings, 2400.0, 0.04, rate)
    heard: Float = np.clip(station.gain * total + 0.0008 * rng.normal(size=len(time)), -1.0, 1.0)
    return heard


def _at_random(rng: np.random.Generator, density: Float, expected: float) -> Float:
    """(n,) strikes of random strength at random samples, about ``expected`` in all, where the density is."""
    odds = density * (expected / max(float(density.sum()), 1e-9))
    strikes, struck = np.zeros(len(density)), np.flatnonzero(rng.random(len(density)) < odds)
    strikes[struck] = rng.lognormal(0.0, 0.3, len(struck))
    return strikes


def _ringing(strikes: Float, frequency: float, decay: float, rate: int) -> Float:
    """Each strike sets something ringing at ``frequency`` Hz that dies down within ``decay`` seconds."""
    radius, turn = np.exp(-1.0 / (decay * rate)), 2.0 * np.pi * frequency / rate
    # Poles and zero of the z-transform of a sine that decays by the radius a sample.
    rung: Float = lfilter([0.0, radius * np.sin(turn)], [1.0, -2.0 * radius * np.cos(turn), radius**2], strikes)
    return rung


def _resonating(noise: Float, frequency: float, rate: int) -> Float:
    """Noise through a room that resonates at ``frequency`` Hz, of unit variance."""
    radius = np.exp(-np.pi * 0.4 * frequency / rate)
    pole = [1.0, -2.0 * radius * np.cos(2.0 * np.pi * frequency / rate), radius**2]
    room = 0.5 * noise + 0.3 * lfilter([1.0 - radius], pole, noise)
    heard: Float = room / room.std()
    return heard
