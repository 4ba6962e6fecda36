"""The picture of an answer: the views of the best hits, a row each, with what they are called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from counterpoint.search.index import Hit, Row

_ANCHORS = np.array([[0, 0, 4], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]])
"""Colours from low to high: black over violet and orange to yellow, dark to light throughout."""
_SCALE, _MARGIN, _LINE = 4, 12, 20


def draw(
    path: Path,
    asked: str,
    hits: Sequence[Hit],
    rows: Sequence[Row],
    pictures: NDArray[np.uint8],
    views: Sequence[str],
) -> Path:
    """Write the picture of an answer.

    Args:
        path: a PNG file.
        asked: the question, as the title.
        hits: best first.
        rows: of the gallery.
        pictures: (N, V, H, W) of the gallery.
        views: V names.

    Returns:
        The file written.

    Raises:
        ModuleNotFoundError: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("pictures need Pillow: pip install 'counterpoint[media]'") from error
    height, width = (_SCALE * size for size in pictures.shape[2:])
    block = 2 * _LINE + height + _MARGIN
    columns = max(1, len(views))
    canvas = Image.new("RGB", (columns * (width + _MARGIN) + _MARGIN, 2 * _LINE + len(hits) * block), "white")
    pen, large, small = ImageDraw.Draw(canvas), ImageFont.load_default(16), ImageFont.load_default(13)
    pen.text((_MARGIN, 6), _fitting(asked, canvas.width, 9), fill="black", font=large)
    colours = np.stack([np.interp(np.arange(256), np.linspace(0, 255, 6), one) for one in _ANCHORS.T], 1)
    for place, hit in enumerate(hits):
        top, row = 2 * _LINE + place * block, rows[hit.row]
        told = f"{place + 1}.  {hit.score:.3f}  {row.name}" + (f"  [{row.label}]" if row.label else "")
        pen.text((_MARGIN, top), _fitting(told, canvas.width, 8), fill="black", font=small)
        pen.text((_MARGIN, top + _LINE - 3), _fitting(row.caption, canvas.width, 7), fill="#555555", font=small)
        for column, view in enumerate(views):
            left = _MARGIN + column * (width + _MARGIN)
            shades = colours[pictures[hit.row, column]].astype(np.uint8)
            one = Image.fromarray(shades).resize((width, height), Image.Resampling.NEAREST)
            canvas.paste(one, (left, top + 2 * _LINE - 4))
            pen.text((left + 4, top + 2 * _LINE - 2), view, fill="white", font=small)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".tmp")
    canvas.save(scratch, format="PNG")
    scratch.replace(path)
    return path


def _fitting(text: str, width: int, letter: int) -> str:
    """As much of a line as there is room for."""
    most = (width - 2 * _MARGIN) // letter
    return text if len(text) <= most else f"{text[: most - 3]}..."
