"""What is followed into a file: encoders, their fusion and the answer of the objective, tensors in and tensors out."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from counterpoint.encoders.base import Encoder
from counterpoint.export.ports import Input, Port
from counterpoint.graphs import Ports
from counterpoint.model import FUSED, Model
from counterpoint.objectives import Objective
from counterpoint.types import Encoded, Modality

POOLED = ".pooled"
PROBABILITIES, ESTIMATE = "probabilities", "estimate"


class Graph(nn.Module):
    """Some modalities of a model as flat tensors to their embeddings.

    Outputs are the fused embedding, where all the modalities that make it are there; the embedding of each modality;
    and class probabilities or an estimate, where the objective says them of these modalities alone.
    """

    def __init__(self, model: Model, objective: Objective, ports: Mapping[str, Port]) -> None:
        """Take the modalities in ``ports`` of a model, and what its objective predicts of them."""
        super().__init__()
        # By themselves, so that what the graph does not run does not enter the file.
        self.encoders = nn.ModuleDict({name: model.encoders[name] for name in ports})
        whole = set(model.fused) <= set(ports)
        self.fusion = model.fusion if whole else None
        self.fused, self.ports = model.fused, dict(ports)
        self.objective: Objective | None = objective
        self.fixed = False
        self.outputs = (*((FUSED,) if whole else ()), *(name + POOLED for name in ports))

    def forward(self, *flat: Tensor) -> tuple[Tensor, ...]:
        """All tensors of all ports, one after another, to the outputs in their order."""
        encoded, place = {}, 0
        for name, port in self.ports.items():
            count = len(port.inputs(self.fixed))
            encoded[name] = port.encode(self._encoder(name), flat[place : place + count])
            place += count
        return self._said(encoded)

    def expected(self, view: Mapping[str, Modality]) -> tuple[Tensor, ...]:
        """The same outputs as the model itself gives them."""
        return self._said({name: self._encoder(name)(view[name]) for name in self.ports})

    def ask(self, view: Mapping[str, Modality]) -> str:
        """Find out, on some rows, whether the objective predicts of these modalities; "" or why it does not."""
        assert self.objective is not None
        encoded = {name: self._encoder(name)(view[name]) for name in self.ports}
        encoded |= {FUSED: self.fusion({name: encoded[name] for name in self.fused})} if self.fusion else {}
        try:
            predicted, estimated = self.objective.predict(encoded), self.objective.estimate(encoded)
        except KeyError as error:
            self.objective = None
            return f"the objective also reads {error.args[0]!r}"
        self.outputs = (*self.outputs, *((ESTIMATE,) if estimated is not None else ()))
        if predicted is None:
            return f"{type(self.objective).__name__} predicts no classes"
        self.outputs = (*self.outputs, PROBABILITIES)
        return ""

    def inputs(self) -> tuple[Input, ...]:
        """All tensors of all ports."""
        return tuple(one for port in self.ports.values() for one in port.inputs(self.fixed))

    def tensors(self, view: Mapping[str, Modality]) -> tuple[Tensor, ...]:
        """What the graph takes of some rows."""
        parts = (port.tensors(view[name], self.fixed) for name, port in self.ports.items())
        return tuple(tensor.contiguous() for part in parts for tensor in part)

    def names(self) -> Ports:
        """Names and shapes of inputs and outputs."""
        inputs = self.inputs()
        return Ports(tuple(one.name for one in inputs), tuple(one.shape for one in inputs), self.outputs)

    def shortened(self, view: Mapping[str, Modality], share: float) -> dict[str, Modality]:
        """The first share of every row of every modality."""
        return {name: port.shortened(view[name], share) for name, port in self.ports.items()}

    def _encoder(self, name: str) -> Encoder:
        encoder = self.encoders[name]
        assert isinstance(encoder, Encoder)
        return encoder

    def _said(self, encoded: dict[str, Encoded]) -> tuple[Tensor, ...]:
        if self.fusion is not None:
            encoded = encoded | {FUSED: self.fusion({name: encoded[name] for name in self.fused})}
        return tuple(self._answer(one, encoded) for one in self.outputs)

    def _answer(self, output: str, encoded: dict[str, Encoded]) -> Tensor:
        if output not in (PROBABILITIES, ESTIMATE):
            return encoded[output.removesuffix(POOLED)].pooled
        assert self.objective is not None
        if output == ESTIMATE:
            estimated = self.objective.estimate(encoded)
            assert estimated is not None
            return estimated
        predicted = self.objective.predict(encoded)
        assert predicted is not None
        return predicted.probabilities
