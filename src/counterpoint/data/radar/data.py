"""The reader of radar clips: up to three views and sentences, a row a clip."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.audit import audit, content_values
from counterpoint.data.base import Data, Rows, SplitName
from counterpoint.data.features.dropout import RunViews
from counterpoint.data.labelling import Labelling, indices, ordered
from counterpoint.data.ledger import Ledger, fingerprint
from counterpoint.data.radar.arrays import CLIP, Header, UnreadableClip, look, read
from counterpoint.data.radar.frames import Frames
from counterpoint.data.radar.listing import Captions, Clip, ClipFiles, list_clips, once
from counterpoint.data.radar.normalise import Normalise, Scale, scale_of
from counterpoint.data.radar.rows import TEXT, RadarRows, Shown
from counterpoint.data.radar.store import ClipStore, Place
from counterpoint.data.splits import ByColumn, Columns, Fold, Split, Value
from counterpoint.keys import Int
from counterpoint.types import SignalSpec, Spec, TextSpec

ViewName = Literal["range_time", "doppler_time", "azimuth_time"]
ACCOUNT = "import.json"
"""What an import or a simulator says of the clips it wrote, in the root: ``notes`` are repeated in the account."""
_PLAIN = RunViews()
_MEASURED = 2048
"""Training clips that bins are standardised by, at most: a minute of reading where the files are compressed."""


@final
class RadarClips(Data):
    """Motion clips as ``.npz`` files with ``range_time``, ``doppler_time``, ``azimuth_time``, (bins, frames) each.

    Split files list them: ``{"000000": {"filefolder": .., "fileindex": .., "captions": [..]}}``, of the file
    ROOT/FILEFOLDER/FILEINDEX.npz or ROOT/ID.npz; an entry may also have ``label``, ``group`` and ``simulated``. A
    mirrored clip, ``M000000``, is of the group of ``000000``. Magnitudes are normalised, then every bin is standardised
    by the training clips of the fold. A view that a clip lacks is masked; what is cut off or padded, of all its views
    alike. Clips that are missing, damaged, too short, without any view or of views of unequal length go to the
    quarantine.
    """

    def __init__(
        self,
        *,
        root: Path,
        files: ClipFiles = ClipFiles(),  # noqa: B008
        views: list[ViewName] = ["range_time", "doppler_time", "azimuth_time"],  # noqa: B006
        frames: Frames = Frames(),  # noqa: B008
        normalise: Normalise = "log1p",
        captions: Captions = "required",
        training: RunViews = RunViews(),  # noqa: B008
        split: Split = ByColumn(column="split", valid=0.1),  # noqa: B008
    ) -> None:
        """Read the split files and look at the headers of the clips.

        Args:
            root: holds the split files and the clips.
            files: names of the split files, checks, memory and quarantine.
            views: which are used.
            frames: how long clips are.
            normalise: log1p: log(1 + x); log10_max: decibels below the largest of the clip, from 80 below at 0 to 1;
                per_frame: the same below the largest of each frame; none: magnitudes as they are.
            captions: required: a clip without one cannot be used; optional: it lacks the text; ignored: there is no
                text.
            training: what training sees of a clip: how many views of it, and what is left out of them.
            split: by column ``split`` the files divide the clips, and the audit names what they share; others divide
                all clips anew. Columns are split, label, group and filefolder.

        Raises:
            ValueError: naming file, clip, array and remedy.
        """
        if not views or len(set(views)) < len(views):
            raise ValueError(f"views is {list(views)}; give each once, at least one")
        self._root, self._frames, self._training, self._captions = root, frames, training, captions
        listing = list_clips(root, files, captions)
        self._by_file = isinstance(split, ByColumn) and split.column == "split"
        listed = listing.clips if self._by_file else once(listing.clips)
        self._same, self._sources = listing.same if self._by_file else {}, listing.sources
        self._ledger = Ledger(files.quarantine)
        found = self._look(listed, views, files)
        self._ledger.settle(len({clip.name for clip in listed}))
        self._clips = [clip for clip, headers in zip(listed, found, strict=True) if headers]
        self._store = ClipStore(
            [Place(c.name, c.path, headers) for c, headers in zip(listed, found, strict=True) if headers],
            views,
            normalise,
            files.memory * 2**20,
        )
        self.names = tuple(clip.name for clip in self._clips)
        self.specs = self._specs(views)
        self.classes = ordered([clip.label for clip in self._clips])
        self._columns = self._numbered()
        groups = np.array([clip.group for clip in self._clips])
        self._folds = _divided(split, self._cells(), groups, self._columns.labels)
        self.folds = tuple(self._folds)
        self._scaled: dict[tuple[str, str], Scale] = {}

    def _look(self, clips: Sequence[Clip], views: Sequence[str], files: ClipFiles) -> list[dict[str, Header]]:
        """Headers of every clip; none, and an entry in the ledger, if it cannot be used."""
        found: list[dict[str, Header]] = []
        known: dict[Path, dict[str, Header]] = {}
        for clip in clips:
            try:
                if clip.reason:
                    raise UnreadableClip(TEXT, clip.reason)
                if clip.path not in known:
                    known[clip.path] = self._checked(clip.path, views, files.check == "samples")
                found.append(known[clip.path])
            except (UnreadableClip, OSError) as error:
                bad = error if isinstance(error, UnreadableClip) else UnreadableClip(CLIP, f"unreadable: {error}")
                self._ledger.reject(clip.name, clip.path, 0, bad.array, bad.reason)
                found.append({})
        usual = {
            name: Counter(headers[name].bins for headers in found if name in headers).most_common(1) for name in views
        }
        for at, headers in enumerate(found):
            odd = next((name for name, head in headers.items() if head.bins != usual[name][0][0]), "")
            if odd:
                bins = f"{headers[odd].bins} by {headers[odd].frames}, where {usual[odd][0][0]} bins are usual"
                self._ledger.reject(clips[at].name, clips[at].path, 0, odd, f"another number of bins: {bins}")
                found[at] = {}
        return found

    def _checked(self, path: Path, views: Sequence[str], samples: bool) -> dict[str, Header]:
        headers = look(path, views)
        lengths = {name: head.frames for name, head in headers.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise UnreadableClip(CLIP, f"views of unequal length: {told} frames; they are of one recording")
        frames = next(iter(lengths.values()))
        if frames < self._frames.shortest:
            raise UnreadableClip(CLIP, f"too short: {frames} frames, and frames.shortest is {self._frames.shortest}")
        for name in headers if samples else ():
            read(path, name)
        return headers

    def _specs(self, views: Sequence[str]) -> dict[str, Spec]:
        absent = [name for name in views if not self._store.bins[name]]
        if absent:
            raise ValueError(f"{self._root}: no clip has {', '.join(absent)}; leave it out of views")
        specs: dict[str, Spec] = {
            name: SignalSpec(bins, self._frames.longest, self._frames.rate) for name, bins in self._store.bins.items()
        }
        if self._captions == "ignored":
            return specs
        words = max(len(sentence.split()) for clip in self._clips for sentence in (*clip.captions, ""))
        if not words:
            raise ValueError(f"{self._root}: no clip has a caption; set captions: ignored, or caption them")
        return specs | {TEXT: TextSpec(words)}

    def _numbered(self) -> Labelling:
        groups, count = [clip.group for clip in self._clips], len(self._clips)
        return Labelling(
            indices([clip.label for clip in self._clips], self.classes),
            indices(groups, ordered(groups)),
            np.zeros(count, dtype=np.int64),
            self._store.frames[:, None].astype(np.float64),
        )

    def _cells(self) -> dict[str, list[Value | None]]:
        return {
            "split": [clip.part for clip in self._clips],
            "label": [clip.label for clip in self._clips],
            "group": [clip.group for clip in self._clips],
            "filefolder": [clip.path.parent.relative_to(self._root).as_posix() for clip in self._clips],
        }

    def training(self, fold: str, split: SplitName) -> Rows:
        """One row a clip of the split, cut at random and with one of its captions.

        Raises:
            ValueError: if there is no such fold, or under two clips to train on.
        """
        rows = self._part(fold, split)
        if split == "train" and len(rows) < 2:
            raise ValueError(
                f"fold {fold!r} has {len(rows)} clip to train on; add clips, or enlarge the training share"
            )
        return self._rows(fold, rows, self._training, drawn=True)

    def evaluation(self, fold: str, split: SplitName) -> Rows:
        """One row a clip of the split, its middle and its first caption."""
        return self._rows(fold, self._part(fold, split), _PLAIN, drawn=False)

    def _rows(self, fold: str, rows: Int, views: RunViews, *, drawn: bool) -> Rows:
        captions = [clip.captions for clip in self._clips] if TEXT in self.specs else None
        scales = {name: self._scale(fold, name) for name in self._store.views}
        shown = Shown(frames=self._frames, views=views, drawn=drawn, captions=captions)
        return RadarRows(self._store, scales, rows, self._columns, shown)

    def _scale(self, fold: str, view: str) -> Scale:
        """Of a view, by at most ``_MEASURED`` training clips of the fold, evenly spread over them."""
        if (fold, view) not in self._scaled:
            train = self._fold(fold).train
            having = train[self._store.having(view)[train]]
            if not len(having):
                raise ValueError(
                    f"fold {fold!r}: none of {len(train)} training clips has {view}; leave it out of views"
                )
            some = having[np.linspace(0, len(having) - 1, min(len(having), _MEASURED)).round().astype(np.int64)]
            arrays = (self._store.read(int(clip), view) for clip in some)
            self._scaled[fold, view] = scale_of(arrays, self._store.bins[view])
        return self._scaled[fold, view]

    def only(self, modalities: Sequence[str], beside: Sequence[str] = ()) -> Data:
        """See ``Data.only``; bins are standardised by the same training clips."""
        captioned = np.array([len(clip.captions) > 0 for clip in self._clips], dtype=np.bool_)
        having = {name: self._store.having(name) for name in self._store.views} | {TEXT: captioned}
        seen = self._through(modalities, beside, having)
        for fold, view in [(fold, view) for fold in self.folds for view in self._store.views if view in seen.specs]:
            self._scale(fold, view)
        seen._store = self._store.only([name for name in self._store.views if name in seen.specs])
        return seen

    def audit(self, fold: str) -> list[str]:
        """Split files that are the same, and ids, groups and identical recordings shared by the splits."""
        traits = {"id": self.names, "group": [clip.group for clip in self._clips], "content": self._contents}
        shared = audit(self._fold(fold), traits)
        told = tuple(f"{one} and {other} share" for one, other in self._same)
        return [*self._same.values(), *(sentence for sentence in shared if not sentence.startswith(told))]

    def report(self) -> dict[str, Any]:
        """Sources, counts, classes, folds, notes of the import and the quarantine."""
        clips, quarantine = [self._clips[row] for row in self._usable], self._ledger.report()
        labels, having = Counter(clip.label for clip in clips), self._store.present[self._usable].sum(0).tolist()
        lengths = self._store.frames[self._usable]
        return {
            "simulated": any(clip.simulated for clip in clips),
            "sources": self._fingerprints,
            "notes": self._notes(),
            "columns": {"frames": asdict(self._frames), "normalise": self._store.how, "captions": self._captions},
            "counts": {
                "clips": len(clips),
                **{f"with {name}": count for name, count in zip(self._store.views, having, strict=True)},
                "with captions": sum(len(clip.captions) > 0 for clip in clips),
                "captions": len({sentence for clip in clips for sentence in clip.captions}),
                "frames of the shortest": int(lengths.min()),
                "frames of the longest": int(lengths.max()),
                "groups": len({clip.group for clip in clips}),
                "unlabelled": labels[""],
                **self._left_out(),
                "quarantined": quarantine["rejected"],
            },
            **self._divided(labels),
            "quarantine": quarantine["rejections"],
        }

    def _notes(self) -> list[str]:
        path = self._root / ACCOUNT
        if not path.is_file():
            return []
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}; mend or remove it") from error
        return [str(note) for note in found.get("notes", [])] if isinstance(found, dict) else []

    @cached_property
    def _fingerprints(self) -> list[dict[str, Any]]:
        """Of the split files, and of all clips together by their arrays' checksums."""
        paths = {clip.path: check for clip, check in zip(self._clips, self._store.contents(), strict=True)}
        listed = "".join(f"{path.relative_to(self._root).as_posix()} {paths[path]}\n" for path in sorted(paths))
        size, digest = sum(path.stat().st_size for path in paths), hashlib.sha256(listed.encode()).hexdigest()
        whole = {"path": str(self._root), "bytes": size, "sha256": digest}
        return [*(fingerprint(path) for path in self._sources), whole]

    @cached_property
    def _contents(self) -> list[str]:
        return content_values(self.names, self._store.contents())


def _divided(split: Split, cells: Columns, groups: NDArray[Any], labels: Int) -> dict[str, Fold]:
    """The folds; what split files share is left to the audit, which names all of it and stops a run."""
    if not isinstance(split, ByColumn) or split.shared_groups == "report":
        return split.divide(cells, groups, labels)
    found = replace(split, shared_groups="report").divide(cells, groups, labels)
    return {name: Fold(*fold) for name, fold in found.items()}
