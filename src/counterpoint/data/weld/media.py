"""The pictures of a weld run: frames of its video, evenly spaced in time, and the photographs taken of the seam."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from counterpoint.data.ledger import DAMAGED
from counterpoint.data.weld.medium import Medium, Recorded, UnreadableFile, need, of_run
from counterpoint.types import ImageSpec

if TYPE_CHECKING:
    from av import VideoStream
    from av.container import InputContainer
    from PIL.Image import Image

T = TypeVar("T")
Pixels = NDArray[np.uint8]
Fit = Literal["crop", "stretch"]
MAX_FRAME, MAX_PHOTO = 2**24, 2**26
"""Pixels of the largest frame and the largest photograph that are decoded."""
MAX_FRAMES = 200_000
_SUFFIXES = {".jpg", ".jpeg", ".png"}
_LOST = 0.01
_TAIL = 2**16


@dataclass(frozen=True, kw_only=True)
class VideoConfig:
    """How the video is read.

    Args:
        frames: how many, from the middles of as many equal spans of the run.
        size: height and width in pixels.
        fit: crop: the shorter side becomes ``size`` and the middle is kept; stretch: the whole frame becomes a square.
    """

    frames: int = 32
    size: int = 224
    fit: Fit = "crop"

    def __post_init__(self) -> None:
        """Check the numbers."""
        _positive("video", {"frames": self.frames, "size": self.size})


@dataclass(frozen=True, kw_only=True)
class PhotoConfig:
    """How the photographs are read.

    Args:
        count: how many at most, in the order of their names; of more, as many evenly from first to last.
        size: height and width in pixels.
        fit: crop: the shorter side becomes ``size`` and the middle is kept; stretch: the whole becomes a square.
    """

    count: int = 5
    size: int = 224
    fit: Fit = "crop"

    def __post_init__(self) -> None:
        """Check the numbers."""
        _positive("photos", {"count": self.count, "size": self.size})


def _positive(name: str, values: dict[str, int]) -> None:
    for key, value in values.items():
        if value < 1:
            raise ValueError(f"{name}.{key} must be at least 1, not {value}")


@final
class VideoFiles(Medium):
    """``RUN.avi`` as (frames, 3, size, size).

    Args:
        config: how many and how large.
    """

    def __init__(self, config: VideoConfig) -> None:
        self._config = config
        self.spec = ImageSpec(config.frames, config.size, config.size, 0.0)
        self.settings = f"video 1: {config}"

    def files(self, folder: Path) -> list[Path]:
        """The video."""
        return of_run(folder, ".avi")

    def check(self, files: Sequence[Path]) -> None:
        """Compare the file with the size its header gives, and look at the size of the frames."""
        _riff(files[0])
        _opened(files[0], _video_stream)

    def read(self, files: Sequence[Path]) -> Recorded:
        """Decode to the end, keep what is wanted."""
        _riff(files[0])
        shares = (np.arange(self._config.frames) + 0.5) / self._config.frames
        frames = read_frames(files[0], shares.tolist())
        values = np.stack([fitted(frame, self._config.size, self._config.fit) for frame in frames])
        return Recorded(values, np.ones(len(values), dtype=np.bool_))


@final
class PhotoFiles(Medium):
    """``images/*.jpg`` as (count, 3, size, size).

    Args:
        config: how many and how large.
    """

    def __init__(self, config: PhotoConfig) -> None:
        self._config = config
        self.spec = ImageSpec(config.count, config.size, config.size, 0.0)
        self.settings = f"photos 1: {config}"

    def files(self, folder: Path) -> list[Path]:
        """The photographs that are used."""
        images = folder / "images"
        found = sorted(path for path in images.iterdir() if path.suffix.lower() in _SUFFIXES) if images.is_dir() else []
        if len(found) <= self._config.count:
            return found
        return [found[at] for at in np.rint(np.linspace(0, len(found) - 1, self._config.count)).astype(int)]

    def check(self, files: Sequence[Path]) -> None:
        """Look at size and end of each."""
        for path in files:
            check_photo(path)

    def read(self, files: Sequence[Path]) -> Recorded:
        """Decode all."""
        config = self._config
        values = np.zeros((config.count, 3, config.size, config.size), dtype=np.uint8)
        for at, path in enumerate(files):
            values[at] = fitted(read_photo(path), config.size, config.fit)
        return Recorded(values, np.arange(config.count) < len(files))


def fitted(pixels: Pixels, size: int, fit: Fit) -> Pixels:
    """Bring (H, W, 3) to (3, size, size) by antialiased bilinear interpolation."""
    height, width = pixels.shape[:2]
    short = min(height, width)
    tall, wide = (size, size) if fit == "stretch" else (round(height * size / short), round(width * size / short))
    image = torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0)
    if (tall, wide) != (height, width):
        image = F.interpolate(image, size=(tall, wide), mode="bilinear", antialias=True)
    top, left = (tall - size) // 2, (wide - size) // 2
    cut: Pixels = image[0, :, top : top + size, left : left + size].contiguous().numpy()
    return cut


def read_frames(path: Path, shares: Sequence[float]) -> list[Pixels]:
    """Frames (H, W, 3) on display at shares of the duration, by time stamp.

    Args:
        path: a video.
        shares: of the duration, ascending, from 0 to below 1.

    Raises:
        UnreadableFile: it cannot be decoded to its end, or is larger than what is allowed.
        ValueError: if PyAV is not installed.
    """
    times = _opened(path, _time_stamps)
    span = float(times[-1] - times[0])
    moments = times[0] + np.array(shares) * (span + span / max(1, len(times) - 1))  # the last frame lasts as the others
    wanted = times[np.searchsorted(times, moments, side="right") - 1].tolist()
    return _opened(path, lambda container: _decoded(container, wanted, len(times)))


def _opened(path: Path, use: Callable[[InputContainer], T]) -> T:
    """Open, use, close."""
    try:
        import av
    except ImportError as error:
        raise need("av") from error
    try:
        with av.open(str(path)) as container:
            return use(container)
    except DAMAGED as error:
        raise UnreadableFile(f"truncated or damaged: {error}") from error


def _video_stream(container: InputContainer) -> VideoStream:
    """The first of them, its size checked."""
    if not container.streams.video:
        raise UnreadableFile("no video in the file")
    stream = container.streams.video[0]
    pixels = stream.codec_context.width * stream.codec_context.height
    if not 0 < pixels <= MAX_FRAME:
        raise UnreadableFile(f"frame too large or empty: {pixels:,} pixels, at most {MAX_FRAME:,}")
    stream.thread_count = 1
    return stream


def _time_stamps(container: InputContainer) -> NDArray[np.int64]:
    """Of every frame, in order of display, from the packets alone."""
    stream, stamps = _video_stream(container), list[int]()
    for packet in container.demux(stream):
        stamp = packet.dts if packet.pts is None else packet.pts
        if packet.size and stamp is not None:
            stamps.append(stamp)
        if len(stamps) > MAX_FRAMES:
            raise UnreadableFile(f"too long: over {MAX_FRAMES:,} frames")
    if not stamps:
        raise UnreadableFile("empty: no frame in the file")
    if len(stamps) < stream.frames * (1 - _LOST):
        raise UnreadableFile(f"truncated: {len(stamps)} of {stream.frames} frames")
    return np.unique(np.array(stamps, dtype=np.int64))


def _decoded(container: InputContainer, wanted: Sequence[int], count: int) -> list[Pixels]:
    """The frames with the wanted time stamps; a stamp may be wanted twice."""
    chosen, frames, seen = set(wanted), dict[int, Pixels](), 0
    for frame in container.decode(_video_stream(container)):
        seen += 1
        if frame.is_corrupt:
            raise UnreadableFile(f"damaged: frame {seen} of {count}")
        stamp = frame.dts if frame.pts is None else frame.pts
        if stamp in chosen:
            if frame.width * frame.height > MAX_FRAME:
                raise UnreadableFile(f"frame too large: {frame.width} x {frame.height} pixels in frame {seen}")
            frames[stamp] = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    if seen < count * (1 - _LOST) or chosen - frames.keys():
        raise UnreadableFile(f"damaged: {seen} of {count} frames can be decoded")
    return [frames[stamp] for stamp in wanted]


def _riff(path: Path) -> None:
    """Compare the size of an AVI with what its first header claims."""
    with path.open("rb") as file:
        head = file.read(12)
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:11] != b"AVI":
        raise UnreadableFile("no AVI file by its first bytes")
    claimed, size = int.from_bytes(head[4:8], "little") + 8, path.stat().st_size
    if claimed > size and claimed != 2**32 + 7:  # a writer that could not go back leaves all bits set
        raise UnreadableFile(f"truncated: {size:,} bytes of {claimed:,}")


def read_photo(path: Path) -> Pixels:
    """One photograph, (H, W, 3), its size checked before it is decoded.

    Raises:
        UnreadableFile: it cannot be decoded, or is larger than what is allowed.
        ValueError: if Pillow is not installed.
    """
    return _photo(path, lambda image: np.array(image.convert("RGB")))


def check_photo(path: Path) -> None:
    """Look at the header and the end of a photograph. Raises as ``read_photo``."""
    _photo(path, lambda image: image.size)
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        tail = file.read()
    if b"\xff\xd9" not in tail and b"IEND" not in tail:
        raise UnreadableFile(f"truncated photograph: {path.name}")


def _photo(path: Path, use: Callable[[Image], T]) -> T:
    """Open, check, use, close."""
    try:
        import PIL.Image as pillow
    except ImportError as error:
        raise need("Pillow") from error
    try:
        with pillow.open(path, formats=("JPEG", "PNG")) as image:
            if image.width * image.height > MAX_PHOTO:
                raise UnreadableFile(f"photograph too large: {path.name}, {image.width} x {image.height} pixels")
            return use(image)
    except (*DAMAGED, pillow.DecompressionBombError) as error:
        raise UnreadableFile(f"truncated or damaged photograph: {path.name}, {error}") from error
