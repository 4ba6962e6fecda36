"""The front ends for machines against closed forms, and the encoders built on them."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from counterpoint.encoders.frontend import Frontend
from counterpoint.encoders.modulation import BandPowers, ModulationSpectrum
from counterpoint.encoders.parallel import Parallel
from counterpoint.encoders.pointwise import PointwiseMLP
from counterpoint.types import Signal, SignalSpec

LENGTH, RATE = 2048, 12_000.0
SPEC = SignalSpec(1, LENGTH, RATE)


def noise(rows: int = 4, channels: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, LENGTH, channels, generator=torch.Generator().manual_seed(seed))


def modulated(rate: float, carrier: float) -> torch.Tensor:
    """Noise in a band around ``carrier`` Hz whose level swings at ``rate`` Hz."""
    time = torch.arange(LENGTH) / RATE
    spectrum = torch.fft.rfft(noise(1)[0, :, 0])
    lines = torch.arange(len(spectrum)) * RATE / LENGTH
    band = torch.fft.irfft(spectrum * ((lines - carrier).abs() < 350), n=LENGTH)
    swing = 1 + torch.cos(2 * torch.pi * rate * time)
    return (band * swing + 0.05 * noise(1, seed=1)[0, :, 0]).reshape(1, LENGTH, 1)


@pytest.mark.parametrize("rate", [99.6, 158.2, 305.0])
@pytest.mark.parametrize("carrier", [1125.0, 3375.0])
def test_a_modulated_band_peaks_at_its_rate(rate: float, carrier: float) -> None:
    found = ModulationSpectrum(SPEC)(Signal(modulated(rate, carrier))).values[0]
    band = int(found.max(1).values.argmax())
    centre = (band + 1) * RATE / 2 / 8
    assert abs(centre - carrier) < 1000, "the band that swings is the one that shows it"
    peak = (int(found[band].argmax()) + 1) * RATE / LENGTH
    assert abs(peak - rate) <= RATE / LENGTH


def test_white_noise_is_standard() -> None:
    for frontend, spread in ((ModulationSpectrum(SPEC), 1.0), (BandPowers(SPEC), 0.0)):
        values = frontend(Signal(noise(200, seed=5))).values
        assert values.mean().abs() < 0.02
        assert not spread or abs(float(values.std()) - spread) < 0.05


def test_level_and_polarity_do_not_reach_the_modulation() -> None:
    frontend, x = ModulationSpectrum(SPEC), noise()
    torch.testing.assert_close(frontend(Signal(x)).values, frontend(Signal(-7 * x)).values, atol=2e-3, rtol=0)


def test_band_powers_against_numpy() -> None:
    x = noise(2).double()
    found = BandPowers(SPEC, bands=4)
    taper = np.hanning(LENGTH)
    power = np.abs(np.fft.rfft(x[:, :, 0].numpy() * taper)) ** 2
    expected = np.log(power[:, 1:].reshape(2, 4, 256).mean(2) + 1e-6)
    own = found(Signal(x)).values[:, 0] + found.mean
    np.testing.assert_allclose(own.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("frontend", [ModulationSpectrum, BandPowers])
def test_channels_are_kept_apart(frontend: type[Frontend]) -> None:
    both = noise(3, 2)
    pair = frontend(SignalSpec(2, LENGTH, RATE))(Signal(both)).values
    single = [frontend(SPEC)(Signal(both[:, :, [c]])).values for c in range(2)]
    torch.testing.assert_close(pair, torch.cat(single, 2))


@pytest.mark.parametrize("frontend", [ModulationSpectrum, BandPowers])
def test_part_of_a_window_is_refused(frontend: type[Frontend]) -> None:
    built = frontend(SPEC)
    mask = torch.ones(4, LENGTH, dtype=torch.bool)
    mask[2, 100:] = False
    with pytest.raises(ValueError, match="partly padding"):
        built(Signal(noise(), mask))
    with pytest.raises(ValueError, match="met 1024 samples"):
        built(Signal(noise()[:, :1024]))


@pytest.mark.parametrize(("bands", "rates"), [(0, 60), (8, 0), (64, 60)])
def test_sizes_that_do_not_fit_are_refused(bands: int, rates: int) -> None:
    with pytest.raises(ValueError, match="ModulationSpectrum"):
        ModulationSpectrum(SPEC, bands=bands, rates=rates)


def test_the_pair_of_branches_by_row_and_by_part() -> None:
    torch.manual_seed(0)
    branches = [partial(PointwiseMLP, dim=8, frontend=f) for f in (ModulationSpectrum, BandPowers)]
    encoder = Parallel(SPEC, branches=branches).double()
    x = noise().double()
    whole = encoder(Signal(x))
    torch.testing.assert_close(whole.tokens[..., :8], encoder.branches[0](Signal(x)).tokens)
    assert encoder.dim == 16
    for row in range(4):
        torch.testing.assert_close(encoder(Signal(x[[row]])).pooled[0], whole.pooled[row], atol=1e-10, rtol=0)
    first = encoder.branches[0](Signal(x)).pooled
    torch.testing.assert_close(whole.pooled[:, :8], first)
    mask = torch.ones(4, LENGTH, dtype=torch.bool)
    mask[1] = False
    absent = encoder(Signal(x, mask))
    assert not absent.mask[1].any()
    assert (absent.pooled[1] == 0).all()
    torch.testing.assert_close(absent.pooled[2], whole.pooled[2])
    with pytest.raises(ValueError, match="at least one encoder"):
        Parallel(SPEC, branches=[])
