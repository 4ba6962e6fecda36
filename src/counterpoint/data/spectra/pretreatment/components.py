"""Scores on the principal components of the training scans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from counterpoint.data.spectra.pretreatment.base import Fitted, Float, Pretreatment


@final
@dataclass(frozen=True, kw_only=True)
class PrincipalComponents(Pretreatment):
    """Replace each scan by its scores on the first principal components of the training scans.

    The axis is then the number of the component, from 1.

    Args:
        count: components kept.
        scores: ``whitened`` divides each by its standard deviation over the training scans, so that small bands weigh
            as much as the background; ``plain`` leaves them.
    """

    count: int = 20
    scores: Literal["whitened", "plain"] = "whitened"

    def __post_init__(self) -> None:
        """Check the count.

        Raises:
            ValueError: if it is below 2.
        """
        if self.count < 2:
            raise ValueError(f"PrincipalComponents.count is {self.count}; keep at least 2")

    def _fit(self, values: Float, axis: Float) -> Fitted:
        from sklearn.decomposition import PCA

        if self.count >= min(values.shape):
            raise ValueError(
                f"{self}: {len(values)} training scans of {values.shape[1]} points have fewer components; "
                f"set count below {min(values.shape)}"
            )
        # The full solver alone gives the same components whatever the number of threads.
        found = PCA(self.count, whiten=self.scores == "whitened", svd_solver="full").fit(values)
        return Fitted(str(self), axis, np.arange(1.0, self.count + 1), found.transform)
