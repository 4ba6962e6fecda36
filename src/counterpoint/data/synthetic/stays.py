"""A SIMULATOR of stays in intensive care: nothing that comes out of it was measured on anyone.

Five organs fail more or less, together and each by itself, and mend or fail further over two days. Vital signs, urine,
gases and laboratory values follow them, each around a level of the patient's own; the sicker are looked at more often,
and some variables are never measured in some stays. Whether a stay ends in death is drawn from the state of the organs
at its end: how a variable moves tells more than its mean.

Variables, units, levels and rates are about those of the PhysioNet/Computing in Cardiology Challenge 2012 (Silva et
al., "Predicting in-hospital mortality of ICU patients", Computing in Cardiology 39 (2012)); none of its records is
used. So are its irregularities: a second value of a variable at one minute, stays with hardly an event, weights and
heights that nobody took, sensors that fell off.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.synthetic.stay_files import Layout, Stays, write_stays

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Organ = Literal["circulation", "kidneys", "lungs", "brain", "liver"]
ORGANS: tuple[Organ, ...] = get_args(Organ)

HOURS = 48
FIRST_ID = 900_001
"""Of the first stay: beyond the numbers of the Challenge, so that no simulated stay is taken for one of its own."""


class Variable(NamedTuple):
    """Something measured: its level in the middling patient, what else moves it, and how it is noted.

    Attributes:
        name: as in the Challenge.
        unit: of the values.
        visit: when it is measured, a key of ``VISITS``.
        noted: share of those visits that note it.
        level: of the middling patient.
        spread: between measurements; of the logarithm where positive values are skewed.
        skewed: whether it is.
        ends: what can be noted, smallest and largest.
        digits: after the point.
        organ: that moves it.
        loading: by how many spreads, for one spread of the organ's state; positive rises with failure.
    """

    name: str
    unit: str
    visit: str
    noted: float
    level: float
    spread: float
    skewed: bool
    ends: tuple[float, float]
    digits: int
    organ: Organ
    loading: float


VISITS = {
    "bedside": (0.985, 66.0),
    "line": (0.70, 60.0),
    "cuff": (0.87, 30.0),
    "breathing": (0.28, 55.0),
    "scale": (0.45, 45.0),
    "chemistry": (0.98, 3.6),
    "blood count": (0.98, 3.5),
    "enzymes": (0.43, 1.8),
    "gases": (0.76, 7.6),
    "ventilator": (0.63, 11.0),
    "heart": (0.25, 2.2),
    "lipids": (0.08, 1.0),
}
"""Kind of visit -> share of the stays that have any, and how many those have in two days."""
ROUND = {"bedside", "line", "cuff", "breathing", "scale"}
"""Visits that mostly fall together, at one minute of every hour."""

_FLAT, _SKEWED = False, True
VARIABLES = (
    Variable("HR", "/min", "bedside", 0.97, 87, 18, _FLAT, (20, 220), 0, "circulation", 0.40),
    Variable("Temp", "degree C", "bedside", 0.36, 37.1, 0.8, _FLAT, (31, 42), 1, "liver", -0.15),
    Variable("GCS", "points", "bedside", 0.26, 11.5, 4.2, _FLAT, (3, 15), 0, "brain", -0.75),
    Variable("Urine", "mL", "bedside", 0.58, 75, 0.9, _SKEWED, (0, 2500), 0, "kidneys", -0.50),
    Variable("SysABP", "mmHg", "line", 1.0, 119, 23, _FLAT, (40, 280), 0, "circulation", -0.40),
    Variable("DiasABP", "mmHg", "line", 1.0, 59, 12, _FLAT, (20, 150), 0, "circulation", -0.35),
    Variable("MAP", "mmHg", "line", 0.99, 79, 15, _FLAT, (30, 190), 0, "circulation", -0.40),
    Variable("NISysABP", "mmHg", "cuff", 1.0, 119, 22, _FLAT, (50, 280), 0, "circulation", -0.35),
    Variable("NIDiasABP", "mmHg", "cuff", 1.0, 58, 14, _FLAT, (15, 150), 0, "circulation", -0.30),
    Variable("NIMAP", "mmHg", "cuff", 0.98, 77, 15, _FLAT, (30, 200), 2, "circulation", -0.35),
    Variable("RespRate", "/min", "breathing", 1.0, 19.5, 5.3, _FLAT, (4, 60), 0, "lungs", 0.40),
    Variable("Weight", "kg", "scale", 1.0, 81, 0.02, _SKEWED, (30, 300), 1, "kidneys", 0.10),
    Variable("BUN", "mg/dL", "chemistry", 0.98, 20, 0.70, _SKEWED, (2, 200), 0, "kidneys", 0.60),
    Variable("Creatinine", "mg/dL", "chemistry", 0.99, 1.05, 0.60, _SKEWED, (0.1, 22), 1, "kidneys", 0.55),
    Variable("Glucose", "mg/dL", "chemistry", 0.92, 130, 0.35, _SKEWED, (20, 1100), 0, "liver", 0.15),
    Variable("HCO3", "mmol/L", "chemistry", 0.98, 23.3, 4.5, _FLAT, (5, 50), 0, "kidneys", -0.45),
    Variable("K", "mmol/L", "chemistry", 0.99, 4.1, 0.65, _FLAT, (1.8, 9), 1, "kidneys", 0.20),
    Variable("Mg", "mmol/L", "chemistry", 0.94, 2.0, 0.38, _FLAT, (0.6, 6), 1, "kidneys", 0.10),
    Variable("Na", "mmol/L", "chemistry", 0.97, 139, 5, _FLAT, (100, 175), 0, "brain", 0.10),
    Variable("HCT", "%", "blood count", 0.99, 30.5, 4.9, _FLAT, (10, 60), 1, "circulation", -0.10),
    Variable("Platelets", "1000/uL", "blood count", 0.97, 172, 0.55, _SKEWED, (6, 1000), 0, "liver", -0.35),
    Variable("WBC", "1000/uL", "blood count", 0.95, 11.3, 0.50, _SKEWED, (0.1, 180), 1, "lungs", 0.30),
    Variable("Albumin", "g/dL", "enzymes", 0.80, 2.9, 0.62, _FLAT, (1, 5.3), 1, "liver", -0.45),
    Variable("ALP", "IU/L", "enzymes", 0.97, 86, 0.65, _SKEWED, (12, 2200), 0, "liver", 0.35),
    Variable("ALT", "IU/L", "enzymes", 0.99, 46, 1.40, _SKEWED, (1, 11000), 0, "liver", 0.40),
    Variable("AST", "IU/L", "enzymes", 0.99, 70, 1.40, _SKEWED, (4, 18000), 0, "liver", 0.50),
    Variable("Bilirubin", "mg/dL", "enzymes", 0.98, 1.0, 1.10, _SKEWED, (0.1, 47), 1, "liver", 0.60),
    Variable("PaCO2", "mmHg", "gases", 0.98, 39.5, 8.5, _FLAT, (12, 100), 0, "lungs", 0.20),
    Variable("PaO2", "mmHg", "gases", 0.98, 125, 0.50, _SKEWED, (30, 500), 0, "lungs", -0.40),
    Variable("pH", "1", "gases", 1.0, 7.38, 0.07, _FLAT, (6.8, 7.7), 2, "circulation", -0.45),
    Variable("SaO2", "%", "gases", 0.33, 97, 2.5, _FLAT, (60, 100), 0, "lungs", -0.40),
    Variable("Lactate", "mmol/L", "gases", 0.35, 2.1, 0.62, _SKEWED, (0.3, 29), 1, "circulation", 0.60),
    Variable("FiO2", "1", "ventilator", 0.95, 0.5, 0.30, _SKEWED, (0.21, 1), 2, "lungs", 0.55),
    Variable("MechVent", "1", "ventilator", 1.0, 1, 0, _FLAT, (1, 1), 0, "lungs", 0.0),
    Variable("TroponinT", "ug/L", "heart", 0.82, 0.2, 1.60, _SKEWED, (0.01, 25), 2, "circulation", 0.30),
    Variable("TroponinI", "ug/L", "heart", 0.18, 2.8, 1.40, _SKEWED, (0.3, 49), 1, "circulation", 0.30),
    Variable("Cholesterol", "mg/dL", "lipids", 1.0, 152, 0.30, _SKEWED, (28, 330), 0, "liver", -0.20),
)
DESCRIPTORS = ("Age", "Gender", "Height", "ICUType", "Weight")
"""Known on arrival, at minute 0; -1 where nobody noted it."""
NAMES = tuple(sorted({variable.name for variable in VARIABLES} | set(DESCRIPTORS)))

_ARTEFACTS = {"HR": 0.0, "SysABP": 0.0, "Temp": -17.8, "pH": 735.0}
"""What a sensor that fell off or a lost point leaves in the record."""
_ARTEFACT_SHARE, _SECOND_SHARE, _SPARSE_SHARE = 0.0005, 0.002, 0.01


class _Patients(NamedTuple):
    """n patients.

    Attributes:
        severity: (n,) standard normal.
        hours: (n,) watched.
        seen: (n,) share of the visits that left a record.
        clock: (n,) minute of the hour of the nurse's round.
        level: (n, 5) state of the organs on arrival.
        drift: (n, 5) what two days add to it.
        phase: (n, 5) of its daily wave, in turns.
        habit: (n, V) of the values, in spreads, whatever the organs do.
    """

    severity: Float
    hours: Float
    seen: Float
    clock: Int
    level: Float
    drift: Float
    phase: Float
    habit: Float

    def state(self, stay: Int, hour: Float) -> Float:
        """(v, 5) state of the organs at (v,) visits, in spreads over patients, 0 in the middle."""
        wave = np.sin(2.0 * np.pi * (hour[:, None] / 24.0 + self.phase[stay]))
        state: Float = self.level[stay] + self.drift[stay] * hour[:, None] / HOURS + 0.3 * wave
        return state


def simulate_stays(stays: int, seed: int) -> Stays:
    """Patients and all that is noted of them over two days.

    Args:
        stays: how many.
        seed: everything is a function of the arguments.

    Returns:
        Events in the order of stay, minute and name, descriptors, and what became of the patients.

    Raises:
        ValueError: no stay is asked for.
    """
    if stays < 1:
        raise ValueError(f"{stays} stays: wants one at least")
    rng = np.random.default_rng(seed)
    patients = _patients(rng, stays)
    descriptors, icu = _descriptors(rng, patients)
    died = _outcome(rng, patients, descriptors[:, 0], icu)
    measured = [_measure(rng, patients, visit, descriptors[:, -1]) for visit in VISITS]
    stay, minute, code, value = (np.concatenate(part) for part in zip(*measured, strict=True))
    order = np.lexsort((code, minute, stay))
    return Stays(
        ids=np.arange(stays) + FIRST_ID,
        names=NAMES,
        descriptors=dict(zip(DESCRIPTORS, descriptors.T, strict=True)),
        stay=stay[order],
        minute=minute[order],
        code=code[order],
        value=value[order],
        died=died,
        severity=patients.severity,
    )


def _patients(rng: np.random.Generator, count: int) -> _Patients:
    severity = rng.normal(size=count)
    organs = (count, len(ORGANS))
    sparse = rng.random(count) < _SPARSE_SHARE
    short = sparse | (rng.random(count) < 0.05)
    return _Patients(
        severity=severity,
        hours=np.where(short, rng.uniform(2.0, HOURS, count), float(HOURS)),
        seen=np.where(sparse, 0.01, 1.0),
        clock=rng.integers(0, 60, count),
        level=0.6 * severity[:, None] + 0.8 * rng.normal(size=organs),
        drift=0.7 * rng.normal(size=(count, 1)) + 0.7 * rng.normal(size=organs),
        phase=rng.random(organs),
        habit=rng.normal(size=(count, len(VARIABLES))),
    )


def _descriptors(rng: np.random.Generator, patients: _Patients) -> tuple[Float, Int]:
    """(n, 5) values as ``DESCRIPTORS`` names them, and (n,) kinds of intensive care, 1 to 4."""
    count = len(patients.severity)
    gender: Float = (rng.random(count) < 0.56).astype(np.float64)
    icu: Int = rng.choice(np.arange(1, 5), count, p=[0.14, 0.21, 0.37, 0.28])
    age: Float = np.clip(66.0 + 17.0 * rng.normal(size=count), 16.0, 90.0).round()
    height: Float = rng.normal(162.0 + 13.0 * gender, 8.0).round(1)
    weight: Float = np.clip(81.0 * np.exp(0.27 * rng.normal(size=count)), 35.0, 250.0).round(1)
    columns = [age, gender, height, icu.astype(np.float64), weight]
    for column, share in zip(columns, (0.0, 0.002, 0.47, 0.0, 0.08), strict=True):
        column[rng.random(count) < share] = -1.0
    return np.stack(columns, 1), icu


def _outcome(rng: np.random.Generator, patients: _Patients, age: Float, icu: Int) -> NDArray[np.bool_]:
    """(n,) deaths: the organs where the record ends, the age and the kind of care decide the odds."""
    everyone = np.arange(len(age))
    failing = patients.state(everyone, patients.hours).mean(1)
    odds = -2.8 + 1.95 * failing + 0.025 * (age - 64.0) + np.array([0.0, -0.6, 0.3, 0.0])[icu - 1]
    died: NDArray[np.bool_] = rng.random(len(age)) < 1.0 / (1.0 + np.exp(-odds))
    return died


def _visits(rng: np.random.Generator, patients: _Patients, visit: str) -> tuple[Int, Int]:
    """(v,) stays and (v,) minutes of one kind of visit: spaced evenly, each somewhere in its share of the stay."""
    share, rate = VISITS[visit]
    has = rng.random(len(patients.severity)) < share ** np.exp(-0.4 * patients.severity)
    expected = rate * patients.hours / HOURS * np.exp(0.1 * patients.severity) * patients.seen
    counts = np.where(has, rng.poisson(expected), 0)
    stay = np.repeat(np.arange(len(counts)), counts)
    rank = np.arange(len(stay)) - np.repeat(np.cumsum(counts) - counts, counts)
    hour = (rank + rng.random(len(stay))) / counts[stay] * patients.hours[stay]
    minute = np.floor(60.0 * hour).astype(np.int64)
    if visit in ROUND:
        minute = np.where(rng.random(len(stay)) < 0.85, minute // 60 * 60 + patients.clock[stay], minute)
    once = np.unique(stay * (60 * HOURS) + minute)
    return once // (60 * HOURS), once % (60 * HOURS)


def _measure(rng: np.random.Generator, patients: _Patients, visit: str, weight: Float) -> tuple[Int, Int, Int, Float]:
    """Stay, minute, code and value of all that one kind of visit notes, in no order."""
    stay, minute = _visits(rng, patients, visit)
    state = patients.state(stay, minute / 60.0)
    shared = rng.normal(size=len(stay))
    parts: list[tuple[Int, Int, Int, Float]] = []
    for place, variable in enumerate(VARIABLES):
        if variable.visit != visit:
            continue
        noted = np.flatnonzero(rng.random(len(stay)) < variable.noted)
        again = noted[rng.random(len(noted)) < _SECOND_SHARE]
        at = np.concatenate([noted, again])
        away = variable.loading * state[at, ORGANS.index(variable.organ)] + 0.5 * patients.habit[stay[at], place]
        away += 0.4 * shared[at] + 0.5 * rng.normal(size=len(at))
        level = weight[stay[at]] if variable.name == "Weight" else np.full(len(at), variable.level)
        value = _noted(variable, np.where(level > 0, level, variable.level), variable.spread * away)
        if variable.name in _ARTEFACTS:
            value[rng.random(len(value)) < _ARTEFACT_SHARE] = _ARTEFACTS[variable.name]
        parts.append((stay[at], minute[at], np.full(len(at), NAMES.index(variable.name)), value))
    first, second, third, fourth = (np.concatenate(part) for part in zip(*parts, strict=True))
    return first, second, third, fourth


def _noted(variable: Variable, level: Float, away: Float) -> Float:
    value = level * np.exp(away) if variable.skewed else level + away
    noted: Float = np.clip(value, *variable.ends).round(variable.digits)
    return noted


def generate(folder: Path, *, stays: int = 1000, seed: int = 0, layout: Layout = "long") -> Path:
    """Write SIMULATED stays in one of the layouts of clinical collections; the same stays whatever the layout.

    Args:
        folder: to be made; may exist when empty.
        stays: how many.
        seed: the stays are a function of ``stays`` and of this.
        layout: ``long`` writes one table, ``events.parquet``, beside ``outcomes.csv``; ``physionet2012`` a text file a
            stay in ``set-a`` beside ``Outcomes-a.txt``, as the Challenge has them; ``folder`` a Parquet file a stay in
            ``train``, ``valid`` and ``test`` beside ``stats.csv`` and ``oc.csv``.

    Returns:
        The folder. The column ``simulated`` of its table of outcomes is ``true`` in every row.

    Raises:
        ValueError: no stay is asked for, or the folder holds something.
    """
    return write_stays(folder, simulate_stays(stays, seed), layout=layout, seed=seed)
