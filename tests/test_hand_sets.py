"""Hand features by kind of modality: what is missing is marked, and nothing of it leaks in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoint.evaluate.features import summary_statistics
from counterpoint.evaluate.hand_sets import of_maps, of_pictures, of_vectors, of_windows
from counterpoint.types import Images, Signal


def test_windows_of_present_rows_are_those_of_each_alone() -> None:
    values = torch.randn(4, 64, 2, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(4, 64, dtype=torch.bool)
    mask[2] = False
    values[2] = torch.nan
    found = of_windows(Signal(values, mask), "sound", summary_statistics)
    for row in (0, 1, 3):
        np.testing.assert_allclose(found[row, :-1], summary_statistics(values[[row]].double().numpy())[0], rtol=1e-9)
    assert found[:, -1].tolist() == [1, 1, 0, 1]
    assert (found[2, :-1] == 0).all()
    nobody = of_windows(Signal(values, torch.zeros_like(mask)), "sound", summary_statistics)
    assert nobody.shape == found.shape
    assert (nobody == 0).all()
    mask[1, 40:] = False
    with pytest.raises(ValueError, match="sound"):
        of_windows(Signal(values, mask), "sound", summary_statistics)


def test_vectors() -> None:
    one = Signal(torch.tensor([[[1.0, 2.0]], [[5.0, 5.0]]]), torch.tensor([[True], [False]]))
    assert of_vectors(one).tolist() == [[1, 2, 1], [0, 0, 0]]
    several = Signal(torch.tensor([[[1.0], [3.0], [100.0]]]), torch.tensor([[True, True, False]]))
    assert of_vectors(several).tolist() == [[2, 1, 1]]


def test_maps_of_any_length() -> None:
    values = torch.randn(3, 40, 16, generator=torch.Generator().manual_seed(1)) - 3
    mask = torch.ones(3, 40, dtype=torch.bool)
    mask[1, 25:] = False
    mask[2] = False
    values[~mask] = torch.nan
    found = of_maps(Signal(values, mask))
    for row, length in ((0, 40), (1, 25)):
        own = values[row, :length].double().numpy()
        expected = [own.mean(0), own.std(0), own.max(0), np.abs(own[1:] - own[:-1]).mean(0), [1.0]]
        np.testing.assert_allclose(found[row], np.concatenate(expected), rtol=1e-9)
    assert (found[2] == 0).all()
    whole = of_maps(Signal(values[:1]))
    np.testing.assert_allclose(whole, found[:1], rtol=1e-12)


def test_pictures() -> None:
    values = torch.zeros(2, 2, 3, 8, 8, dtype=torch.uint8)
    values[0, 0, :, :2, :2] = 200
    values[1] = 77
    mask = torch.tensor([[True, False], [False, False]])
    found = of_pictures(Images(values, mask))
    assert found[0, 0] == 200, "the upper left of a grid of 4 by 4"
    assert found[0, 1:16].sum() == 0
    assert (found[1] == 0).all()
