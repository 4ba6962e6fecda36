"""A run folder in; one self-contained page and a model card out: for a manager to read and an engineer to check."""

from counterpoint.report.model_card import write_model_card
from counterpoint.report.page import write_report

__all__ = ["write_model_card", "write_report"]
