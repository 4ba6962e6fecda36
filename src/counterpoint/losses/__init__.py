"""Losses as pure functions of (embeddings, scale, keys): exact, tiled, the same over ranks as in one process."""

from counterpoint.losses.chamfer import chamfer, gaussian_kl
from counterpoint.losses.clip import Gathering, clip, clip_from_logits
from counterpoint.losses.gather import gather_rows
from counterpoint.losses.info_nce import Direction, info_nce
from counterpoint.losses.siglip import Exchange, siglip, siglip_from_logits
from counterpoint.losses.stats import ContrastStats, contrast_stats
from counterpoint.losses.sup_con import sup_con

__all__ = [
    "ContrastStats",
    "Direction",
    "Exchange",
    "Gathering",
    "chamfer",
    "clip",
    "clip_from_logits",
    "contrast_stats",
    "gather_rows",
    "gaussian_kl",
    "info_nce",
    "siglip",
    "siglip_from_logits",
    "sup_con",
]
