"""Features that were extracted beforehand, a table of runs beside arrays, as modalities."""

from counterpoint.data.features.data import FeatureTables, RunColumns
from counterpoint.data.features.dropout import RunViews
from counterpoint.data.features.sources import FeatureSource

__all__ = ["FeatureSource", "FeatureTables", "RunColumns", "RunViews"]
