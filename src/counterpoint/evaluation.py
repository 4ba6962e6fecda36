"""How a recipe's embeddings are judged: the settings of every evaluator and of all that is asked beside them."""

from __future__ import annotations

from dataclasses import dataclass, field

from counterpoint.evaluate.detection import Detection
from counterpoint.evaluate.metrics import MetricName
from counterpoint.evaluate.probes import KNN, Evaluator, LinearProbe
from counterpoint.evaluate.retrieval import Retrieval
from counterpoint.evaluate.worth import Modalities
from counterpoint.evaluate.zero_shot import ZeroShot
from counterpoint.settings import FewShot, Transfer


@dataclass(frozen=True)
class Evaluation:
    """How the embeddings are judged.

    Args:
        evaluators: what is trained on the embeddings of the training split and scored on the test split.
        metric: the score that decides the verdict and the best baseline. ``balanced_accuracy`` does not reward
            answering with the most common class; for a rare outcome take ``auprc`` or ``auroc``.
        transfer: also fine-tune on shares of the labels, against the same model from scratch.
        few_shot: also train the first evaluator on few labelled rows, against summary statistics of the same rows.
        detection: also judge whether a row is a defect at all.
        modalities: also train on each fused modality alone, and test with each of them hidden.
        retrieval: also find each test row among all of them by another output, such as a clip by its sentence.
        zero_shot: also classify by sentences that describe the classes, without labels.
    """

    evaluators: list[Evaluator] = field(default_factory=lambda: [LinearProbe(), KNN()])
    metric: MetricName = "balanced_accuracy"
    transfer: Transfer | None = None
    few_shot: FewShot | None = None
    detection: Detection | None = None
    modalities: Modalities | None = None
    retrieval: Retrieval | None = None
    zero_shot: ZeroShot | None = None

    def __post_init__(self) -> None:
        if not self.evaluators:
            raise ValueError("evaluation.evaluators is empty; give at least one, such as LinearProbe")
