"""Stays of patients: irregular events and an outcome, from published forms or long tables to batches."""

from counterpoint.data.clinical.data import Clinical
from counterpoint.data.clinical.events import EventConfig
from counterpoint.data.clinical.long_table import LongTable
from counterpoint.data.clinical.outcomes import Outcome, StayColumns
from counterpoint.data.clinical.physionet2012 import PhysioNet2012
from counterpoint.data.clinical.stay_folder import StayFolder
from counterpoint.data.clinical.views import EventViews

__all__ = [
    "Clinical",
    "EventConfig",
    "EventViews",
    "LongTable",
    "Outcome",
    "PhysioNet2012",
    "StayColumns",
    "StayFolder",
]
