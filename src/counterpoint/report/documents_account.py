"""The account of the data as the report understands it: sources, counts, quarantine, audit, events."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from counterpoint.report.parts import Part


class Source(Part):
    """A file that was read."""

    path: str
    bytes: int
    sha256: str


class Rejection(Part):
    """A recording that could not be used."""

    recording: str
    file: str
    row: int | None
    modality: str
    reason: str


class EventKind(Part):
    """Events of one kind that a reader of events dropped, kept or changed, and some of them."""

    count: int
    stays: int
    examples: list[Any] = Field(default_factory=list)


class Account(Part):
    """What the data reader writes to ``data.json``."""

    sources: list[Source]
    counts: dict[str, Any]
    classes: dict[str, int]
    columns: dict[str, Any]
    quarantine: list[Rejection]
    audit: dict[str, list[str]]
    events: dict[str, EventKind] = Field(default_factory=dict)
