"""Features of frozen encoders, computed once and kept: files named by what they are made of."""

from counterpoint.cache.records import DamagedRecord, Precision, Record, Records
from counterpoint.cache.rows import CachedRows, cached

__all__ = ["CachedRows", "DamagedRecord", "Precision", "Record", "Records", "cached"]
