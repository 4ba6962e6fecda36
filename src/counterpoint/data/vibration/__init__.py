"""Long signals, one recording an id: a table and an HDF5 file, cut in windows."""

from counterpoint.data.vibration.data import Loading, Vibration

__all__ = ["Loading", "Vibration"]
