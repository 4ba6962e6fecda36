"""What a SIMULATED weld run is: its class and what that leaves behind, settings, station, course and name."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Modality = Literal["sensor", "audio", "video", "photos"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)
Split = Literal["TRAIN", "VAL", "TEST"]


class Marks(NamedTuple):
    """What a class leaves in each modality; two classes with one mark cannot be told apart by that modality.

    Attributes:
        sensor: in current, voltage and wire feed.
        audio: in the sound.
        video: in the light of arc and pool.
        photos: on the seam.
    """

    sensor: Literal["steady", "surplus", "dropouts", "overfeed", "wander", "abrupt"]
    audio: Literal["steady", "pops", "gaps", "crackle", "pings"]
    video: Literal["steady", "long pool", "dark", "tall pool", "sparks", "drift"]
    photos: Literal["even", "tint", "holes", "grooves", "roll", "ridge", "crater"]


class Category(NamedTuple):
    """A class: its name in the manifest, the beginning of its folders' names, and its marks."""

    name: str
    folder: str
    marks: Marks


CATEGORIES = (
    Category("Good", "good_weld", Marks("steady", "steady", "steady", "even")),
    Category("Excessive_Penetration", "excessive_penetration_weld", Marks("surplus", "steady", "long pool", "tint")),
    Category("Burnthrough", "burnthrough_weld", Marks("dropouts", "gaps", "dark", "holes")),
    Category("Porosity", "porosity", Marks("steady", "pops", "steady", "even")),
    Category("Porosity_w_Excessive_Penetration", "porosity_w_ep", Marks("surplus", "pops", "long pool", "tint")),
    Category("Undercut", "undercut", Marks("steady", "steady", "steady", "grooves")),
    Category("Overlap", "overlap", Marks("overfeed", "steady", "tall pool", "roll")),
    Category("Lack_of_Fusion", "lack_of_fusion", Marks("wander", "crackle", "steady", "even")),
    Category("Excessive_Convexity", "excessive_convexity", Marks("overfeed", "steady", "tall pool", "ridge")),
    Category("Spatter", "spatter", Marks("steady", "crackle", "sparks", "even")),
    Category("Warping", "warping_weld", Marks("steady", "pings", "drift", "tint")),
    Category("Crater_Cracks", "crater_cracks", Marks("abrupt", "pings", "steady", "crater")),
)
"""In the order of the suffix of a run's name, 00 to 11."""
GOOD = 0
FEWEST_RUNS, MOST_RUNS = 2, 12
"""Of one configuration."""
_WITHOUT_PHOTOS, _GOOD_SHARES = 0.03, (0.70, 0.85)


class Settings(NamedTuple):
    """Nominal, a configuration; drawn from one distribution whatever the class.

    Attributes:
        weld_type: of the joint.
        thickness: of the plate in mm.
        steel: of the plate.
        current: in A.
        voltage: in V.
        gas: pressure in bar.
        speed: of the robot in cm a minute.
    """

    weld_type: str
    thickness: float
    steel: str
    current: float
    voltage: float
    gas: float
    speed: float

    @property
    def heat(self) -> float:
        """Heat put into a length of seam, 1 in the middling configuration."""
        return (self.current * self.voltage / self.speed) / (185.0 * 22.0 / 45.0)


class Station(NamedTuple):
    """What differs from configuration to configuration and tells nothing of the class.

    Attributes:
        exposure: of the camera on the arc, about 1.
        arc: (x, y) of the arc in the frame, as shares of width and height.
        gain: of the microphone, about 1.
        resonance: of the room in Hz.
        droplets: short circuits a second of the steady arc.
        lamp: side the plate is lit from for its photographs, -1 to 1 at most.
        tone: brightness of the plate, about 1.
    """

    exposure: float
    arc: tuple[float, float]
    gain: float
    resonance: float
    droplets: float
    lamp: float
    tone: float


class Course(NamedTuple):
    """How a run goes, whatever its class: every modality follows the same one, which is what links them.

    Attributes:
        severity: of whatever is wrong, 1 in the middling run.
        centres: (k,) where episodes lie, as shares of the seam.
        width: of an episode, as a share of the seam.
        onset: where what grows begins to, as a share of the seam.
        arc: (start, end) of the arc, as shares of the recording.
    """

    severity: float
    centres: Float
    width: float
    onset: float
    arc: tuple[float, float]

    def place(self, time: Float) -> Float:
        """Where on the seam the torch is at ``time``, both as shares; below 0 and above 1 while there is no arc."""
        return (time - self.arc[0]) / (self.arc[1] - self.arc[0])

    def episodes(self, place: Float) -> Float:
        """0 to 1: how far inside an episode each place on the seam lies."""
        away = (place[..., None] - self.centres) / self.width
        inside: Float = np.exp(-0.5 * away**2).max(-1)
        return inside

    def growth(self, place: Float) -> Float:
        """0 to 1: how far what grows along the seam has grown at each place."""
        grown: Float = np.clip((place - self.onset) / (1.0 - self.onset), 0.0, 1.0)
        return grown


class Run(NamedTuple):
    """One weld.

    Attributes:
        directory: folder of its configuration.
        name: MM-DD-YY-NNNN-CC, the last two its class.
        code: of its class, a row of ``CATEGORIES``.
        marks: what it leaves behind.
        settings: nominal.
        station: it was welded at.
        course: it took.
        split: TRAIN, VAL or TEST.
        photographed: whether it has photographs.
        key: of its chance; unlike the name, unique.
    """

    directory: str
    name: str
    code: int
    marks: Marks
    settings: Settings
    station: Station
    course: Course
    split: Split
    photographed: bool
    key: tuple[int, ...]

    def chance(self, modality: Modality) -> np.random.Generator:
        """Generator of one modality of this run, the same whatever its class."""
        return np.random.default_rng((*self.key, 1 + MODALITIES.index(modality)))


def plan(runs: int, configurations: int, seed: int) -> list[Run]:
    """Which runs are welded: configurations take the classes in turn, and each its own number of runs.

    Raises:
        ValueError: there is no configuration, or the runs do not fit into them.
    """
    least, most = FEWEST_RUNS * configurations, MOST_RUNS * configurations
    if configurations < 1 or not least <= runs <= most:
        raise ValueError(f"{runs} runs in {configurations} configurations: wants one at least, {least} to {most} runs")
    rng = np.random.default_rng((seed, 0))
    found: list[Run] = []
    for number, count in enumerate(_counts(rng, runs, configurations).tolist()):
        found += _configuration(number, count, seed)
    code = np.array([run.code for run in found])
    splits = _splits(rng, code)
    bare = set(rng.permutation(runs)[: max(1, round(_WITHOUT_PHOTOS * runs))].tolist())
    found = [run._replace(split=splits[i], photographed=i not in bare) for i, run in enumerate(found)]
    return _with_a_name_twice(found)


def _counts(rng: np.random.Generator, runs: int, configurations: int) -> NDArray[np.int64]:
    """(c,) runs of each configuration; those of good welds get the most."""
    counts = np.full(configurations, FEWEST_RUNS)
    good = np.arange(configurations) % len(CATEGORIES) == GOOD
    for _ in range(runs - int(counts.sum())):
        odds = np.where(counts < MOST_RUNS, np.where(good, 3.0, 1.0), 0.0)
        counts[rng.choice(configurations, p=odds / odds.sum())] += 1
    return counts


def _configuration(number: int, count: int, seed: int) -> list[Run]:
    rng = np.random.default_rng((seed, 1, number))
    code, rank = number % len(CATEGORIES), number // len(CATEGORIES)
    settings, station = _settings(rng), _station(rng)
    date = f"{1 + number // 28 % 12:02d}-{1 + number % 28:02d}-{99 - number // 336:02d}"
    return [
        Run(
            directory=f"{CATEGORIES[code].folder}_{rank + 1}_{date}_{settings.weld_type}",
            name=f"{date}-{10 * index + 1:04d}-{code:02d}",
            code=code,
            marks=CATEGORIES[code].marks,
            settings=settings,
            station=station,
            course=_course(np.random.default_rng((seed, 2, number, index, 0))),
            split="TEST",
            photographed=True,
            key=(seed, 2, number, index),
        )
        for index in range(count)
    ]


def _settings(rng: np.random.Generator) -> Settings:
    thickness = float(rng.choice([3.0, 5.0, 7.0, 10.0, 12.0]))
    current = 5.0 * round((130.0 + 8.0 * thickness + rng.normal(0.0, 25.0)) / 5.0)
    return Settings(
        weld_type=str(rng.choice(["butt", "plane_plate"])),
        thickness=thickness,
        steel=str(rng.choice(["Fe410", "BSK46"])),
        current=float(current),
        voltage=round(14.0 + 0.044 * current + rng.normal(0.0, 1.0), 1),
        gas=round(float(rng.uniform(1.5, 4.0)), 1),
        speed=float(rng.integers(30, 61)),
    )


def _station(rng: np.random.Generator) -> Station:
    return Station(
        exposure=float(np.exp(rng.normal(0.0, 0.10))),
        arc=(float(rng.uniform(0.50, 0.60)), float(rng.uniform(0.40, 0.50))),
        gain=float(np.exp(rng.normal(0.0, 0.2))),
        resonance=float(rng.uniform(600.0, 1600.0)),
        droplets=float(rng.uniform(50.0, 70.0)),
        lamp=float(rng.uniform(-0.7, 0.7)),
        tone=float(np.exp(rng.normal(0.0, 0.10))),
    )


def _course(rng: np.random.Generator) -> Course:
    return Course(
        severity=float(np.clip(np.exp(rng.normal(0.0, 0.30)), 0.3, 2.0)),
        centres=rng.uniform(0.08, 0.92, int(rng.integers(3, 6))),
        width=float(rng.uniform(0.03, 0.06)),
        onset=float(rng.uniform(0.05, 0.35)),
        arc=(float(rng.uniform(0.08, 0.14)), float(rng.uniform(0.78, 0.84))),
    )


def _splits(rng: np.random.Generator, code: NDArray[np.int64]) -> list[Split]:
    """As the official one: TRAIN has good welds and nothing else, the others are halved, folders and all."""
    place = np.empty(len(code))
    for rows in (np.flatnonzero(code == GOOD), np.flatnonzero(code != GOOD)):
        place[rows] = (rng.permutation(len(rows)) + 0.5) / max(1, len(rows))
    ends = np.where(code[:, None] == GOOD, _GOOD_SHARES, (0.0, 0.5))
    names: tuple[Split, ...] = get_args(Split)
    return [names[int(part)] for part in (place[:, None] >= ends).sum(1)]


def _with_a_name_twice(runs: list[Run]) -> list[Run]:
    """The first class that has two configurations names the first run of both alike, as happens in the real set."""
    for code in range(len(CATEGORIES)):
        folders = list(dict.fromkeys(run.directory for run in runs if run.code == code))
        if len(folders) > 1:
            first, second = (next(i for i, run in enumerate(runs) if run.directory == name) for name in folders[:2])
            return [*runs[:second], runs[second]._replace(name=runs[first].name), *runs[second + 1 :]]
    return runs
