"""A run folder in, one self-contained HTML page out: for a manager to read and an engineer to check."""

from counterpoint.report.page import write_report

__all__ = ["write_report"]
