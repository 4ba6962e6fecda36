"""Objectives: what is thrown away after training. Projection heads, temperatures, decoders, classifiers, losses."""

from counterpoint.objectives.base import Objective
from counterpoint.objectives.classify import CrossEntropy
from counterpoint.objectives.clip import CLIP, SigLIP
from counterpoint.objectives.contrast import ContrastHead, InfoNCE, SupCon, negative_counts
from counterpoint.objectives.regress import Regression
from counterpoint.objectives.sequence_similarity import SequenceSimilarity
from counterpoint.objectives.set_vae import SetVAE
from counterpoint.objectives.weighted_sum import Term, WeightedSum

__all__ = [
    "CLIP",
    "ContrastHead",
    "CrossEntropy",
    "InfoNCE",
    "Objective",
    "Regression",
    "SequenceSimilarity",
    "SetVAE",
    "SigLIP",
    "SupCon",
    "Term",
    "WeightedSum",
    "negative_counts",
]
