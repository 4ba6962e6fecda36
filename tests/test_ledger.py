"""The ledger: counts, shares, policies, messages."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from counterpoint.data.ledger import Ledger, Quarantine, fingerprint


def filled(count: int, quarantine: Quarantine) -> Ledger:
    ledger = Ledger(quarantine)
    for index in range(count):
        ledger.reject(
            f"r{index}",
            Path("s.h5"),
            index + 2,
            "vibration",
            f"{index + 1} non-finite values, first at sample 7",
        )
    return ledger


def test_fingerprint(tmp_path: Path) -> None:
    content = bytes(range(256)) * 20_000
    (tmp_path / "f").write_bytes(content)
    assert fingerprint(tmp_path / "f") == {
        "path": str(tmp_path / "f"),
        "bytes": 5_120_000,
        "sha256": hashlib.sha256(content).hexdigest(),
    }


@pytest.mark.parametrize(
    ("bad", "total", "stops"), [(0, 0, False), (0, 10, False), (5, 100, False), (6, 100, True), (1, 1, True)]
)
def test_skip_stops_above_its_share(bad: int, total: int, stops: bool) -> None:
    ledger = filled(bad, Quarantine(policy="skip", max_share=0.05))
    if stops:
        with pytest.raises(ValueError, match=f"{bad} of {total} recordings"):
            ledger.settle(total)
    else:
        ledger.settle(total)
        assert ledger.report()["total"] == total


def test_everything_bad_stops_whatever_the_share() -> None:
    with pytest.raises(ValueError, match="3 of 3"):
        filled(3, Quarantine(max_share=1.0)).settle(3)
    filled(2, Quarantine(max_share=1.0)).settle(3)


def test_error_policy_stops_at_one() -> None:
    with pytest.raises(ValueError, match=r"policy: error"):
        filled(1, Quarantine(policy="error")).settle(1000)
    filled(0, Quarantine(policy="error")).settle(1000)


def test_message_names_counts_and_remedy() -> None:
    ledger = filled(8, Quarantine())
    ledger.reject("r9", "t.h5", 11, "audio", "empty")
    with pytest.raises(ValueError, match="cannot be used") as error:
        ledger.settle(50)
    message = str(error.value)
    for part in (
        "9 of 50 recordings cannot be used (18.0%)",
        "non-finite values: 8, empty: 1",
        "r0 (vibration) in s.h5, row 2: 1 non-finite values, first at sample 7",
        "r4 (vibration)",
        "and 4 more",
        "max_share: 0.18",
    ):
        assert part in message
    assert "r5 (" not in message


def test_remedy_would_do() -> None:
    """The share a message proposes lets the same data pass."""
    for bad, total in ((9, 50), (1, 3), (7, 13), (2, 3)):
        with pytest.raises(ValueError, match="max_share") as error:
            filled(bad, Quarantine()).settle(total)
        share = float(str(error.value).rsplit("max_share: ", 1)[1].split("}")[0])
        filled(bad, Quarantine(max_share=share)).settle(total)


def test_two_bad_signals_are_one_recording() -> None:
    ledger = Ledger(Quarantine(max_share=0.1))
    ledger.reject("a", "x.h5", 2, "vibration", "empty")
    ledger.reject("a", "x.wav", 2, "audio", "unreadable: no such chunk")
    ledger.settle(10)
    assert ledger.recordings == 1
    assert [rejection.modality for rejection in ledger.rejections] == ["vibration", "audio"]
    assert ledger.counts_by_reason() == {"empty": 1, "unreadable": 1}
    report = json.loads(json.dumps(ledger.report()))
    assert report["rejected"] == 1
    assert report["rejections"][1] == {
        "recording": "a",
        "file": "x.wav",
        "row": 2,
        "modality": "audio",
        "reason": "unreadable: no such chunk",
    }


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_share_is_a_share(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Quarantine(max_share=share)
