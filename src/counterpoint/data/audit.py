"""What stands on both sides of a split: by name, by group, by content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from counterpoint.data.splits import Fold

_SHOWN = 3


def audit(fold: Fold, traits: Mapping[str, Sequence[str]]) -> list[str]:
    """Find what the parts of a fold share.

    Args:
        fold: the parts, as row numbers.
        traits: what rows are compared by -> its value (n,) a row; an empty value is not compared. Usual are
            ``id`` the recording's name, ``group`` the bearing or patient, ``content`` a hash of its samples.

    Returns:
        A sentence for every two parts and trait with values in common: how many, over how many rows, which.
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
            found.append(f"{one} and {other} share {len(shared)} of {trait} over {len(rows)} recordings: {shown}")
    return found


def content_values(names: Sequence[str], digests: Sequence[str]) -> list[str]:
    """Readable values for the trait ``content``: the name of the first recording with the same samples.

    Args:
        names: (n,) name of each recording.
        digests: (n,) hash of its samples.
    """
    first: dict[str, str] = {}
    return [f"samples of {first.setdefault(digest, name)}" for name, digest in zip(names, digests, strict=True)]
