"""Numbers and names as a reader meets them."""

from __future__ import annotations

import math

from counterpoint.evaluate.intervals import figure


def score_text(value: float | None) -> str:
    """A score as a reader meets it."""
    return "–" if value is None or not math.isfinite(value) else figure(value)


def size_text(size: int) -> str:
    """Bytes in the unit that fits."""
    power = min(4, (len(str(size)) - 1) // 3)
    return f"{size} B" if power == 0 else f"{size / 1000**power:.1f} {' kMGT'[power]}B"


def share_text(share: float) -> str:
    """A share in per cent, no more digits than it has."""
    return f"{100 * share:.3g} %"


def words(name: str) -> str:
    """A column's or a metric's name in words."""
    known = {"auroc": "AUROC", "auprc": "AUPRC", "macro_f1": "macro F1", "brier": "Brier score"}
    known |= {"r2": "R2", "rmse": "RMSE", "mae": "MAE", "mse": "MSE"}
    return known.get(name, name.replace("_", " "))
