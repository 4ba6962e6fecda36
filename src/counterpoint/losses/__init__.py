"""Losses as pure functions of (embeddings, scale, keys): exact, tiled, the same over ranks as in one process."""

from counterpoint.losses.chamfer import chamfer, gaussian_kl
from counterpoint.losses.gather import gather_rows
from counterpoint.losses.info_nce import Direction, info_nce
from counterpoint.losses.stats import ContrastStats, contrast_stats
from counterpoint.losses.sup_con import sup_con

__all__ = [
    "ContrastStats",
    "Direction",
    "chamfer",
    "contrast_stats",
    "gather_rows",
    "gaussian_kl",
    "info_nce",
    "sup_con",
]
