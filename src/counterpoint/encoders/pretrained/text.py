"""Sentences through any Hugging Face text encoder; frozen, each of them once."""

from __future__ import annotations

from typing import Any, Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from counterpoint.encoders.base import masked_mean
from counterpoint.encoders.frontend import zeroed
from counterpoint.encoders.pretrained.base import Inference, Pretrained
from counterpoint.encoders.pretrained.sentences import MINILM, Hashed, Memory, Published, Vocabulary, located, state_of
from counterpoint.encoders.pretrained.weights import StandIn, Wanted, configuration, library, load
from counterpoint.types import Encoded, Features, Text, TextSpec

Pooling = Literal["cls", "mean", "pooler", "max"]

SMALL = {
    "vocab_size": Hashed.SIZE,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 512,
}

MANY = Inference(chunk=32)


@final
class TextEncoder(Pretrained):
    """Sentences as a published language model reads them, and a projection on top.

    The default is MiniLM-L6-v2 (Wang et al. 2020, arXiv 2002.10957; trained for sentences by Reimers and Gurevych
    2019, arXiv 1908.10084), which the extra ``minilm`` brings as a package, so that nothing is downloaded.

    Frozen, the model sees every distinct sentence once, beside others of just as many tokens and so without padding,
    and what it made of it is kept in memory: the same captions come every epoch. What is kept is no part of a state
    dict and is forgotten when a weight changes. The first and the last token are the marks of beginning and end. A
    row whose sentence is "" lacks the modality.
    """

    reads = (TextSpec,)

    def __init__(
        self,
        spec: TextSpec,
        /,
        *,
        weights: str = MINILM,
        stand_in: StandIn = "none",
        unfreeze: int = 0,
        dim: int = 256,
        pooling: Pooling = "mean",
        longest: int = 64,
        remember: int = 20_000,
    ) -> None:
        """Load the weights and put a projection on top.

        Args:
            spec: the modality.
            weights: ``minilm``, a name on the Hugging Face hub, or a folder with config.json, model.safetensors and
                the files of the tokenizer.
            stand_in: ``small`` takes a small random model in their place, for trying things out.
            unfreeze: blocks at the end of the model that are trained too; nothing is kept in memory then.
            dim: width of tokens and embedding.
            pooling: what of the model's tokens is projected to the embedding: the first of them, their mean or their
                largest values, padding left out; or what the model's own pooler makes of the first, which then also
                stands in its place.
            longest: tokens of a sentence; longer ones are cut, which is counted in ``vocabulary.cut`` and logged once.
            remember: sentences kept in memory; MiniLM takes about 30 kB for one of 20 tokens.

        Raises:
            ValueError: where the weights cannot be had, or a setting does not fit them.
            ImportError: where ``transformers`` or the package of the weights is not installed.
        """
        owner = type(self).__name__
        if longest < 3 or remember < 0:
            raise ValueError(f"{owner}: longest is {longest}, at least 3; remember is {remember}, at least 0")
        model, vocabulary = _loaded(owner, weights, stand_in, pooling, longest)
        super().__init__(model, unfreeze=unfreeze, dim=dim, inference=MANY)
        self.spec, self.pooling, self.vocabulary = spec, pooling, vocabulary
        self._memory = Memory(remember)

    @property
    def cacheable(self) -> bool:
        """No: which of its captions a clip shows is drawn anew, and memory keeps them all."""
        return False

    def extract(self, modality: Text) -> Features:
        """B sentences to (B, L', width), L' being the tokens of the longest."""
        known = dict.fromkeys(one for one in modality.sentences if one.strip())
        if self.unfreeze:
            found = dict(zip(known, self._run([self.vocabulary(one) for one in known]), strict=True)) if known else {}
        else:
            found = self._memory.recall(list(known), state_of(list(self.model.parameters())), self._frozen_run)
        device, dtype = self.frozen.device, self._dtype()
        # One token at least, so that a batch without a sentence has a shape.
        nothing = torch.zeros(0, self.width, dtype=dtype)
        rows = [found.get(one, nothing.to(device) if self.unfreeze else nothing) for one in modality.sentences]
        lengths = torch.tensor([len(row) for row in rows], device=device)
        tokens = pad_sequence(rows, batch_first=True).to(device)
        tokens = F.pad(tokens, (0, 0, 0, 1)) if tokens.shape[1] == 0 else tokens
        return Features(tokens, torch.arange(tokens.shape[1], device=device) < lengths.unsqueeze(1))

    def read(self, ids: Tensor, real: Tensor) -> Features:
        """What the model makes of numbers of tokens (B, L), of which some are ``real`` (B, L)."""
        said = self.model(input_ids=ids, attention_mask=real.long())
        states: Tensor = said.last_hidden_state
        if self.pooling == "pooler":
            states = torch.cat([said.pooler_output.unsqueeze(1), states[:, 1:]], 1)
        return Features(states, real)

    def finish(self, features: Features) -> Encoded:
        """Project tokens, and what is pooled of them before the projection.

        Raises:
            ValueError: where the features are of another width.
        """
        encoded = super().finish(features)
        tokens, mask = zeroed(features.tokens, features.mask), features.mask
        if self.pooling == "mean":
            pooled = masked_mean(tokens, mask)
        elif self.pooling == "max":
            pooled = tokens.masked_fill(~mask.unsqueeze(-1), torch.finfo(tokens.dtype).min).amax(1)
        else:
            pooled = tokens[:, 0]
        present = mask.any(1)
        # Zeros also before the projection: what stands in a missing row would come back through the gradient.
        projected = self.project(zeroed(pooled, present).to(encoded.tokens.dtype))
        return encoded._replace(pooled=zeroed(projected, present))

    def settings(self) -> dict[str, Any]:
        return {
            "vocabulary": self.vocabulary.digest(),
            "longest": self.vocabulary.longest,
            "first": "pooler" if self.pooling == "pooler" else "token",
        }

    def behind(self, blocks: nn.ModuleList) -> list[nn.Module]:
        """All modules that neither are, hold nor precede the blocks; what embeds words precedes them."""
        found = []
        waiting = [*self.model.children()]
        while waiting:
            module = waiting.pop(0)
            inner = list(module.modules())
            if module is blocks:
                continue
            if any(one is blocks for one in inner):
                waiting += module.children()
            elif not any(isinstance(one, nn.Embedding) for one in inner):
                found.append(module)
        return found

    def _frozen_run(self, sentences: list[str]) -> dict[str, Tensor]:
        """Tokens of each sentence, in main memory; run beside others of the same length alone."""
        alike: dict[int, list[tuple[str, list[int]]]] = {}
        for one in sentences:
            numbers = self.vocabulary(one)
            alike.setdefault(len(numbers), []).append((one, numbers))
        found: dict[str, Tensor] = {}
        # What is made while judging is met again in training, where a graph needs plain tensors.
        with torch.inference_mode(False), torch.no_grad():
            for group in alike.values():
                for start in range(0, len(group), self.inference.chunk):
                    some = group[start : start + self.inference.chunk]
                    states = self._run([numbers for _, numbers in some])
                    # A copy each, or one sentence would keep the whole chunk.
                    found |= {one: state.cpu().clone() for (one, _), state in zip(some, states, strict=True)}
        return found

    def _run(self, numbers: list[list[int]]) -> list[Tensor]:
        """(n, width) tokens of each sentence."""
        ids = pad_sequence([torch.tensor(one) for one in numbers], batch_first=True).to(self.frozen.device)
        lengths = torch.tensor([len(one) for one in numbers], device=ids.device)
        real = torch.arange(ids.shape[1], device=ids.device) < lengths.unsqueeze(1)
        states = self.read(ids, real).tokens
        return [state[: len(one)] for state, one in zip(states, numbers, strict=True)]


def _loaded(
    owner: str, weights: str, stand_in: StandIn, pooling: Pooling, longest: int
) -> tuple[nn.Module, Vocabulary]:
    """The model, without a pooler that nothing reads, and its vocabulary."""
    weights = weights if stand_in == "small" else located(owner, weights)
    kind, reader, vocabulary = _kind(owner, weights, stand_in, longest)
    own = pooling == "pooler"
    wanted = Wanted(
        owner=owner,
        config=kind,
        model=reader,
        weights=weights,
        stand_in=stand_in,
        small=SMALL,
        changes={},
        unused=() if own else ("pooler.",),
        precision="float32",
    )
    model: nn.Module = load(wanted)
    pooler = getattr(model, "pooler", None)
    if own and pooler is None:
        raise ValueError(f"{owner}: {weights!r} has no pooler; set pooling to cls, mean or max")
    if not own and pooler is not None:
        # Nothing reads it, and where the file lacks it, its random weights would be part of the digest.
        model.pooler = None  # type: ignore[assignment]
    return model, vocabulary


def _kind(owner: str, weights: str, stand_in: StandIn, longest: int) -> tuple[Any, Any, Vocabulary]:
    """Class of the configuration, class that reads the model, and the vocabulary."""
    hub = library(owner)
    if stand_in == "small":
        most = int(SMALL["max_position_embeddings"])
        if longest > most:
            raise ValueError(f"{owner}: longest is {longest}; the stand-in reads at most {most}")
        return hub.BertConfig, hub.BertModel, Hashed(longest)
    config = configuration(owner, weights)
    if not all(isinstance(getattr(config, name, None), int) for name in ("hidden_size", "vocab_size")):
        raise ValueError(
            f"{owner}: {weights!r} holds a model of type {config.model_type!r}, which is no encoder of text alone"
        )
    # Of a model that has two halves, the one that encodes.
    halved = type(config) in hub.MODEL_FOR_TEXT_ENCODING_MAPPING
    reader = hub.AutoModelForTextEncoding if halved else hub.AutoModel
    return type(config), reader, Published(owner, weights, longest, int(config.vocab_size))
