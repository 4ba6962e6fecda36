"""Robot weld runs in four modalities, from the folders of the published set to batches."""

from counterpoint.data.features.dropout import RunViews
from counterpoint.data.weld.audio import AudioConfig
from counterpoint.data.weld.data import WeldLoading, WeldMedia, WeldRuns
from counterpoint.data.weld.media import PhotoConfig, VideoConfig
from counterpoint.data.weld.runs import WeldLabels
from counterpoint.data.weld.sensor import SensorConfig

__all__ = [
    "AudioConfig",
    "PhotoConfig",
    "RunViews",
    "SensorConfig",
    "VideoConfig",
    "WeldLabels",
    "WeldLoading",
    "WeldMedia",
    "WeldRuns",
]
