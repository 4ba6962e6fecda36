"""What `counterpoint search` does: a sentence, an id or a file in, the best rows of the index and their picture out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from counterpoint.search.index import Hit, Index
from counterpoint.search.picture import draw
from counterpoint.search.towers import CLIP, TEXT, ClipTower, TextTower, runtime_missing

SLOW = "answered with torch, which takes seconds to import: "


def answer(
    run: Path, *, text: str = "", like: str = "", k: int = 5, out: Path | None = None, plugins: Sequence[str] = ()
) -> str:
    """Answer a question.

    Args:
        run: the run folder.
        text: a sentence.
        like: an id of the index, or a file.
        k: how many rows.
        out: the picture; ``search/`` in the run folder by default.
        plugins: modules that the run's recipe needs, should the model itself be asked.

    Returns:
        What is printed.

    Raises:
        ValueError: both or none of the two was asked, the run has no index, or the index has no such id.
    """
    if bool(text.strip()) == bool(like):
        raise ValueError("give either --text SENTENCE or --like ID or FILE")
    if k < 1:
        raise ValueError(f"-k is {k}; ask for at least 1")
    index = Index.load(run)
    hits, note = _by_text(index, text, k, plugins) if text.strip() else _by_like(index, like, k, plugins)
    asked = text.strip() or f"like {like}"
    path = out or run / "search" / f"{_slug(asked)}.png"
    try:
        picture = f"Picture: {draw(path, asked, hits, index.rows, index.pictures(), index.facts['views'])}"
    except ModuleNotFoundError as error:
        picture = f"No picture: {error}"
    rows = [(place, hit.score, index.rows[hit.row]) for place, hit in enumerate(hits, 1)]
    width = max((len(row.name) for *_, row in rows), default=0)
    lines = [
        f"{place:2d}. {score:.3f}  {row.name:{width}}{f'  [{row.label}]' if row.label else ''}  {row.caption}".rstrip()
        for place, score, row in rows
    ]
    notes = [f"({note})"] if note else []
    return "\n".join([f"{asked!r} among {len(index.rows)}:", *lines, *notes, picture])


def _by_text(index: Index, text: str, k: int, plugins: Sequence[str]) -> tuple[list[Hit], str]:
    """Hits, and why they were slow in coming."""
    if not index.facts["text"]:
        raise ValueError(f"{index.folder.parent}: its objective compares no text with anything; ask with --like")
    reason = _why_not(index, TEXT)
    if not reason:
        return index.near(TextTower(index.folder)(text), k), ""
    from counterpoint.search.model import Asking

    return Asking(index, plugins).text(text, k), SLOW + reason


def _by_like(index: Index, like: str, k: int, plugins: Sequence[str]) -> tuple[list[Hit], str]:
    if not Path(like).is_file():
        return index.like(index.find(like), k), ""
    if not index.facts["reading"]:
        raise ValueError(f"--like {like}: {index.facts['not_read']}")
    from counterpoint.data.radar.single import Reading

    views = Reading.load(index.folder).read(Path(like))
    reason = _why_not(index, CLIP)
    if not reason:
        return index.near(ClipTower(index.folder)(views), k), ""
    from counterpoint.search.model import Asking

    return Asking(index, plugins).clip(views, k), SLOW + reason


def _why_not(index: Index, tower: str) -> str:
    """Why a light encoder cannot answer; "" where it can."""
    if not index.by_cosine:
        return "the objective compares sequences"
    return index.facts["missing"].get(tower, "") or runtime_missing()


def _slug(asked: str) -> str:
    return (
        re.sub(r"[^a-z0-9]+", "-", Path(asked).stem.lower() if "/" in asked else asked.lower()).strip("-")[:60] or "_"
    )
