"""Motion clips seen by a radar in up to three views, with captions, from ``.npz`` and split files to batches."""

from counterpoint.data.features.dropout import RunViews
from counterpoint.data.radar.data import RadarClips
from counterpoint.data.radar.frames import Frames
from counterpoint.data.radar.listing import ClipFiles

__all__ = ["ClipFiles", "Frames", "RadarClips", "RunViews"]
