"""What stands on both sides of a split: by name, by group, by content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from counterpoint.data.base import Data
from counterpoint.data.splits import Fold, KnownGroups

_SHOWN = 3
MEANT = " (shared_groups: report)"
"""How a sentence ends about groups that the split says may be on both sides; all other sentences stop a run."""


def audit(fold: Fold, traits: Mapping[str, Sequence[str]]) -> list[str]:
    """Find what the parts of a fold share.

    Args:
        fold: the parts, as row numbers.
        traits: what rows are compared by -> its value (n,) a row; an empty value is not compared. Usual are
            ``id`` the recording's name, ``group`` the bearing or patient, ``content`` a hash of its samples.

    Returns:
        A sentence for every two parts and trait with values in common: how many, over how many rows, which.
        It ends in ``MEANT`` where the split says that this is to be.
    """
    found = []
    for (one, first), (other, second) in combinations(fold._asdict().items(), 2):
        for trait, values in traits.items():
            ours = {values[row] for row in first} - {""}
            shared = ours & {values[row] for row in second}
            if not shared:
                continue
            rows = [row for row in (*first, *second) if values[row] in shared]
            shown = ", ".join(sorted(shared)[:_SHOWN]) + (", ..." if len(shared) > _SHOWN else "")
            meant = MEANT if trait == "group" and isinstance(fold, KnownGroups) else ""
            found.append(
                f"{one} and {other} share {len(shared)} of {trait} over {len(rows)} recordings: {shown}{meant}"
            )
    return found


def refuse_leaks(data: Data) -> None:
    """Stop what would be trained on splits that leak.

    Raises:
        ValueError: a fold has something on two sides that its split does not say may be there.
    """
    every = [(fold, sentence) for fold in data.folds for sentence in data.audit(fold)]
    found = [f"fold {fold}: {sentence}" for fold, sentence in every if not sentence.endswith(MEANT)]
    if found:
        raise ValueError("the splits leak, and scores on them would mean nothing:\n  " + "\n  ".join(found))


def content_values(names: Sequence[str], digests: Sequence[str]) -> list[str]:
    """Readable values for the trait ``content``: the name of the first recording with the same samples.

    Args:
        names: (n,) name of each recording.
        digests: (n,) hash of its samples.
    """
    first: dict[str, str] = {}
    return [f"samples of {first.setdefault(digest, name)}" for name, digest in zip(names, digests, strict=True)]
