"""The simulated radar: its physics against the closed form and against a slower radar, its people, words and files."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import GroupKFold, cross_val_predict
from typer.testing import CliRunner

from counterpoint.cli import app
from counterpoint.data.synthetic import radar_signal as signal
from counterpoint.data.synthetic.radar import generate, look, scene
from counterpoint.data.synthetic.radar_bodies import HEIGHT, Room, scatterers
from counterpoint.data.synthetic.radar_gaits import Step
from counterpoint.data.synthetic.radar_motion import KINDS, draw_clip
from counterpoint.data.synthetic.radar_signal import (
    METRES_PER_BIN,
    SINE_PER_BIN,
    SPEED_PER_BIN,
    Receiver,
    Targets,
    Views,
    beat,
    views,
)
from counterpoint.data.synthetic.radar_skeleton import JOINTS, NEUTRAL, PARENTS, Body, Start, joints
from counterpoint.data.synthetic.radar_verbs import VERBS
from counterpoint.data.synthetic.radar_words import describe

Float = NDArray[np.float64]
QUIET = Receiver(noise=0.0, jitter=0.0)
VIEWS = {"range_time": 256, "doppler_time": 128, "azimuth_time": 128}
COUNT = 5


def chance(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def target(distance: float, speed: float = 0.0, sine: float = 0.0, section: float = 0.1) -> Targets:
    """One scatterer on the level of the radar that moves straight away from it."""
    towards = np.array([sine, 0.0, np.sqrt(1.0 - sine**2)])
    return Targets((distance * towards)[None, None], (speed * towards)[None, None], np.array([section]))


def both(*targets: Targets) -> Targets:
    positions, velocities, sections = zip(*targets, strict=True)
    return Targets(np.concatenate(positions, 1), np.concatenate(velocities, 1), np.concatenate(sections))


def peaks(seen: Views) -> tuple[float, float, float]:
    """Metres, metres a second and sine where the first frame is brightest."""
    range_, doppler, azimuth = (int(view[:, 0].argmax()) for view in seen)
    return range_ * METRES_PER_BIN, (doppler - 64) * SPEED_PER_BIN, (azimuth - 64) * SINE_PER_BIN


def test_scales_are_those_of_the_radar_as_it_is_set() -> None:
    light, slope, rate = 299_792_458.0, 70e12, 5.209e6
    assert light * rate / (2 * slope * 256) == pytest.approx(METRES_PER_BIN) == pytest.approx(0.043572, abs=1e-6)
    middle = 77e9 + slope * 127.5 / rate
    assert light / middle == pytest.approx(signal.WAVELENGTH)
    assert light / middle / (4 * 120e-6) == pytest.approx(64 * SPEED_PER_BIN) == pytest.approx(7.9347, abs=1e-4)
    assert pytest.approx(1.0 / 64.0) == SINE_PER_BIN
    assert (signal.SAMPLES, signal.CHIRPS, signal.ANTENNAS) == (256, 64, 8)


@settings(max_examples=60, deadline=None)
@given(
    distance=st.floats(0.5, 11.0),
    speed=st.floats(-7.7, 7.7),
    sine=st.floats(-0.95, 0.95),
)
def test_a_point_is_where_the_closed_form_has_it_within_a_bin(distance: float, speed: float, sine: float) -> None:
    metres, rate, side = peaks(views(target(distance, speed, sine), QUIET, chance()))
    assert abs(metres - distance) <= METRES_PER_BIN
    assert abs(rate - speed) <= SPEED_PER_BIN
    assert abs(side - sine) <= SINE_PER_BIN


@pytest.mark.parametrize("distance", [0.8, 3.0, 5.4, 9.9])
@pytest.mark.parametrize("sine", [-0.8, 0.0, 0.3])
def test_most_points_are_in_the_nearest_bin(distance: float, sine: float) -> None:
    for speed in (-6.0, -0.31, 0.0, 2.2, 7.0):
        metres, rate, side = peaks(views(target(distance, speed, sine), QUIET, chance()))
        assert abs(metres - distance) <= 0.51 * METRES_PER_BIN
        assert abs(rate - speed) <= 0.51 * SPEED_PER_BIN
        assert abs(side - sine) <= 0.51 * SINE_PER_BIN


def test_signs_are_as_stated() -> None:
    away, left = views(target(4.0, 3.0), QUIET, chance()), views(target(4.0, 0.0, 0.5), QUIET, chance())
    assert away.doppler_time[:, 0].argmax() > 64, "positive is moving away"
    assert left.azimuth_time[:, 0].argmax() > 64, "positive is +x, the radar's left"


def test_only_the_radial_part_of_a_motion_is_seen_and_x_over_r_is_the_side() -> None:
    position, velocity = np.array([1.5, -0.8, 3.0]), np.array([-2.0, 1.0, 3.0])
    distance = float(np.linalg.norm(position))
    seen = peaks(views(Targets(position[None, None], velocity[None, None], np.ones(1)), QUIET, chance()))
    assert abs(seen[0] - distance) <= METRES_PER_BIN
    assert abs(seen[1] - float(position @ velocity) / distance) <= SPEED_PER_BIN
    assert abs(seen[2] - 1.5 / distance) <= SINE_PER_BIN


def test_too_fast_and_too_far_fold_over_as_in_any_such_radar() -> None:
    span, reach = 128 * SPEED_PER_BIN, 256 * METRES_PER_BIN
    metres, rate, _ = peaks(views(target(reach + 2.0, 9.5), QUIET, chance()))
    assert abs(metres - 2.0) <= METRES_PER_BIN
    assert abs(rate - (9.5 - span)) <= SPEED_PER_BIN


def exact(targets: Targets) -> NDArray[np.complex128]:
    """(78, 256) samples of one frame from the path of every wave, the scatterers moving on while it is measured."""
    rows = [(m, 0) for m in range(64)] + [(m, k) for k in range(1, 8) for m in signal.AZIMUTH_CHIRPS]
    time = np.arange(256) / 5.209e6
    found = np.zeros((len(rows), 256), complex)
    for position, velocity, section in zip(targets.position[0], targets.velocity[0], targets.section, strict=True):
        for row, (chirp, antenna) in enumerate(rows):
            now = (chirp - 31.5) * 120e-6 + (time - time.mean())
            place = position + now[:, None] * velocity
            # Sender and receiver stand at the middle of where the virtual antenna stands.
            element = np.array([-antenna * signal.WAVELENGTH / 4.0, 0.0, 0.0])
            delay = 2.0 * np.linalg.norm(place - element, axis=1) / 299_792_458.0
            phase = 77e9 * delay + 70e12 * (delay * time - 0.5 * delay**2)
            found[row] += 200.0 * np.sqrt(section) / (position**2).sum() * np.exp(2j * np.pi * phase)
    return found


def plain_views(samples: NDArray[np.complex128]) -> tuple[Float, Float, Float]:
    """The views by their definition, one transform after the other, no detour."""
    window = {n: (w := np.hanning(n + 2)[1:-1]) / np.sqrt((w**2).sum()) for n in (256, 64, 8)}
    rows = samples * window[256]
    spectrum = np.fft.fft(rows[:64], axis=1)
    doppler = np.fft.fftshift(np.fft.fft(spectrum * window[64][:, None], 128, axis=0), 0)
    chirps = np.stack([np.concatenate([rows[[m]], rows[64 + i :: 2]]) for i, m in enumerate(signal.AZIMUTH_CHIRPS)])
    bearings = np.fft.fft(np.fft.fft(chirps, axis=2) * window[8][:, None], 128, axis=1)
    power = [(np.abs(spectrum) ** 2).mean(0), (np.abs(doppler) ** 2).mean(1), (np.abs(bearings) ** 2).mean((0, 2))]
    return np.sqrt(power[0]), np.sqrt(power[1]), np.fft.fftshift(np.sqrt(power[2]))


def test_views_are_their_definition() -> None:
    noisy = beat(both(target(3.0, 1.0, 0.2), target(6.0, -2.0, -0.4)), Receiver(), chance(1))
    for ours, plain in zip(signal.look(noisy), plain_views(noisy[0].astype(complex)), strict=True):
        np.testing.assert_allclose(ours[:, 0], plain, rtol=1e-4, atol=1e-3)


def test_the_product_of_factors_is_the_sum_over_scatterers_of_the_echo_of_every_sample() -> None:
    """Against waves followed one by one, nothing stopping for a chirp: a person's worth of scatterers, one frame."""
    rng = chance(2)
    position = np.stack([rng.uniform(-0.4, 0.4, 12), rng.uniform(-0.9, 0.6, 12), rng.uniform(3.0, 3.6, 12)], 1)
    some = Targets(position[None], rng.normal(0.0, 1.0, (1, 12, 3)), np.full(12, 0.05))
    for ours, plain in zip(views(some, QUIET, chance()), plain_views(exact(some)), strict=True):
        assert np.corrcoef(ours[:, 0], plain)[0, 1] > 0.995
        assert float(np.abs(ours[:, 0] - plain).max()) < 0.08 * plain.max()


def test_one_still_scatterer_is_followed_to_the_last_digits() -> None:
    still = target(4.2, 0.0, 0.3)
    ours, plain = beat(still, QUIET, chance())[0], exact(still)
    np.testing.assert_allclose(ours[:64], plain[:64], atol=2e-4 * np.abs(plain).max())
    # A spherical wave bends over the array, 0.018 at 4.2 m, and from antenna to antenna the phase is that of the middle
    # of the sweep: 2.2 % less at its ends.
    inner = slice(124, 132)
    np.testing.assert_allclose(ours[64:, inner], plain[64:, inner], atol=2.2e-2 * np.abs(plain).max())
    assert np.abs(ours[64:] - plain[64:]).max() < 2.0 * np.pi * 7 * 0.3 / 2 * 0.022 * 1.1 * np.abs(plain).max()


@pytest.mark.parametrize("apart", [3, 5, 12])
def test_two_points_more_than_two_bins_apart_are_two(apart: int) -> None:
    near = 80 * METRES_PER_BIN
    ahead = views(both(target(near), target(near + apart * METRES_PER_BIN)), QUIET, chance()).range_time[:, 0]
    found = np.flatnonzero((ahead[1:-1] > ahead[:-2]) & (ahead[1:-1] > ahead[2:]) & (ahead[1:-1] > 0.3 * ahead.max()))
    np.testing.assert_allclose(found + 1, [80, 80 + apart], atol=1)


def test_two_speeds_and_two_sides_are_two() -> None:
    pair = both(target(3.0, 2.0, 0.5), target(7.0, -1.0, -0.5, section=0.1 * (7 / 3) ** 4))
    seen = views(pair, QUIET, chance())
    for view, expected in ((seen.doppler_time, (-8, 16)), (seen.azimuth_time, (-32, 32))):
        column = view[:, 0]
        found = np.flatnonzero(
            (column[1:-1] > column[:-2]) & (column[1:-1] > column[2:]) & (column[1:-1] > 0.5 * column.max())
        )
        np.testing.assert_allclose(found + 1 - 64, expected, atol=1)


def test_amplitude_falls_with_the_square_of_range_and_grows_with_the_root_of_the_section() -> None:
    at = [float(views(target(80 * METRES_PER_BIN * k), QUIET, chance()).range_time.max()) for k in (1, 2)]
    assert at[0] / at[1] == pytest.approx(4.0, rel=1e-3)
    stronger = views(target(80 * METRES_PER_BIN, section=0.9), QUIET, chance()).range_time.max()
    assert stronger / at[0] == pytest.approx(3.0, rel=1e-3)


def test_noise_is_one_everywhere_and_normal() -> None:
    empty = Targets(np.full((40, 1, 3), 3.0), np.zeros((40, 1, 3)), np.zeros(1))
    samples = beat(empty, Receiver(), chance())
    assert samples.shape == (40, 78, 256)
    assert (np.abs(samples) ** 2).mean() == pytest.approx(1.0, rel=0.01)
    parts = np.sort(np.concatenate([samples.real.ravel(), samples.imag.ravel()])) * np.sqrt(2.0)
    for share, level in ((0.001, -3.0902), (0.1587, -1.0), (0.5, 0.0), (0.975, 1.96), (0.9999, 3.719)):
        assert parts[int(share * len(parts))] == pytest.approx(level, abs=0.05)
    assert abs(np.vdot(samples[:, :-1], samples[:, 1:])) / samples.size < 0.01
    for view in signal.look(samples):
        assert float(view.mean()) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Targets(np.ones((2, 3)), np.ones((2, 3)), np.ones(2)), r"want \(T, J, 3\) both"),
        (Targets(np.ones((2, 1, 3)), np.ones((2, 2, 3)), np.ones(1)), r"want \(T, J, 3\) both"),
        (Targets(np.ones((2, 1, 3)), np.ones((2, 1, 3)), np.ones(2)), "want one each"),
        (Targets(np.full((2, 1, 3), np.nan), np.ones((2, 1, 3)), np.ones(1)), "finite"),
        (Targets(np.zeros((2, 1, 3)), np.ones((2, 1, 3)), np.ones(1)), "a target at 0.000 m"),
    ],
)
def test_targets_that_make_no_sense(wrong: Targets, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        views(wrong, QUIET, chance())


STEPS = [
    Step(name, 3.0, sum(kind.tempo) / 2, 0.8, kind.sides[-1], 2 * bool(kind.counts[1]), mode)
    for name, kind in KINDS.items()
    for mode in dict.fromkeys(kind.modes)
]


def posed(step: Step, body: Body = Body()) -> Float:  # noqa: B008 - a constant
    """(T, 22, 3) of one step as long as its repetitions take, facing +z."""
    seconds = 0.9 + step.times / step.tempo if step.times else step.seconds
    time = np.arange(round(20 * seconds)) / 20
    pose = KINDS[step.activity].pose(step._replace(seconds=seconds), time, body)
    whole = {name: pose.get(name, np.full(len(time), level)) for name, level in NEUTRAL.items()}
    return joints(whole, body, Start(0.0, 0.0, 0.0))


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step.activity} {step.mode}")
def test_people_hold_together_stand_on_the_floor_and_move_at_a_human_rate(step: Step) -> None:
    found = posed(step)
    assert found.shape[1:] == (22, 3)
    assert len(JOINTS) == len(PARENTS) == 22
    limbs = [
        index for index, name in enumerate(JOINTS) if name.split()[-1] in ("knee", "ankle", "foot", "elbow", "wrist")
    ]
    lengths = np.linalg.norm(found[:, limbs] - found[:, [PARENTS[index] for index in limbs]], axis=-1)
    assert np.ptp(lengths, axis=0).max() < 1e-9, "bones are stiff"
    assert 0.1 < lengths.min() < lengths.max() < 0.5
    lowest = found[..., 1].min(1)
    if step.activity in ("jump", "jacks"):
        assert 0.05 < lowest.max() < 0.5
    else:
        np.testing.assert_allclose(lowest, 0.0, atol=1e-9)
    speed = np.linalg.norm(np.diff(found, axis=0), axis=-1) * 20
    assert 0.4 < speed.max() < 11.0


def test_the_order_and_the_axes_are_those_of_humanml3d() -> None:
    still = posed(STEPS[0])[0]
    names = dict(zip(JOINTS, still, strict=True))
    assert (JOINTS[0], JOINTS[15], JOINTS[20], JOINTS[21]) == ("pelvis", "head", "left wrist", "right wrist")
    assert names["head"][1] > names["neck"][1] > names["pelvis"][1] > names["left knee"][1] > names["left foot"][1]
    assert names["left wrist"][0] > 0 > names["right wrist"][0], "the left of someone who looks along +z is +x"
    assert names["left foot"][2] > names["left ankle"][2]
    assert 1.4 < names["head"][1] < 1.72


def test_a_walk_goes_as_fast_as_it_says_and_its_standing_foot_stays() -> None:
    step = next(step for step in STEPS if step.activity == "walk")
    walked = posed(step._replace(tempo=1.3, seconds=4.0))
    inner = slice(20, 60)
    assert np.gradient(walked[inner, 0, 2]).mean() * 20 == pytest.approx(1.3, rel=0.02)
    ankles = np.abs(np.gradient(walked[:, (7, 8), 2], axis=0)[inner]) * 20
    assert np.median(ankles.min(1)) < 0.25, "one foot stands while the other swings"
    assert ankles.max() > 2.5
    back = posed(step._replace(tempo=1.3, seconds=4.0, mode="backwards"))
    assert back[-1, 0, 2] < -3.0
    circle = posed(step._replace(tempo=1.3, seconds=5.0, mode="in a circle"))[:, 0, (0, 2)]
    assert np.linalg.norm(circle[-1] - circle[0]) < 0.3
    assert np.ptp(circle, axis=0).min() > 1.0


def test_what_the_radar_sees_of_a_walk_is_the_walk() -> None:
    """Range follows the trunk, Doppler its sign, feet are faster than the trunk."""
    step = next(step for step in STEPS if step.activity == "walk")._replace(tempo=1.3, seconds=4.0)
    away = posed(step) + np.array([0.0, 0.0, 2.0])
    nothing = Room(np.full((1, 3), 5.0), np.zeros(1))
    seen = views(scatterers(away, 1.0, nothing), Receiver(), chance())
    trunk = np.linalg.norm(away[:, 9] - np.array([0.0, HEIGHT, 0.0]), axis=1)
    brightest = seen.range_time.argmax(0) * METRES_PER_BIN
    assert np.median(np.abs(brightest - trunk)) < 0.3
    rate = (np.arange(128) - 64) * SPEED_PER_BIN
    inner = seen.doppler_time[:, 20:60].astype(float) ** 2
    assert float((inner * rate[:, None]).sum() / inner.sum()) == pytest.approx(1.3, abs=0.4)
    assert rate[(inner.max(1) > 9.0)].max() > 3.0
    towards = views(scatterers(away[::-1], 1.0, nothing), Receiver(), chance())
    turned = towards.doppler_time[:, 20:60].astype(float) ** 2
    assert float((turned * rate[:, None]).sum() / turned.sum()) < -0.8


def test_every_activity_has_words_and_words_say_what_was_drawn() -> None:
    assert {(name, mode) for name, kind in KINDS.items() for mode in kind.modes} == set(VERBS)
    assert len(KINDS) >= 12
    assert len({kind.label for kind in KINDS.values()}) == len(KINDS)
    rng, seen = chance(4), Counter[str]()
    for _ in range(60):
        clip = draw_clip(Body(), rng)
        captions = describe(clip, rng)
        assert 2 <= len(captions) <= 4
        assert len(set(captions)) == len(captions)
        for caption in captions:
            assert re.fullmatch(r"[A-Za-z,;' -]+", caption), caption
            assert "  " not in caption
            seen[caption] += 1
        told = captions[0]
        (start, end), step = clip.spans[0], clip.steps[0]
        first, last = clip.route[start], clip.route[end - 1]
        if len(clip.steps) == 1 and step.activity in ("walk", "run"):
            nearer = np.hypot(*first) - np.hypot(*last)
            if re.search(r"(towards|closer to) the radar", told):
                assert nearer > 0
            if re.search(r"(away|farther) from the radar", told):
                assert nearer < 0
            if "to right" in told:
                assert last[0] < first[0], "to the right of a radar that looks along +z is -x"
        if (
            len(clip.steps) == 1
            and KINDS[step.activity].counts[1]
            and (counted := re.search(r"\b(once|twice|three times)", told))
        ):
            assert step.times == ("once", "twice", "three times").index(counted[1]) + 1
    assert len(seen) > 0.9 * seen.total()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("radar") / "set", count=COUNT, seed=3)


def listed(folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
    return {name: json.loads((folder / f"{name}.json").read_text("utf-8")) for name in ("train", "val", "test")}


def test_files_are_as_the_layout_has_them_and_say_they_are_simulated(folder: Path) -> None:
    splits = listed(folder)
    entries = {name: entry for split in splits.values() for name, entry in split.items()}
    assert len(entries) == sum(map(len, splits.values())) == COUNT
    for entry in entries.values():
        assert entry["simulated"] is True
        assert entry["label"] in {kind.label for kind in KINDS.values()}
        assert 1 <= len(entry["captions"]) <= 4
        with np.load(folder / entry["filefolder"] / f"{entry['fileindex']}.npz", allow_pickle=False) as held:
            assert set(held.files) == set(VIEWS)
            shapes = {name: held[name].shape for name in VIEWS}
            frames = shapes["range_time"][1]
            assert shapes == {name: (bins, frames) for name, bins in VIEWS.items()}
            assert frames % 16 == 0
            assert 96 <= frames <= 256
            assert all(np.isfinite(held[name]).all() and (held[name] >= 0).all() for name in VIEWS)
    assert json.loads((folder / "import.json").read_text("utf-8"))["simulated"] is True


def test_splits_share_no_clip_and_no_person(folder: Path) -> None:
    splits = listed(folder)
    groups = {name: {entry["group"] for entry in split.values()} for name, split in splits.items()}
    assert all(groups.values())
    assert sum(map(len, groups.values())) == len(set().union(*groups.values()))


def test_a_large_set_has_a_gallery_of_five_hundred_to_be_searched() -> None:
    from counterpoint.data.synthetic.radar_files import dealt

    persons = [f"{number}" for number in range(2400 // 20)]
    assert Counter(dealt(persons).values()) == {"train": 84, "val": 10, "test": 26}


def test_a_clip_is_a_function_of_seed_and_number(tmp_path: Path, folder: Path) -> None:
    again = generate(tmp_path / "again", count=COUNT, seed=3)
    for path in folder.rglob("*.*"):
        assert (again / path.relative_to(folder)).read_bytes() == path.read_bytes()
    assert scene(3, 7).captions == scene(3, 7).captions != scene(4, 7).captions
    assert not np.array_equal(scene(3, 7).joints, scene(3, 8).joints)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="wants 3 at least"):
        generate(tmp_path / "few", count=2)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("kept")
    with pytest.raises(ValueError, match="holds something already"):
        generate(tmp_path / "full", count=3)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Three motions as HumanML3D has them, one mirrored, one with a sentence on a part of it."""
    root = tmp_path / "motions"
    (root / "texts").mkdir(parents=True)
    walk = posed(next(step for step in STEPS if step.activity == "walk"))
    for name, lines in {
        "000001": ["a man walks.#a/DET man/NOUN walk/VERB#0.0#0.0", "he walks on.#he/PRON#nan#nan"],
        "M000001": ["a man walks, mirrored.#a/DET#0.0#0.0"],
        "000002": ["someone goes#x/X#0.0#0.0", "someone stops#x/X#1.0#2.5"],
        "000003": ["without a tail"],
    }.items():
        np.save(root / f"{name}.npy", walk.astype(np.float32))
        (root / "texts" / f"{name}.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return root


def test_recorded_motions_take_the_place_of_drawn_ones(tmp_path: Path, recorded: Path) -> None:
    out = generate(tmp_path / "out", recorded=recorded)
    entries = {name: entry for split in listed(out).values() for name, entry in split.items()}
    assert {name: entry["captions"] for name, entry in entries.items()} == {
        "000001": ["a man walks.", "he walks on."],
        "M000001": ["a man walks, mirrored."],
        "000002": ["someone goes"],
        "000002_20_50": ["someone stops"],
        "000003": ["without a tail"],
    }
    assert entries["M000001"]["group"] == entries["000001"]["group"]
    assert entries["000002_20_50"]["group"] == entries["000002"]["group"]
    lengths = {}
    for name, entry in entries.items():
        with np.load(out / entry["filefolder"] / f"{entry['fileindex']}.npz") as held:
            lengths[name] = held["range_time"].shape
    assert lengths["000001"] == (256, 60)
    assert lengths["000002_20_50"] == (256, 30)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((60, 21, 3)), r"000001\.npy: wants joints \(T, 22, 3\).*is \(60, 21, 3\)"),
        (np.zeros((60, 263)), r"is \(60, 263\)"),
        (np.zeros((3, 22, 3)), r"T at least 16, is \(3, 22, 3\)"),
        (np.full((60, 22, 3), np.nan), r"joint 0 of frame 0 in \(60, 22, 3\) is not finite"),
        (np.array([{}], dtype=object), "is no array of NumPy"),
        (np.linspace(0.0, 30.0, 60)[:, None, None] * np.ones((60, 22, 3)), "from the radar, which sees 10.8 m"),
    ],
)
def test_motions_that_are_no_joints_are_refused(tmp_path: Path, recorded: Path, array: Any, message: str) -> None:
    np.save(recorded / "000001.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=message):
        generate(tmp_path / "out", recorded=recorded)
    assert [path.name for path in tmp_path.iterdir()] == ["motions"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("#a/DET#0.0#0.0", "line 1: has no sentence"),
        ("x#y#a#b", "are no seconds"),
        ("x#y#9.0#10.0", "is no part of 3 s"),
    ],
)
def test_sentences_that_are_none(tmp_path: Path, recorded: Path, line: str, message: str) -> None:
    (recorded / "texts" / "000003.txt").write_text(line, "utf-8")
    with pytest.raises(ValueError, match=rf"000003\.txt.*{message}"):
        generate(tmp_path / "out", recorded=recorded)


def test_the_command(tmp_path: Path, recorded: Path) -> None:
    run = CliRunner()
    done = run.invoke(app, ["data", "generate", "radar", str(tmp_path / "a"), "--count", "3", "--seed", "1"])
    assert (done.exit_code, len(list((tmp_path / "a").glob("*/*.npz")))) == (0, 3)
    done = run.invoke(app, ["data", "generate", "radar", str(tmp_path / "b"), "--motions", str(recorded)])
    assert (done.exit_code, len(list((tmp_path / "b").glob("*/*.npz")))) == (0, 5)
    refused = run.invoke(app, ["data", "generate", "welds", str(tmp_path / "c"), "--motions", str(recorded)])
    assert refused.exit_code == 2
    assert "welds have no motions" in refused.output


def by_hand(seen: Views) -> Float:
    """How fast, how far, how much and in what rhythm: what anyone would measure on the two views by hand."""
    moving = np.log1p(np.maximum(np.asarray(seen.doppler_time, np.float64) - 1.3, 0.0))
    moving[62:67] = 0.0
    energy = moving.sum(0)
    busy = np.flatnonzero(energy > 0.15 * np.percentile(energy, 95))
    moving = moving[:, busy[0] : busy[-1] + 1] if len(busy) else moving
    speeds = np.where(moving > 0.2, (np.arange(128) - 64.0)[:, None], 0.0)
    centre = (moving * (np.arange(128) - 64.0)[:, None]).sum(0) / (moving.sum(0) + 0.3)
    found = [moving.reshape(32, 4, -1).max(1).mean(1), moving.reshape(32, 4, -1).max(1).max(1)]
    for course in (speeds.max(0), speeds.min(0), centre, moving.sum(0)):
        rhythm = np.abs(np.fft.rfft((course - course.mean()) * np.hanning(len(course)), 512))
        octaves = np.array([part.max() for part in np.array_split(rhythm[5:130], 14)])
        found += [np.percentile(course, [5, 25, 50, 75, 95]), [course.std()], octaves / (octaves.sum() + 1e-9)]
    near = np.log1p(np.asarray(seen.range_time, np.float64))
    near = np.maximum(near - np.median(near, 1, keepdims=True), 0.0)
    near[near < 0.5] = 0.0
    trunk = (near * np.arange(256)[:, None]).sum(0) / (near.sum(0) + 1e-6)
    return np.concatenate([*found, [np.ptp(trunk), trunk[-1] - trunk[0], (near > 0).any(1).sum(), len(busy)]])


@pytest.mark.nightly
def test_what_is_done_can_be_told_from_the_views_of_unseen_people() -> None:
    scenes = [scene(5, number) for number in range(400)]
    rows = np.stack([by_hand(look(one.joints, one.bulk, chance(i))) for i, one in enumerate(scenes)])
    label, person = np.array([one.label for one in scenes]), np.array([one.person for one in scenes])
    model = ExtraTreesClassifier(300, random_state=0)
    right = cross_val_predict(model, rows, label, groups=person, cv=GroupKFold(5)) == label
    assert right.mean() > 5.0 / len(KINDS)
