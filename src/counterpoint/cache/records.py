"""Records of a cache: the features of one recording a file, named by what they are made of, checked at every read.

A name is never written twice with different content, so there is nothing to lock: a process writes under a name of its
own and renames. What a killed process leaves behind lies in ``unfinished`` and is cleared a day later.

Layout of a file: ``CPFEAT01``, the SHA-256 of all that follows (32 bytes), the length of the header (4, little endian),
the header (JSON: key, tokens, width, dtype), the mask (a byte a token), the tokens.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

Precision = Literal["float16", "float32"]

_MAGIC = b"CPFEAT01"
_HEAD = len(_MAGIC) + 32
_UNFINISHED = "unfinished"
_ABANDONED = 24 * 3600.0


class DamagedRecord(ValueError):
    """A file is not the record that was written under its name; the message names it and says what is wrong."""


class Record(NamedTuple):
    """The features of one recording.

    Attributes:
        tokens: (L, D).
        mask: (L,) which are real; none where the recording lacks the modality.
    """

    tokens: Tensor
    mask: Tensor


@final
class Records:
    """The files of a cache.

    Args:
        folder: where they are; made when the first is written. A cache that is full may be read-only.
        dtype: of the tokens on disk. ``float16`` rounds to 11 bits, a relative error of at most 2**-11 (4.9e-4) above
            6.1e-5; below, an absolute one of at most 3e-8.
    """

    def __init__(self, folder: Path, dtype: Precision = "float16") -> None:
        self.folder, self.dtype = folder, dtype

    def key(self, fingerprint: str, content: str) -> str:
        """The name of a record.

        Args:
            fingerprint: of the encoder: weights, preprocessing, pooling and arithmetic.
            content: digest of the source and of how it was read.
        """
        made_of = [_MAGIC.decode(), self.dtype, fingerprint, content]
        return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()

    def path(self, key: str) -> Path:
        """Where a record is, or would be."""
        return self.folder / key[:2] / f"{key}.features"

    def has(self, key: str) -> bool:
        """Whether there is a record; ``read`` tells whether it is whole."""
        return self.path(key).is_file()

    def read(self, key: str) -> Record:
        """Read a record, its digest checked.

        Raises:
            FileNotFoundError: if there is none.
            DamagedRecord: if it is not what was written.
        """
        path = self.path(key)
        data = path.read_bytes()
        if len(data) < _HEAD + 4 or not data.startswith(_MAGIC):
            raise DamagedRecord(f"{path}: no record of features ({len(data):,} bytes)")
        body = memoryview(data)[_HEAD:]
        if hashlib.sha256(body).digest() != data[len(_MAGIC) : _HEAD]:
            raise DamagedRecord(f"{path}: the bytes are not those that were written")
        begin = 4 + int.from_bytes(body[:4], "little")
        header = json.loads(bytes(body[4:begin]))
        if header["key"] != key:
            raise DamagedRecord(f"{path}: holds the record {header['key'][:12]}, which belongs under another name")
        length, width = header["tokens"], header["width"]
        mask = np.frombuffer(body, np.bool_, length, begin).copy()
        tokens = np.frombuffer(body, np.dtype(header["dtype"]), length * width, begin + length).copy()
        return Record(torch.from_numpy(tokens.reshape(length, width)), torch.from_numpy(mask))

    def write(self, key: str, record: Record, *, replace: bool = False) -> None:
        """Write a record, to the disk, then under its name.

        Args:
            key: its name.
            record: what it holds.
            replace: also where there is one, which is damaged; else the first that was written stands.

        Raises:
            FloatingPointError: if the features are not finite, or too large for the type they are kept in.
            ValueError: if the disk refuses.
        """
        data = self._encoded(key, record)
        path, own = self.path(key), self.folder / _UNFINISHED / f"{key[:16]}.{os.getpid()}.{secrets.token_hex(4)}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            own.parent.mkdir(exist_ok=True)
            with own.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if replace or not path.exists():
                own.replace(path)
        except OSError as error:
            raise _refused(path, len(data), error) from error
        finally:
            with suppress(OSError):
                own.unlink()

    def clear_unfinished(self) -> None:
        """Remove what processes left behind that were killed a day ago or earlier."""
        oldest = time.time() - _ABANDONED
        for path in (self.folder / _UNFINISHED).glob("*"):
            with suppress(OSError):  # another process was faster, or owns it
                if path.stat().st_mtime < oldest:
                    path.unlink()

    def _encoded(self, key: str, record: Record) -> bytes:
        tokens, mask = record.tokens.detach().float(), record.mask
        tokens = tokens.masked_fill(~mask.unsqueeze(1), 0.0)
        with np.errstate(over="ignore"):  # what is too large is refused below
            kept = tokens.numpy().astype(self.dtype)
        if not np.isfinite(kept).all():
            finite = bool(tokens.isfinite().all())
            why = (
                f"they reach {float(tokens.abs().max()):g}; set trainer.cache_dtype: float32"
                if finite
                else "they are not finite"
            )
            raise FloatingPointError(f"features {tuple(tokens.shape)} cannot be kept as {self.dtype}: {why}")
        header = {"key": key, "tokens": kept.shape[0], "width": kept.shape[1], "dtype": f"<{kept.dtype.str[1:]}"}
        text = json.dumps(header).encode()
        little = kept.astype(header["dtype"], copy=False).tobytes()
        body = len(text).to_bytes(4, "little") + text + mask.numpy().astype(np.bool_).tobytes() + little
        return _MAGIC + hashlib.sha256(body).digest() + body


def _refused(path: Path, needed: int, error: OSError) -> ValueError:
    place = next(folder for folder in path.parents if folder.is_dir())
    free = shutil.disk_usage(place).free
    return ValueError(
        f"{path}: a record of {needed:,} bytes cannot be written ({error.strerror or error}), {free:,} bytes are free; "
        "make room, or choose another trainer.cache"
    )
