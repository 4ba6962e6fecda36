"""Runs beside each other on the test rows they share: scores, paired tests, pictures, one page."""

from counterpoint.comparison.command import compare

__all__ = ["compare"]
