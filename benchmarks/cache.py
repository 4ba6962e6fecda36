"""Epochs of the weld model on frozen backbones: features from the cache against backbones that run in every epoch.

Backbones of the published classes, 384 wide and 12 blocks deep as ViT-S, random weights saved to disk: V-JEPA 2 over 16
frames of 112 pixels, DINOv2 over 3 photographs of 224, AST over 256 x 128. Trained are the projections and the fusion,
4 queries 512 wide, and a sensor Transformer where it is named: SupCon, AdamW. Welds are simulated. Times are medians of
interleaved rounds in one process; peak memory is that of a process each, above what it holds with the model built
(Linux). Run: python benchmarks/cache.py
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
import transformers as hub

from counterpoint.cache import cached
from counterpoint.data.base import Draw, Rows
from counterpoint.data.sampling import PassSampler, StreamSampler, loader
from counterpoint.data.synthetic.welds import generate
from counterpoint.data.weld import PhotoConfig, VideoConfig, WeldMedia, WeldRuns
from counterpoint.encoders.base import Encoder
from counterpoint.encoders.pretrained import ASTEncoder, DINOv2Encoder, VJEPA2Encoder
from counterpoint.encoders.pretrained.audio import SpectrogramPooling
from counterpoint.encoders.pretrained.image import Photographs
from counterpoint.encoders.pretrained.pictures import Pixels
from counterpoint.encoders.pretrained.video import VideoPooling
from counterpoint.encoders.sensor import SensorTransformer
from counterpoint.fusion import TokenAttention
from counterpoint.model import FUSED, Model, build_model
from counterpoint.objectives import SupCon
from counterpoint.types import Batch, ObjectiveSpec

RUNS, BATCH, WIDE = 10, 10, {"hidden_size": 384, "num_attention_heads": 6, "num_hidden_layers": 12}
POOLED = (VideoPooling(), Photographs(), SpectrogramPooling())
TOKENS = (
    VideoPooling(time=1, space=1),
    Photographs(tokens="patches", space=1),
    SpectrogramPooling(time=1, frequency=1),
)
FROZEN = ("video", "photos", "audio")
CACHE = "features from the cache, each record checked"
Pooling = tuple[VideoPooling, Photographs, SpectrogramPooling]


def make(folder: Path) -> None:
    """Welds and weights on disk."""
    generate(folder / "welds", runs=RUNS, configurations=5, seconds=3.0, photo_size=(320, 240))
    torch.manual_seed(0)
    predictor = {"pred_hidden_size": 24, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1}
    models: dict[str, Any] = {
        "video": hub.VJEPA2Model(hub.VJEPA2Config(**WIDE, **predictor, crop_size=112)),
        "photos": hub.Dinov2Model(hub.Dinov2Config(**WIDE, image_size=224)),
        "audio": hub.ASTModel(hub.ASTConfig(**WIDE, max_length=256, frequency_stride=14, time_stride=14)),
    }
    for name, model in models.items():
        model.save_pretrained(folder / name)


def weld_runs(folder: Path, frames: int = 16, sensor: Sequence[str] = ()) -> WeldRuns:
    media = WeldMedia(video=VideoConfig(frames=frames, size=112), photos=PhotoConfig(count=3, size=224))
    return WeldRuns(root=folder / "welds", media=media, modalities=[*FROZEN, *sensor])  # type: ignore[list-item]


def model_of(folder: Path, data: WeldRuns, pooling: Pooling = POOLED) -> Model:
    video, photographs, spectrogram = pooling
    small = Pixels(size=112, edge=112)
    torch.manual_seed(0)
    factories: dict[str, Callable[..., Encoder]] = {
        "video": partial(VJEPA2Encoder, weights=str(folder / "video"), pixels=small, pooling=video),
        "photos": partial(DINOv2Encoder, weights=str(folder / "photos"), photographs=photographs),
        "audio": partial(ASTEncoder, weights=str(folder / "audio"), pooling=spectrogram),
        "sensor": SensorTransformer,
    }
    return build_model(data.specs, {name: factories[name] for name in data.specs}, TokenAttention)


class Held(Rows):
    """Rows read once and kept in memory."""

    def __init__(self, rows: Rows) -> None:
        self.labels, self.groups, self.domains = rows.labels, rows.groups, rows.domains
        self.ids, self.metadata = rows.ids, rows.metadata
        self.whole = rows.__getitems__([Draw(row, row) for row in range(len(rows))])

    def __getitems__(self, draws: list[Draw]) -> Batch:
        index = torch.tensor([draw.row for draw in draws])
        views = [
            {name: type(one)(*(part[index] for part in one)) for name, one in view.items()} for view in self.whole.views
        ]
        return Batch(views, *(column[index] for column in self.whole[1:5]))


def trainer(model: Model, data: WeldRuns) -> Callable[[Rows], None]:
    """What trains an epoch on rows."""
    objective = SupCon(ObjectiveSpec(model.dims, model.latents, data.classes, data.specs))
    weights = [weight for weight in [*model.parameters(), *objective.parameters()] if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=1e-4, fused=True)

    def epoch(rows: Rows) -> None:
        model.train()
        for batch in loader(rows, StreamSampler(rows, batch_size=BATCH, epochs=1, seed=0)):
            optimizer.zero_grad()
            objective([model(view) for view in batch.views], batch).value.backward()
            optimizer.step()

    return epoch


def frozen(model: Model) -> dict[str, Any]:
    return dict(model.encoders.items())


def decode(rows: Rows) -> None:
    for _ in loader(rows, PassSampler(rows, batch_size=BATCH)):
        pass


def sides(folder: Path, data: WeldRuns, pooling: Pooling) -> dict[str, tuple[Callable[[Rows], None], Rows]]:
    """Name -> (what is timed, on which rows)."""
    model, rows = model_of(folder, data, pooling), data.training(data.folds[0], "all")
    kept = cached(rows, frozen(model), folder / "cache", batch_size=BATCH)
    epoch = trainer(model, data)
    return {
        CACHE: (epoch, kept),
        "features in memory, the limit": (epoch, Held(kept)),
        "recordings in memory, backbones run": (epoch, Held(rows)),
        "decoding of the files alone, on top of it": (decode, rows),
    }


def speed(folder: Path, title: str, pooling: Pooling, rounds: int, sensor: Sequence[str] = ()) -> None:
    measured: dict[str, list[float]] = {}
    runs = sides(folder, weld_runs(folder, sensor=sensor), pooling)
    runs[CACHE][0](runs[CACHE][1])  # warms up
    for _ in range(rounds):
        for name, (timed, rows) in runs.items():
            for _ in range(1 if "run" in name else 3):
                begin = time.perf_counter()
                timed(rows)
                measured.setdefault(name, []).append(time.perf_counter() - begin)
    took = {name: median(each) for name, each in measured.items()}
    print(f"\n| {title}: an epoch of {RUNS} runs, batches of {BATCH} | seconds | of the cache's |\n|---|---|---|")
    for name, seconds in took.items():
        print(f"| {name} | {seconds:.3f} | {seconds / took[CACHE]:.1f}x |")


def agreement(folder: Path) -> None:
    """How far embeddings from the cache are from those of backbones that run."""
    data = weld_runs(folder)
    model, rows = model_of(folder, data).eval(), data.evaluation(data.folds[0], "all")
    exact = embedded(model, Held(rows))
    print(
        "\n| embeddings of unit length, from | largest difference to backbones run | least cosine | MB a 1,000 runs |"
    )
    print("|---|---|---|---|")
    for dtype in ("float32", "float16"):
        place = folder / ("cache" if dtype == "float16" else "wide")
        kept = cached(rows, frozen(model), place, batch_size=BATCH, dtype=dtype)  # type: ignore[arg-type]
        found = embedded(model, kept)
        view = Held(kept).whole.views[0]
        columns = [view[name] for name in FROZEN]
        size = sum(part.numel() * part.element_size() for row in columns for part in row) / RUNS / 1e3
        cosine = torch.cosine_similarity(exact.double(), found.double()).min()
        print(f"| {dtype} records | {(exact - found).abs().max():.1e} | 1 - {1 - cosine:.1e} | {size:.0f} |")


def embedded(model: Model, rows: Rows) -> torch.Tensor:
    with torch.no_grad():
        batches = loader(rows, PassSampler(rows, batch_size=BATCH))
        return torch.cat([model(batch.views[0])[FUSED].pooled for batch in batches])


def mutations(folder: Path) -> None:
    """What of a full cache is computed again after a change."""
    print("\n| change, video alone | records computed | keys shared with the cache before |\n|---|---|---|")
    data = weld_runs(folder)
    before = keys(data, model_of(folder, data))
    other = weld_runs(folder, frames=12)
    pooled = (VideoPooling(time=1), *POOLED[1:])
    weighted = model_of(folder, data)
    with torch.no_grad():
        next(weighted.encoders["video"].model.parameters()).flatten()[0] += 1e-3  # type: ignore[union-attr, operator]
    changed = {
        "nothing": keys(weld_runs(folder), model_of(folder, data)),
        "one weight by 0.001": keys(data, weighted),
        "16 frames to 12": keys(other, model_of(folder, other)),
        "pooling in time": keys(data, model_of(folder, data, pooled)),
    }
    file = sorted((folder / "welds").rglob("*.avi"))[0]
    file.write_bytes(file.read_bytes() + b"\0")
    changed["one byte more in one file"] = keys(weld_runs(folder), model_of(folder, data))
    for name, after in changed.items():
        print(f"| {name} | {len(after - before)} of {RUNS} | {len(after & before)} |")


def keys(data: WeldRuns, model: Model) -> set[str]:
    from counterpoint.cache import Records

    fingerprint = model.encoders["video"].fingerprint()  # type: ignore[operator]
    rows = data.evaluation(data.folds[0], "all")
    return {Records(Path()).key(fingerprint, content) for content in rows.content("video")}


def peak_of(folder: Path, side: str) -> None:
    """Print how far an epoch drives up memory, in MB."""
    data = weld_runs(folder)
    model, rows = model_of(folder, data), data.training(data.folds[0], "all")
    if side == "cache":
        rows = cached(rows, frozen(model), folder / "cache", batch_size=BATCH)
    epoch = trainer(model, data)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak that the imports left behind
    before = status("VmRSS")
    epoch(rows)
    print(status("VmHWM") - before)


def status(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise AssertionError(field)


def memory(folder: Path) -> None:
    command = [sys.executable, __file__, "--folder", str(folder), "--peak"]
    names = {"run": "files decoded, backbones run", "cache": "features from the cache"}
    print("\n| peak memory of an epoch above the model | MB |\n|---|---|")
    for side, name in names.items():
        peak = float(subprocess.check_output([*command, side], text=True, stderr=subprocess.DEVNULL).split()[-1])
        print(f"| {name} | {peak:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--peak", choices=["run", "cache"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    hub.utils.logging.disable_progress_bar()
    if arguments.peak:
        peak_of(arguments.folder, arguments.peak)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder)
        speed(folder, "pooled", POOLED, arguments.rounds)
        speed(folder, "all tokens", TOKENS, 1)
        speed(folder, "pooled, a sensor Transformer trained beside", POOLED, 1, ["sensor"])
        agreement(folder)
        memory(folder)
        mutations(folder)


if __name__ == "__main__":
    main()
