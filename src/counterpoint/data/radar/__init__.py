"""Motion clips seen by a radar in up to three views, with captions, from ``.npz`` and split files to batches.

Names are imported when they are first asked for: what reads a single clip (``single``) does without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from counterpoint.data.features.dropout import RunViews
    from counterpoint.data.radar.data import RadarClips
    from counterpoint.data.radar.frames import Frames
    from counterpoint.data.radar.listing import ClipFiles

__all__ = ["ClipFiles", "Frames", "RadarClips", "RunViews"]

_HOMES = {
    "ClipFiles": "counterpoint.data.radar.listing",
    "Frames": "counterpoint.data.radar.frames",
    "RadarClips": "counterpoint.data.radar.data",
    "RunViews": "counterpoint.data.features.dropout",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
