"""The reader of weld runs: video, photographs, sound and slow channels, a row a run."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, final

import numpy as np

from counterpoint.data.audit import audit, content_values
from counterpoint.data.base import Data, Rows, SplitName
from counterpoint.data.features.dropout import RunViews
from counterpoint.data.ledger import Ledger, Quarantine, fingerprint
from counterpoint.data.splits import ByGroup, Split, text
from counterpoint.data.weld.audio import AudioConfig, AudioFiles
from counterpoint.data.weld.media import PhotoConfig, PhotoFiles, VideoConfig, VideoFiles
from counterpoint.data.weld.medium import Medium, UnreadableFile
from counterpoint.data.weld.runs import Catalogue, WeldLabels, list_runs
from counterpoint.data.weld.sensor import SensorConfig, SensorFiles
from counterpoint.data.weld.views import Float, RunFiles, Scale, WeldRows, scale_of

ModalityName = Literal["video", "photos", "audio", "sensor"]
SENSOR = "sensor"
_PLAIN = RunViews()
_YES = {"true", "yes", "1"}


@dataclass(frozen=True, kw_only=True)
class WeldMedia:
    """How each modality is read.

    Args:
        video: of the ``.avi``.
        photos: of ``images/``.
        audio: of the ``.flac``.
        sensor: of the ``.csv``.
    """

    video: VideoConfig = field(default_factory=VideoConfig)
    photos: PhotoConfig = field(default_factory=PhotoConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    sensor: SensorConfig = field(default_factory=SensorConfig)


@dataclass(frozen=True, kw_only=True)
class WeldLoading:
    """How damage is looked for and what becomes of it.

    Args:
        check: look at headers and ends of media at the start, or decode everything once; tables are always read.
        damaged: a run with a damaged file goes to the quarantine, or merely lacks that modality, counted.
        quarantine: what becomes of runs that cannot be used.
    """

    check: Literal["headers", "samples"] = "headers"
    damaged: Literal["quarantine", "mask"] = "quarantine"
    quarantine: Quarantine = field(default_factory=Quarantine)


@final
class WeldRuns(Data):
    """Robot weld runs in the layout of the Intel Robotic Welding Multimodal Dataset: DIRECTORY/RUN/.

    A run without a file of a modality lacks that modality. Runs that are listed and not on disk, whose class is unknown
    or in dispute, or that lack everything go to the quarantine, and with them, by choice, runs with a damaged file.
    """

    def __init__(
        self,
        *,
        root: Path,
        manifest: Path | None = None,
        modalities: list[ModalityName] = ["video", "photos", "audio", "sensor"],  # noqa: B006
        media: WeldMedia = WeldMedia(),
        labels: WeldLabels = WeldLabels(),  # noqa: B008
        views: RunViews = RunViews(),  # noqa: B008
        split: Split = ByGroup(),  # noqa: B008
        loading: WeldLoading = WeldLoading(),
    ) -> None:
        """List the runs, read the tables, look at the media.

        Args:
            root: holds DIRECTORY/RUN/.
            manifest: the table; none for ``manifest.csv`` in the root, or without that the folders themselves.
            modalities: which are used.
            media: how they are read.
            labels: classes and columns.
            views: what training sees of a run.
            split: who is trained on and who is tested on; groups are the DIRECTORY.
            loading: checks and quarantine.

        Raises:
            ValueError: naming file, row and remedy.
        """
        self._sensor = SensorFiles(media.sensor)
        self._media = _chosen(modalities, media, self._sensor)
        self._root, self._settings, self._views = root, media, views
        self._ledger, self._masked = Ledger(loading.quarantine), list[dict[str, Any]]()
        self._manifest = manifest or (root / "manifest.csv" if (root / "manifest.csv").is_file() else None)
        catalogue, reasons = list_runs(root, manifest, labels)
        for row, reason in reasons.items():
            self._ledger.reject(catalogue.names[row], catalogue.folders[row], catalogue.rows[row], "run", reason)
        found = [
            self._look(catalogue, row, loading) if row not in reasons else None for row in range(len(catalogue.names))
        ]
        self._ledger.settle(len(found))
        self._runs = catalogue.keep([row for row, files in enumerate(found) if files is not None])
        usable = [files for files in found if files is not None]
        by_name = {name: [files[name] for files in usable] for name in self._media}
        self._source = RunFiles(self._media, by_name, self._levels(by_name))
        self.names = tuple(self._runs.names)
        self.classes = tuple(dict.fromkeys(labels.classes.values()))
        self.specs = {name: medium.spec for name, medium in self._media.items()}
        self._columns = self._runs.numbered(labels)
        self._folds = split.divide(self._runs.cells, np.array(self._runs.directories), self._columns.labels)
        self.folds = tuple(self._folds)

    def _look(self, catalogue: Catalogue, row: int, loading: WeldLoading) -> dict[str, list[Path]] | None:
        """Files of one run by modality; None, and an entry in the ledger, if the run cannot be used."""
        name, folder, number = catalogue.names[row], catalogue.folders[row], catalogue.rows[row]
        files = {modality: medium.files(folder) for modality, medium in self._media.items()}
        usable = True
        for modality, own in files.items():
            if not own:
                continue
            medium = self._media[modality]
            try:
                _inside(own, self._root)
                (medium.read if loading.check == "samples" else medium.check)(own)
            except (UnreadableFile, OSError) as error:
                if loading.damaged == "quarantine":
                    usable = False
                    self._ledger.reject(name, own[0], number, modality, str(error))
                else:
                    files[modality] = []
                    self._masked.append(
                        {"recording": name, "file": str(own[0]), "modality": modality, "reason": str(error)}
                    )
        if usable and not any(files.values()):
            usable = False
            self._ledger.reject(name, folder, number, "run", f"nothing recorded: no {', '.join(files)} in the folder")
        return files if usable else None

    def _levels(self, files: dict[str, list[list[Path]]]) -> dict[str, Float]:
        """Slow channels of all runs: small, and needed whole to standardise."""
        if SENSOR not in files:
            return {}
        config = self._settings.sensor
        levels = np.zeros((len(files[SENSOR]), config.length, len(config.columns)), dtype=np.float32)
        for row, own in enumerate(files[SENSOR]):
            if own:
                levels[row] = self._sensor.read(own).values
        return {SENSOR: levels}

    def training(self, fold: str, split: SplitName) -> Rows:
        """One row a run of the split.

        Raises:
            ValueError: if there is no such fold, or under two runs to train on.
        """
        rows = self._part(fold, split)
        if split == "train" and len(rows) < 2:
            raise ValueError(f"fold {fold!r} has {len(rows)} run to train on; add runs, or enlarge the training share")
        return WeldRows(self._source, self._scales(fold), rows, self._columns, self._views)

    def evaluation(self, fold: str, split: SplitName) -> Rows:
        """One row a run of the split, with all the modalities it has."""
        return WeldRows(self._source, self._scales(fold), self._part(fold, split), self._columns, _PLAIN)

    def only(self, modalities: Sequence[str], beside: Sequence[str] = ()) -> Data:
        """See ``Data.only``; levels are standardised by the same training runs."""
        seen = self._through(modalities, beside, {name: self._source.having(name) for name in self._media})
        seen._media = {name: self._media[name] for name in seen.specs}
        seen._source = self._source.only(list(seen.specs))
        seen.__dict__.pop("_fingerprints", None)
        return seen

    def audit(self, fold: str) -> list[str]:
        """Ids, configuration folders and identical recordings shared by the splits."""
        traits = {"id": self.names, "group": self._runs.directories}
        return audit(self._fold(fold), traits | {f"content of {name}": self._contents(name) for name in self._media})

    def report(self) -> dict[str, Any]:
        """Sources, counts, columns, classes, folds, the quarantine and what was masked."""
        usable = self._usable.tolist()
        labels, quarantine = Counter(self._runs.labels[row] for row in usable), self._ledger.report()
        present = self._source.present[usable].sum(0).tolist()
        cells = self._runs.cells
        return {
            "simulated": any(text(cell).lower() in _YES for cell in cells.get("simulated", [])),
            "sources": self._fingerprints,
            "columns": {"metadata": self._columns.metadata.shape[1], "media": asdict(self._settings)},
            "counts": {
                "runs": len(usable),
                **{f"with {name}": count for name, count in zip(self._media, present, strict=True)},
                "without time stamps": len(self._sensor.unstamped),
                "groups": len({self._runs.directories[row] for row in usable}),
                **self._left_out(),
                "damaged and masked": len(self._masked),
                "quarantined": quarantine["rejected"],
            },
            **self._divided(labels),
            "quarantine": quarantine["rejections"],
            "masked": self._masked,
        }

    def _scales(self, fold: str) -> dict[str, Scale]:
        """Of the slow channels, by the training runs of the fold that have them."""
        train = self._fold(fold).train
        if SENSOR not in self._media:
            return {}
        having = train[self._source.having(SENSOR)[train]]
        if not len(having):
            raise ValueError(f"fold {fold!r}: none of {len(train)} training runs has a sensor table; leave sensor out")
        return {SENSOR: scale_of(self._source.levels[SENSOR][having])}

    @cached_property
    def _fingerprints(self) -> list[dict[str, Any]]:
        """Of the manifest, and of the files of each run together."""
        found = [] if self._manifest is None else [fingerprint(self._manifest)]
        for run, folder in enumerate(self._runs.folders):
            files = [path for name in self._media for path in self._source.files[name][run]]
            listed = "".join(f"{path.relative_to(folder).as_posix()} {self._source.of_file(path)}\n" for path in files)
            size = sum(path.stat().st_size for path in files)
            found.append({"path": str(folder), "bytes": size, "sha256": hashlib.sha256(listed.encode()).hexdigest()})
        return found

    def _contents(self, modality: str) -> list[str]:
        """Which run first had the same recording: slow channels by their levels, media by the bytes of their files."""
        digests: Sequence[str]
        if modality == SENSOR:
            digests = [hashlib.sha256(levels.tobytes()).hexdigest() for levels in self._source.levels[SENSOR]]
        else:
            digests = [self._bytes_of(modality, run) for run in range(len(self.names))]
        having = self._source.having(modality)
        return [name if has else "" for name, has in zip(content_values(self.names, digests), having, strict=True)]

    def _bytes_of(self, modality: str, run: int) -> str:
        return " ".join(self._source.of_file(path) for path in self._source.files[modality][run])


def _chosen(names: Sequence[ModalityName], media: WeldMedia, sensor: SensorFiles) -> dict[str, Medium]:
    """What reads each modality, in the order of the recipe."""
    if not names or len(set(names)) < len(names):
        raise ValueError(f"modalities is {list(names)}; give each once, at least one")
    readers: dict[str, Medium] = {
        "video": VideoFiles(media.video),
        "photos": PhotoFiles(media.photos),
        "audio": AudioFiles(media.audio),
        SENSOR: sensor,
    }
    return {name: readers[name] for name in names}


def _inside(files: Sequence[Path], root: Path) -> None:
    for path in files:
        if not path.resolve().is_relative_to(root.resolve()):
            raise UnreadableFile(f"a link out of the root: {path.name}")
