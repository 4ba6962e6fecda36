"""The account of what was read and what was refused: digests of sources, every bad recording by name.

A recording that cannot be used is never replaced by its neighbour, by zeros or by anything else. It stands
here, and above a set share of the data the run stops.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

SHOWN = 5
"""How many rejections an error message spells out; the report lists them all."""

DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What numpy, openpyxl, zipfile and the XML parser raise on damaged files."""


def fingerprint(path: Path) -> dict[str, Any]:
    """Name, size in bytes and sha256 of a file, read as a stream (about 1.4 GB a second)."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": str(path), "bytes": path.stat().st_size, "sha256": digest}


@dataclass(frozen=True)
class Quarantine:
    """What becomes of bad recordings (empty, too short, NaN, unreadable).

    Args:
        policy: ``skip`` leaves them out, counts them and names them in the run's data report;
            ``error`` allows none.
        max_share: with ``skip``, the largest share of recordings that may be left out, 0 to 1; above it the
            run stops.
    """

    policy: Literal["skip", "error"] = "skip"
    max_share: float = 0.05

    def __post_init__(self) -> None:
        if not 0.0 <= self.max_share <= 1.0:
            raise ValueError(f"quarantine.max_share is {self.max_share}; a share lies between 0 and 1")


@dataclass(frozen=True)
class Rejection:
    """One recording that cannot be used.

    Attributes:
        recording: its identifier.
        file: the file that holds the bad data.
        row: its row in the table, as a user sees it; 0 where there is no table.
        modality: which of its signals is bad.
        reason: what is wrong; what comes after the first comma or colon is detail, not counted apart.
    """

    recording: str
    file: str
    row: int
    modality: str
    reason: str

    def __str__(self) -> str:
        row = f", row {self.row}" if self.row else ""
        return f"{self.recording} ({self.modality}) in {self.file}{row}: {self.reason}"

    @property
    def kind(self) -> str:
        """The reason without its numbers and details, to count by."""
        return " ".join(re.sub(r"\d+", " ", re.split(r"[:,]", self.reason)[0]).split())


class Ledger:
    """Bad recordings of one run, in the order they were met.

    Args:
        quarantine: what becomes of them.
    """

    def __init__(self, quarantine: Quarantine) -> None:
        self.quarantine = quarantine
        self._rejections: list[Rejection] = []
        self._total = 0

    @property
    def rejections(self) -> tuple[Rejection, ...]:
        """Every rejection so far; a recording with two bad signals stands here twice."""
        return tuple(self._rejections)

    @property
    def recordings(self) -> int:
        """How many different recordings were rejected."""
        return len({rejection.recording for rejection in self._rejections})

    def reject(self, recording: str, file: Path | str, row: int, modality: str, reason: str) -> None:
        """Enter one bad recording; see ``Rejection`` for the arguments."""
        self._rejections.append(Rejection(recording, str(file), row, modality, reason))

    def counts_by_reason(self) -> dict[str, int]:
        """How many rejections there are of each kind, most frequent first."""
        return dict(Counter(rejection.kind for rejection in self._rejections).most_common())

    def settle(self, total: int) -> None:
        """Close the account of ``total`` recordings, bad ones included.

        Raises:
            ValueError: the policy is ``error`` and there are bad recordings, or their share exceeds
                ``max_share``, or nothing is left. The message names the first of them and what to do.
        """
        bad = self.recordings
        assert bad <= total, (bad, total)
        self._total = total
        strict = self.quarantine.policy == "error"
        if bad == 0 or (not strict and bad < total and bad <= self.quarantine.max_share * total):
            return
        counts = ", ".join(f"{kind}: {count}" for kind, count in self.counts_by_reason().items())
        shown = "".join(f"\n  {rejection}" for rejection in self._rejections[:SHOWN])
        more = len(self._rejections) - SHOWN
        limit = "none is allowed (policy: error)" if strict else f"at most {self.quarantine.max_share:.1%} is allowed"
        remedy = (
            "Mend or remove these recordings"
            if bad == total
            else "Mend or remove these recordings, or leave them out with quarantine: {policy: skip, "
            f"max_share: {bad / total + 0.005:.2f}}}"
        )
        raise ValueError(
            f"{bad} of {total} recordings cannot be used ({bad / total:.1%}); {limit}. {counts}.{shown}"
            f"{f'{chr(10)}  and {more} more' if more > 0 else ''}\n{remedy}."
        )

    def report(self) -> dict[str, Any]:
        """JSON-able account: policy, total, how many were rejected, counts by reason, and each one."""
        return {
            "policy": self.quarantine.policy,
            "max_share": self.quarantine.max_share,
            "total": self._total,
            "rejected": self.recordings,
            "counts": self.counts_by_reason(),
            "rejections": [asdict(rejection) for rejection in self._rejections],
        }
