"""Who is let in: bad scans and specimens to the quarantine, those that scans or table lack by choice, all counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from counterpoint.data.ledger import SHOWN, Ledger
from counterpoint.data.spectra.quality import unusable
from counterpoint.data.spectra.scans import Scans
from counterpoint.data.spectra.specimens import SpecimenColumns, Specimens, labels_of
from counterpoint.data.spectra.table import Encoded, SpecimenTable, infinite

Unmatched = Literal["mask", "skip", "error"]


class Admitted(NamedTuple):
    """The specimens that are used.

    Attributes:
        scans: all scans, bad ones included.
        specimens: n of them.
        members: (n,) their usable scans.
        labels: (n,) name of the class, "" where there is none.
        counts: what the account says of specimens that scans or table lack.
    """

    scans: Scans | None
    specimens: Specimens
    members: list[list[int]]
    labels: list[str]
    counts: dict[str, int]


def admit(
    scans: Scans | None,
    table: SpecimenTable | None,
    features: Encoded | None,
    columns: SpecimenColumns,
    saturated: float,
    unmatched: Unmatched,
    ledgers: Mapping[str, Ledger],
) -> Admitted:
    """Find the specimens and those of them that can be used.

    Args:
        scans: what was scanned.
        table: its rows.
        features: of the rows of the table.
        columns: which of them is the label.
        saturated: share of the points at the maximum of a saturated scan.
        unmatched: what becomes of specimens that one of the two lacks.
        ledgers: of bad ``scans`` and ``specimens``; both are settled.

    Raises:
        ValueError: as the quarantine has it; two sources tell different classes of a specimen; specimens are unmatched
            and may not be.
    """
    bad = _bad_scans(scans, saturated, ledgers["scans"])
    scanned = [] if scans is None else scans.specimens
    names = list(dict.fromkeys([*scanned, *([] if table is None else table.ids)]))
    specimens = Specimens(names, scans, table)
    labels, strange = labels_of(specimens, columns)
    counts, left_out = _unmatched(specimens, scans, table, unmatched)
    members = [[scan for scan in own if scan not in bad] for own in specimens.members]
    reasons = {at: ("specimen", reason) for at, reason in strange.items() if at not in left_out}
    for at, reason in _empty(specimens, members, features).items():
        if at not in left_out:
            reasons.setdefault(at, reason)
    for at, (modality, why) in sorted(reasons.items()):
        column = table.id if table and modality == "table" else ""
        ledgers["specimens"].reject(names[at], *specimens.where(at, column), modality, why)
    ledgers["specimens"].settle(len(names) - len(left_out))
    kept = [at for at in range(len(names)) if at not in reasons and at not in left_out]
    if not kept:
        raise ValueError("no specimen is left: none stands in both the scans and the table; look at the ids of both")
    return Admitted(scans, specimens.take(kept), [members[at] for at in kept], [labels[at] for at in kept], counts)


def _bad_scans(scans: Scans | None, saturated: float, ledger: Ledger) -> set[int]:
    if scans is None:
        return set()
    reasons = unusable(scans.values, scans.axis, saturated)
    for scan, reason in reasons.items():
        ledger.reject(scans.name(scan), scans.files[scan], scans.rows[scan], "spectra", reason)
    ledger.settle(len(scans.rows))
    return set(reasons)


def _unmatched(
    specimens: Specimens, scans: Scans | None, table: SpecimenTable | None, policy: Unmatched
) -> tuple[dict[str, int], set[int]]:
    """What is counted of specimens that scans or table lack, and which are left out for it.

    Raises:
        ValueError: there are some, and the policy is ``error``; or nothing matches.
    """
    if scans is None or table is None:
        return {}, set()
    bare = [at for at, row in enumerate(specimens.rows) if row < 0]
    unscanned = [at for at, own in enumerate(specimens.members) if not own]
    if len(bare) + len(unscanned) == len(specimens.names):
        raise ValueError(
            f"no specimen of the scans ({specimens.names[0]!r}, ...) is in {table.table.path}, column {table.id!r} "
            f"({table.ids[0]!r}, ...); make the ids alike, with scans.pattern if the scans say more than the specimen"
        )
    kinds = {"specimens without a row of the table": bare, "rows of the table without a scan": unscanned}
    if policy == "error":
        for kind, found in kinds.items():
            if found:
                shown = ", ".join(specimens.names[at] for at in found[:SHOWN]) + (", ..." if len(found) > SHOWN else "")
                file, row = specimens.where(found[0])
                raise ValueError(
                    f"{kind}: {len(found)}, the first in {file}, row {row}: {shown}; add what is missing, or set "
                    "loading.unmatched to mask (kept without that modality) or skip (left out)"
                )
    return {kind: len(found) for kind, found in kinds.items()}, set(bare + unscanned if policy == "skip" else [])


def _empty(specimens: Specimens, members: list[list[int]], features: Encoded | None) -> dict[int, tuple[str, str]]:
    """Specimen -> modality and reason, of those that nothing usable is known of."""
    found = {}
    wrong = {} if features is None else infinite(features)
    for at, own in enumerate(specimens.members):
        row = specimens.rows[at]
        if own and not members[at]:
            found[at] = ("spectra", f"no valid scan: all {len(own)} are in the quarantine")
        elif row in wrong:
            found[at] = ("table", wrong[row])
        elif not own and (features is None or np.isnan(features.values[row]).all()):
            found[at] = ("specimen", "nothing recorded: no scan, and no cell of its row of the table is known")
    return found
