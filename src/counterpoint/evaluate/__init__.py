"""Scores of frozen embeddings beside those of simple baselines, all with intervals by group."""

from counterpoint.evaluate.baselines import HandFeatures, Majority, ShallowTree, baselines, hand_features
from counterpoint.evaluate.by_group import ByGroup
from counterpoint.evaluate.calibration import Bin, reliability
from counterpoint.evaluate.chemometrics import PcaBoosting, PcaLda, PcaSvm, PlsDa
from counterpoint.evaluate.detection import Detection
from counterpoint.evaluate.embeddings import Embeddings, Truth
from counterpoint.evaluate.event_features import event_statistics, last_values
from counterpoint.evaluate.features import RandomKernels, summary_statistics
from counterpoint.evaluate.intervals import Statistic, bootstrap, combine, combine_all, paired_difference
from counterpoint.evaluate.latent_regressors import PcaBoostingRegressor, PlsRegressor
from counterpoint.evaluate.metrics import LOWER_IS_BETTER, METRICS, MetricName
from counterpoint.evaluate.neighbours import nearest
from counterpoint.evaluate.novelty import NormalDistance
from counterpoint.evaluate.probes import KNN, Boosting, Evaluator, LinearProbe, RandomForest
from counterpoint.evaluate.regressors import (
    BoostingRegressor,
    KNNRegressor,
    MeanRegressor,
    Regressor,
    RidgeRegressor,
)
from counterpoint.evaluate.results import (
    Result,
    Score,
    TableRow,
    difference,
    load_results,
    render,
    save_results,
    score_table,
)
from counterpoint.evaluate.threshold import Threshold

__all__ = [
    "BoostingRegressor",
    "KNNRegressor",
    "MeanRegressor",
    "PcaBoostingRegressor",
    "PlsRegressor",
    "Regressor",
    "RidgeRegressor",
    "combine_all",
    "last_values",
    "event_statistics",
    "reliability",
    "MetricName",
    "Boosting",
    "Bin",
    "ByGroup",
    "LOWER_IS_BETTER",
    "KNN",
    "METRICS",
    "Detection",
    "Embeddings",
    "Evaluator",
    "HandFeatures",
    "LinearProbe",
    "Majority",
    "NormalDistance",
    "PcaBoosting",
    "PcaLda",
    "PcaSvm",
    "PlsDa",
    "RandomForest",
    "RandomKernels",
    "Result",
    "Score",
    "ShallowTree",
    "Statistic",
    "TableRow",
    "Threshold",
    "Truth",
    "baselines",
    "bootstrap",
    "combine",
    "difference",
    "hand_features",
    "load_results",
    "nearest",
    "paired_difference",
    "render",
    "save_results",
    "score_table",
    "summary_statistics",
]
