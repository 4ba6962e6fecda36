"""Pretreatments of scans: thin layers over the libraries of the field, fitted on training scans alone."""

from counterpoint.data.spectra.pretreatment.axis import Crop, Interpolate
from counterpoint.data.spectra.pretreatment.base import Fitted, FittedChain, Pretreatment, chain, check_axis, flat
from counterpoint.data.spectra.pretreatment.baseline import Baseline
from counterpoint.data.spectra.pretreatment.components import PrincipalComponents
from counterpoint.data.spectra.pretreatment.filters import SavitzkyGolay, Smooth
from counterpoint.data.spectra.pretreatment.scaling import Normalise, Standardise
from counterpoint.data.spectra.pretreatment.scatter import EMSC, MSC, RNV, SNV

__all__ = [
    "Baseline",
    "Crop",
    "EMSC",
    "Fitted",
    "FittedChain",
    "Interpolate",
    "MSC",
    "Normalise",
    "Pretreatment",
    "PrincipalComponents",
    "RNV",
    "SNV",
    "SavitzkyGolay",
    "Smooth",
    "Standardise",
    "chain",
    "check_axis",
    "flat",
]
