"""What makes a scan unusable: points that are no numbers, a constant, a detector at its limit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.spectra.axis import Points

_FEWEST = 3
"""Two points may share the maximum by chance, where intensities are counts."""


def unusable(values: NDArray[np.float32], axis: Points, saturated: float) -> dict[int, str]:
    """Scan -> what is wrong with it.

    Args:
        values: (N, W).
        axis: (W,).
        saturated: share of the points, three at least, that stand at exactly the maximum of a saturated scan.
    """
    finite = np.isfinite(values)
    reasons = {}
    for scan in np.flatnonzero(~finite.all(1)).tolist():
        bad = np.flatnonzero(~finite[scan])
        told = f"not finite: {len(bad)} of {len(axis)} points, first at {axis[bad[0]]:g}"
        reasons[scan] = "empty: no point is recorded" if np.isnan(values[scan]).all() else told
    highest = values.max(1)
    lowest = values.min(1)
    at_top = (values == highest[:, None]).sum(1)
    for scan in np.flatnonzero(finite.all(1)).tolist():
        if highest[scan] == lowest[scan]:
            reasons[scan] = f"constant: every point is {highest[scan]:g}"
        elif at_top[scan] >= max(_FEWEST, saturated * len(axis)):
            share = f"{at_top[scan]} of {len(axis)} points"
            reasons[scan] = f"saturated: {share} stand at the maximum, {highest[scan]:g}"
    return reasons
