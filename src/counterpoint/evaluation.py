"""How a recipe's embeddings are judged: the settings of every evaluator and of all that is asked beside them."""

from __future__ import annotations

from dataclasses import dataclass, field

from counterpoint.evaluate.attributing import Attributions
from counterpoint.evaluate.by_group import ByGroup
from counterpoint.evaluate.detection import Detection
from counterpoint.evaluate.metrics import Deciding
from counterpoint.evaluate.probes import KNN, Evaluator, LinearProbe
from counterpoint.evaluate.regressors import KNNRegressor, Regressor, RidgeRegressor
from counterpoint.evaluate.retrieval import Retrieval
from counterpoint.evaluate.threshold import Threshold
from counterpoint.evaluate.worth import Modalities
from counterpoint.evaluate.zero_shot import ZeroShot
from counterpoint.settings import FewShot, Transfer


@dataclass(frozen=True)
class Evaluation:
    """How the embeddings are judged.

    Args:
        evaluators: what is trained on the embeddings of the training split and scored on the test split.
        metric: the score that decides the verdict and the best baseline. ``balanced_accuracy`` does not reward
            answering with the most common class; for a rare outcome take ``auprc`` or ``auroc``. With ``r2``, ``rmse``
            or ``mae`` the run is about the target of the data, not about its classes.
        transfer: also fine-tune on shares of the labels, against the same model from scratch.
        few_shot: also train the first evaluator on few labelled rows, against summary statistics of the same rows.
        detection: also judge whether a row is a defect at all.
        modalities: also train on each fused modality alone, and test with each of them hidden.
        retrieval: also find each test row among all of them by another output, such as a clip by its sentence.
        zero_shot: also classify by sentences that describe the classes, without labels.
        by_group: also give one answer a group, such as a patient, pooled from all its rows.
        threshold: of two classes, also judge at a threshold chosen on the validation rows.
        attributions: also tell which inputs the predicted probability of some test rows hangs on.
        regressors: where the run is about a target, in the place of the evaluators.
    """

    evaluators: list[Evaluator] = field(default_factory=lambda: [LinearProbe(), KNN()])
    metric: Deciding = "balanced_accuracy"
    transfer: Transfer | None = None
    few_shot: FewShot | None = None
    detection: Detection | None = None
    modalities: Modalities | None = None
    retrieval: Retrieval | None = None
    zero_shot: ZeroShot | None = None
    by_group: ByGroup | None = None
    threshold: Threshold | None = None
    attributions: Attributions | None = None
    regressors: list[Regressor] = field(default_factory=lambda: [RidgeRegressor(), KNNRegressor()])

    def __post_init__(self) -> None:
        if not self.evaluators:
            raise ValueError("evaluation.evaluators is empty; give at least one, such as LinearProbe")
        if not self.regressors:
            raise ValueError("evaluation.regressors is empty; give at least one, such as RidgeRegressor")
