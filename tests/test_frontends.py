"""Front ends against loops and scipy; what padding may change is tested with the encoders."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoint.encoders.frontend import EnvelopeSpectrum, Frontend, LogSpectrogram, Waveform, frames
from counterpoint.types import Signal, SignalSpec

SPEC = SignalSpec(channels=2, length=128, rate=1000.0)
SPECTROGRAM = partial(LogSpectrogram, window=16, hop=8)


def signal(rows: int, length: int = 128) -> Signal:
    generator = torch.Generator().manual_seed(rows * 1000 + length)
    return Signal(torch.randn(rows, length, 2, generator=generator, dtype=torch.float64))


@given(st.integers(1, 60), st.integers(1, 12), st.data())
@settings(max_examples=60, deadline=None)
def test_frames_equal_a_loop_and_mark_each_sample_once(length: int, size: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, size))
    real = torch.tensor(data.draw(st.lists(st.booleans(), min_size=length, max_size=length)))
    values = signal(1, length).values * real[None, :, None]
    cut = frames(Signal(values, real.unsqueeze(0)), size, stride)
    assert cut.mask is not None
    seen: set[int] = set()
    starts = [0]
    while starts[-1] + size < length:
        starts.append(starts[-1] + stride)
    assert cut.values.shape == (1, len(starts), size * 2)
    for index, start in enumerate(starts):
        inside = range(start, min(start + size, length))
        fresh = {i for i in inside if real[i]} - seen
        assert bool(cut.mask[0, index]) == bool(fresh)
        seen.update(inside)
        expected = torch.zeros(size, 2, dtype=torch.float64)
        expected[: len(inside)] = values[0, start : start + size]
        assert torch.equal(cut.values[0, index].view(size, 2), expected)
    assert seen == set(range(length))


FRONTENDS: dict[str, Callable[..., Frontend]] = {
    "waveform": Waveform,
    "spectrogram": SPECTROGRAM,
    "envelope": EnvelopeSpectrum,
}


@pytest.mark.parametrize("make", FRONTENDS.values(), ids=FRONTENDS.keys())
def test_front_ends_say_what_comes_out(make: Callable[..., Frontend]) -> None:
    front = make(SPEC).double()
    out = front(signal(3))
    assert out.mask is None
    assert out.values.shape == (3, front.spec.length, front.spec.channels)
    assert not list(front.parameters())
    assert not front.state_dict()


def test_log_spectrogram_equals_short_time_fourier_transforms_of_scipy() -> None:
    scipy_signal = pytest.importorskip("scipy.signal")
    batch = signal(1)
    values = SPECTROGRAM(SPEC).double()(batch).values.view(15, 9, 2)
    window = scipy_signal.get_window("hann", 16)
    for channel in range(2):
        series = batch.values[0, :, channel].numpy()
        for frame in range(15):
            spectrum = np.abs(np.fft.rfft(series[frame * 8 : frame * 8 + 16] * window))
            expected = np.log(spectrum / np.sqrt((window**2).sum()) + 1e-3)
            np.testing.assert_allclose(values[frame, :, channel].numpy(), expected, atol=1e-5)


def test_envelope_spectrum_finds_the_rate_of_the_strikes() -> None:
    length, rate = 2048, 2048.0
    time = torch.arange(length, dtype=torch.float64) / rate
    beats = (1 + 0.8 * torch.cos(2 * np.pi * 37 * time)) * torch.cos(2 * np.pi * 600 * time)
    front = EnvelopeSpectrum(SignalSpec(1, length, rate)).double()
    values = front(Signal(beats[None, :, None])).values[0, :, 0]
    assert int(values.argmax()) + 1 == 37
    plain = torch.fft.rfft(beats).abs()
    assert int(plain.argmax()) == 600
    # The whole curve around the peak agrees with the envelope of the Hilbert transform.
    scipy_signal = pytest.importorskip("scipy.signal")
    envelope = np.abs(scipy_signal.hilbert(beats.numpy()))
    taper = np.sin(np.pi * (np.arange(length) + 0.5) / length) ** 2
    expected = np.abs(np.fft.rfft((envelope - envelope.mean()) * taper)) / np.sqrt((taper**2).sum())
    np.testing.assert_allclose(values[34:40].exp().numpy(), expected[35:41] + 1e-3, rtol=0.05, atol=0.05)


def test_envelope_spectrum_keeps_to_its_band() -> None:
    time = torch.arange(1024, dtype=torch.float64) / 1024
    low = (1 + 0.9 * torch.cos(2 * np.pi * 20 * time)) * torch.cos(2 * np.pi * 80 * time)
    high = (1 + 0.9 * torch.cos(2 * np.pi * 31 * time)) * torch.cos(2 * np.pi * 400 * time)
    spec = SignalSpec(1, 1024, 1024.0)
    for edges, strike in (((0.05, 0.3), 20), ((0.6, 0.95), 31)):
        front = EnvelopeSpectrum(spec, low=edges[0], high=edges[1]).double()
        assert int(front(Signal((low + high)[None, :, None])).values.argmax()) + 1 == strike


@pytest.mark.parametrize(
    ("make", "named_value"),
    [
        (lambda: LogSpectrogram(SPEC, window=256), "window is 256"),
        (lambda: LogSpectrogram(SPEC, window=32, hop=33), "hop is 33"),
        (lambda: EnvelopeSpectrum(SPEC, low=0.5, high=0.5), "band is 0.5 to 0.5"),
        (lambda: EnvelopeSpectrum(SPEC, share=0.0), "share 0.0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(make: Callable[[], object], named_value: str) -> None:
    with pytest.raises(ValueError, match=named_value):
        make()
