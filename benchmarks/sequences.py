"""Irregular stays: stays a second and peak memory of a training step, packed, padded and one at a time.

A step is forward and backward of SetSequence and SetVAE as they come, in training mode, without optimizer. Rivals with
the same weights, loss and gradients, which is asserted first: the dense form, (stays, sets, events) padded to the
longest stay and the largest set of the batch, with masks and torch's attention; and our own network called once a stay,
gradients added up. Rates are medians of interleaved rounds in one process, ratios medians of those of each round. Peak
memory is that of a process each, above what it held after a step on one short stay (Linux only). Lengths are those of
PhysioNet-2012 where COUNTERPOINT_DATA or ../shared/data has it, else of the simulator; and three made-up mixes.
Run: python benchmarks/sequences.py [--threads 2] [--seconds 8]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from counterpoint.encoders.set_sequence import EventEmbedding, SetSequence
from counterpoint.encoders.sets import CausalLayer, Heads, InducedSetAttention, SetPooling
from counterpoint.keys import hashed_normal
from counterpoint.losses import gaussian_kl
from counterpoint.objectives import SetVAE
from counterpoint.types import UNLABELLED, Batch, Encoded, Events, EventSpec, ObjectiveSpec

if TYPE_CHECKING:  # the processes that measure memory need no data
    from counterpoint.data.clinical import LongTable

SIZES, MOST_PLACES = (1, 4, 8, 16, 64), 400_000
"""Of a padded batch: beyond that many places of events the dense form takes over 10 GB and is left out."""
SIDES = ("packed", "dense", "one")
NAMES = {"packed": "packed", "dense": "dense, padded", "one": "a stay at a time"}
GOALS = {"PhysioNet-2012": (15.0, 3.0), "simulated": (15.0, 3.0), "short": (13.0, 8.0)}
GOALS |= {"long": (13.0, 3.4), "heavy-tailed": (13.0, 5.0)}
"""Mix -> how many times faster than dense and than a stay at a time, at batch 16."""


class Padded(NamedTuple):
    """A batch of B stays, each of S sets, each of E events."""

    values: Tensor
    codes: Tensor
    real: Tensor
    """(B, S, E) bool, which events are."""
    times: Tensor
    present: Tensor
    """(B, S) bool, which sets are."""
    keys: Tensor


def pad(events: Events) -> Padded:
    """The dense form of a batch; a padded set has the time of the last real one."""
    counts, sizes = events.rows.diff(), events.sets.diff()
    shape = (len(counts), int(counts.max()), int(sizes.max()))
    present = torch.arange(shape[1], device=sizes.device) < counts.unsqueeze(1)
    size = torch.zeros(shape[:2], dtype=sizes.dtype, device=sizes.device)
    size[present] = sizes
    real = torch.arange(shape[2], device=sizes.device) < size.unsqueeze(2)
    values, codes = events.values.new_zeros(shape), events.codes.new_zeros(shape)
    times = events.times.new_full(shape[:2], -torch.inf)
    values[real], codes[real], times[present] = events.values, events.codes, events.times
    return Padded(values, codes, real, times.cummax(1).values.clamp_min(-1e9), present, events.keys)


class Dense(nn.Module):
    """The network and loss of ``encoder`` and ``objective``, computed on padded batches with their own weights."""

    def __init__(self, encoder: SetSequence, objective: SetVAE) -> None:
        super().__init__()
        self.encoder, self.objective = encoder, objective

    def forward(self, batch: Padded) -> Tensor:
        """The loss."""
        encoder, objective = self.encoder, self.objective
        # An empty set reads its first place, so that its softmax exists; nobody reads the empty set.
        seen = batch.real.clone()
        seen[:, :, 0] = True
        seen = seen.flatten(0, 1)
        x = embedded(encoder.embed, batch).flatten(0, 1)
        for layer in encoder.layers:
            x = induced(layer, x, seen)
        pooled = self.posterior(x, seen).unflatten(0, batch.present.shape)
        mean, log_variance = pooled.chunk(2, -1)
        places = torch.arange(mean.shape[1], device=mean.device)
        owners = batch.keys.repeat_interleave(len(places))
        noise = hashed_normal(owners, places.repeat(len(mean)), mean.shape[2]).view_as(mean)
        sample = mean + (0.5 * log_variance).exp() * noise.to(mean.dtype)
        gap = F.pad(batch.times.diff(), (1, 0)).clamp_min(0).log1p().unsqueeze(2)
        phase = batch.times.unsqueeze(2) * encoder.clock.frequency
        h = encoder.enter(sample) + encoder.clock.project(torch.cat([phase.sin(), phase.cos(), gap], 2))
        for layer in encoder.sequence:
            h = causal(layer, h)
        tokens = encoder.leave(h)
        before = torch.cat([objective.start.expand(len(tokens), 1, -1), tokens[:, :-1]], 1)
        prior = objective.prior(torch.cat([before, gap], 2)).chunk(2, 2)
        divergence = self.mean(gaussian_kl(mean, log_variance, *prior), batch.present)
        kl = divergence.clamp_min(objective.divergence.free_bits).sum(1).mean()
        distance = self.mean(self.distances(sample, before, batch).unsqueeze(2), batch.present)
        return distance.mean() + objective._beta().to(kl.dtype) * kl

    def posterior(self, x: Tensor, seen: Tensor) -> Tensor:
        return self.encoder.posterior(self.encoder.norm(pooled(self.encoder.pool, x, seen)))

    def distances(self, sample: Tensor, before: Tensor, batch: Padded) -> Tensor:
        """(B, S) Chamfer distances, the squared ones by matrix products."""
        decoder, scale = self.objective.decoder, self.objective.variable_weight**0.5
        count = batch.real.sum(2).clamp_min(1)
        told = decoder.enter(torch.cat([sample, before, count.to(sample.dtype).log().unsqueeze(2)], 2))
        out = decoder.leave(decoder.network(told.unsqueeze(2) + decoder.slots[: batch.real.shape[2]]))
        ours = torch.cat([scale * out[..., :-1].softmax(-1), out[..., -1:]], -1).flatten(0, 1)
        one_hot = F.one_hot(batch.codes, ours.shape[2] - 1).to(ours.dtype)
        theirs = torch.cat([scale * one_hot, batch.values.unsqueeze(3)], 3).flatten(0, 1)
        lengths = ours.square().sum(2).unsqueeze(2) + theirs.square().sum(2).unsqueeze(1)
        squared = torch.baddbmm(lengths, ours, theirs.transpose(1, 2), alpha=-2)
        real = batch.real.flatten(0, 1)
        away = squared.masked_fill(~(real.unsqueeze(2) & real.unsqueeze(1)), torch.inf)
        sides = [torch.where(real, away.amin(side), 0.0).sum(1) for side in (2, 1)]
        return (sides[0] + sides[1]).view_as(count) / count

    def mean(self, x: Tensor, present: Tensor) -> Tensor:
        """(B, ...) over the sets of each stay."""
        return torch.where(present.unsqueeze(2), x, 0.0).sum(1) / present.sum(1).clamp_min(1).unsqueeze(1)


def embedded(embed: EventEmbedding, batch: Padded) -> Tensor:
    table = embed.variables()
    identity, slope = F.embedding(batch.codes, table), F.embedding(batch.codes, embed.slope(table))
    value = batch.values.unsqueeze(3)
    return identity + value * slope + embed.shape(torch.cat([identity, value], 3))


def heads(x: Tensor, count: int) -> Tensor:
    """(n, L, H d) -> (n, H, L, d)."""
    return x.unflatten(-1, (count, -1)).transpose(-3, -2)


def read(module: Heads, asks: Tensor, told: Tensor, seen: Tensor | None = None, is_causal: bool = False) -> Tensor:
    """Multi-head attention of (n, Q, D) or (Q, D) on (n, L, D) where (n, L) is seen."""
    queries = heads(module.query(asks), module.heads).expand(len(told), -1, -1, -1)
    keys, values = heads(module.key_value(told), 2 * module.heads).chunk(2, 1)
    mask = None if seen is None else seen[:, None, None, :]
    found = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, is_causal=is_causal)
    return module.out(found.transpose(1, 2).flatten(2))


def induced(layer: InducedSetAttention, x: Tensor, seen: Tensor) -> Tensor:
    normed = layer.norm(x)
    summary = layer.after_read(layer.points, read(layer.read, layer.points, normed, seen))
    return layer.after_write(x, read(layer.write, normed, summary))


def pooled(pool: SetPooling, x: Tensor, seen: Tensor) -> Tensor:
    return pool.after(pool.seed, read(pool.read, pool.seed, pool.norm(x), seen)).squeeze(1)


def causal(layer: CausalLayer, x: Tensor) -> Tensor:
    normed = layer.norm(x)
    return layer.after(x, read(layer.read, normed, normed, is_causal=True))


class Network:
    """Encoder and objective, and a step of each side."""

    def __init__(self, spec: EventSpec, device: str) -> None:
        torch.manual_seed(0)
        self.encoder = SetSequence(spec)
        kinds = ({"events": self.encoder.dim}, {"events": self.encoder.latent})
        self.objective = SetVAE(ObjectiveSpec(*kinds, (), {"events": spec}))
        self.dense = Dense(self.encoder, self.objective).to(device).train()

    def loss(self, events: Events) -> Tensor:
        rows = torch.full((len(events.keys),), UNLABELLED)
        encoded: dict[str, Encoded] = {"events": self.encoder(events)}
        return self.objective([encoded], Batch([{"events": events}], rows, rows, rows, rows)).value

    def step(self, side: str, prepared: list[Events] | Padded) -> Tensor:
        """Loss of a batch whose gradients are left in the parameters."""
        self.dense.zero_grad()
        if isinstance(prepared, Padded):
            loss: Tensor = self.dense(prepared)
            torch.autograd.backward(loss)
            return loss.detach()
        parts = []
        for events in prepared:
            loss = self.loss(events) / len(prepared)
            torch.autograd.backward(loss)
            parts.append(loss.detach())
        return torch.stack(parts).sum()


class Stays(NamedTuple):
    """Stays to draw batches from.

    Attributes:
        events: all of them.
        spec: of the modality.
    """

    events: Events
    spec: EventSpec

    def take(self, rows: list[int]) -> Events:
        """A batch of these stays."""
        every = self.events
        sets = torch.cat([torch.arange(int(every.rows[row]), int(every.rows[row + 1])) for row in rows])
        counts, sizes = every.rows.diff()[rows], every.sets.diff()[sets]
        spans = zip(every.sets[sets].tolist(), every.sets[sets + 1].tolist(), strict=True)
        kept = torch.cat([torch.arange(start, stop) for start, stop in spans])
        borders = [F.pad(lengths.cumsum(0), (1, 0)) for lengths in (sizes, counts)]
        return Events(every.values[kept], every.codes[kept], every.times[sets], *borders, every.keys[rows])

    def batches(self, size: int, count: int) -> list[list[int]]:
        """Rows of random batches, the same at every call."""
        random = np.random.default_rng(size)
        return [random.permutation(len(self.events.keys))[:size].tolist() for _ in range(count)]

    def prepared(self, side: str, rows: list[int], device: str) -> list[Events] | Padded:
        """A batch as a side has it; no side is charged for making it."""
        events = [self.take([row]) for row in rows] if side == "one" else [self.take(rows)]
        moved = [Events(*(part.to(device) for part in each)) for each in events]
        return pad(moved[0]) if side == "dense" else moved


def real() -> tuple[str, Stays]:
    """PhysioNet-2012's set a, or simulated stays, and their name."""
    from counterpoint.data.clinical import LongTable
    from counterpoint.data.synthetic.stays import generate

    root = Path(os.environ.get("COUNTERPOINT_DATA", Path(__file__).parents[2] / "shared" / "data"))
    path = root / "clinical" / "physionet2012" / "events_a.parquet"
    if path.is_file():
        table = LongTable(
            tables=[path], stay="record_id", time="hours", unit="hours", missing=[-1.0], ignore=["RecordID"]
        )
        return "PhysioNet-2012", read_stays(table)
    with tempfile.TemporaryDirectory() as name:
        generate(Path(name) / "made", stays=1000)
        path = Path(name) / "made" / "events.parquet"
        return "simulated", read_stays(LongTable(tables=[path], stay="record_id", missing=[-1.0]))


def read_stays(table: LongTable) -> Stays:
    from counterpoint.data.base import Draw
    from counterpoint.data.clinical import Clinical

    data = Clinical(stays=table)
    rows = data.evaluation("main", "all")
    (spec,) = data.specs.values()
    (events,) = rows.__getitems__([Draw(row, row) for row in range(len(rows.ids))]).views[0].values()
    assert isinstance(spec, EventSpec)
    assert isinstance(events, Events)
    return Stays(events, spec)


def mixes() -> dict[str, Stays]:
    """Made-up stays: short ones of small sets; long ones; and both stays and sets of which a few are far larger."""
    random = np.random.default_rng(0)

    def tail(median: float, spread: float, most: int, count: int) -> list[int]:
        drawn = median * np.exp(spread * random.normal(size=count))
        return np.clip(np.round(drawn), 1, most).astype(int).tolist()

    short = made([(5 + int(7 * random.random()), lambda n: random.integers(1, 5, n).tolist()) for _ in range(200)])
    long = made([(int(random.integers(150, 300)), lambda n: random.integers(1, 9, n).tolist()) for _ in range(60)])
    heavy = made([(sets, lambda n: tail(2.0, 1.0, 64, n)) for sets in tail(12.0, 1.0, 300, 200)])
    return {"short": short, "long": long, "heavy-tailed": heavy}


def made(stays: list[tuple[int, Callable[[int], list[int]]]]) -> Stays:
    """Stays of random events, given how many sets each has and how large sets are."""
    generator = torch.Generator().manual_seed(0)
    counts = torch.tensor([count for count, _ in stays])
    sizes = torch.tensor([size for count, sized in stays for size in sized(count)])
    total, variables = int(sizes.sum()), 40
    hours = torch.cat([torch.rand(int(count), generator=generator).mul(48).sort().values for count in counts])
    events = Events(
        torch.randn(total, generator=generator),
        torch.randint(variables, (total,), generator=generator),
        hours,
        F.pad(sizes.cumsum(0), (1, 0)),
        F.pad(counts.cumsum(0), (1, 0)),
        torch.arange(len(counts)) * 7919,
    )
    return Stays(events, EventSpec(tuple(map(str, range(variables))), int(counts.max()), int(sizes.max())))


def places(stays: Stays, rows: list[int]) -> int:
    """Events of a batch when padded."""
    counts = stays.events.rows.diff()[rows]
    sets = max(
        int(stays.events.sets.diff()[int(stays.events.rows[r]) : int(stays.events.rows[r + 1])].max()) for r in rows
    )
    return len(rows) * int(counts.max()) * sets


def check(stays: Stays, device: str) -> None:
    """Assert that the three are one function."""
    network, rows = Network(stays.spec, device), stays.batches(4, 1)[0]
    found = {}
    for side in SIDES:
        loss = network.step(side, stays.prepared(side, rows, device))
        found[side] = [loss, *(part.grad.clone() for part in network.dense.parameters() if part.grad is not None)]
    for side in SIDES[1:]:
        for ours, theirs in zip(found["packed"], found[side], strict=True):
            assert torch.allclose(ours, theirs, atol=1e-4, rtol=1e-4), side


def seconds_of(network: Network, side: str, prepared: list[Events] | Padded, device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    network.step(side, prepared)
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


class Measured(NamedTuple):
    """A batch size: side -> seconds of each round, and means over its batches."""

    seconds: dict[str, list[float]]
    events: float
    padded: float

    def rate(self, side: str, size: int) -> float:
        return size / median(self.seconds[side])

    def ratio(self, side: str) -> float:
        """How many times faster packed is, round by round."""
        pairs = zip(self.seconds[side], self.seconds["packed"], strict=True)
        return median(theirs / ours for theirs, ours in pairs)


def rounds(stays: Stays, size: int, seconds: float, device: str) -> Measured:
    """At least three rounds, and as many as fit in the time; the first warms up."""
    network, drawn = Network(stays.spec, device), stays.batches(size, 3)
    padded = [places(stays, rows) for rows in drawn]
    sides = [side for side in SIDES if side != "dense" or max(padded) <= MOST_PLACES]
    prepared = {side: [stays.prepared(side, rows, device) for rows in drawn] for side in sides}
    found: dict[str, list[float]] = {side: [] for side in sides}
    begin = time.perf_counter()
    while len(found["packed"]) < 4 or (time.perf_counter() - begin < seconds and len(found["packed"]) < 60):
        turn = len(found["packed"]) % len(drawn)
        for side in sides:
            found[side].append(seconds_of(network, side, prepared[side][turn], device))
    events = np.mean([len(stays.take(rows).values) for rows in drawn])
    return Measured({side: each[1:] for side, each in found.items()}, float(events), float(np.mean(padded)))


def peak(stays: Stays, side: str, rows: list[int], device: str, threads: int) -> float:
    """MB over a network that has made a step: of CUDA's allocator, or of a process of its own."""
    if device == "cuda":
        network, prepared = Network(stays.spec, device), stays.prepared(side, rows, device)
        network.step(side, prepared)
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        network.step(side, prepared)
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "batch.pt"
        shortest = int(stays.events.rows.diff().argmin())
        torch.save({"spec": tuple(stays.spec), "all": [tuple(stays.take(each)) for each in ([shortest], rows)]}, path)
        command = [sys.executable, __file__, "--child", side, "--batch", str(path), "--threads", str(threads)]
        return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def child(side: str, path: Path) -> None:
    """Print the peak of one step, in MB."""
    saved = torch.load(path)
    tiny, events = (Events(*parts) for parts in saved["all"])
    stays, network = Stays(events, EventSpec(*saved["spec"])), Network(EventSpec(*saved["spec"]), "cpu")
    for every in SIDES:
        network.step(every, Stays(tiny, stays.spec).prepared(every, [0], "cpu"))
    prepared = stays.prepared(side, list(range(len(events.keys))), "cpu")
    del stays, events, saved
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak that the imports left behind
    before = resident("VmRSS")
    network.step(side, prepared)
    print(resident("VmHWM") - before)


def resident(field: str) -> float:
    """MB. ``ru_maxrss`` would not do: a child starts with the peak of its parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def table(name: str, stays: Stays, sizes: tuple[int, ...], device: str, chosen: argparse.Namespace) -> None:
    """A line a batch size, and what became of the goals at 16."""
    sets, counts = stays.events.sets.diff().double(), stays.events.rows.diff().double()
    print(
        f"\n{name}, {device}: {counts.mean():.0f} sets a stay (at most {counts.max():.0f}), {sets.mean():.1f} events a "
        f"set (at most {sets.max():.0f})\n"
    )
    print(
        "| batch | events | padded | packed, stays/s | dense | a stay at a time | over dense | over a stay at a time ",
        end="",
    )
    print("| MB packed | MB dense | MB a stay at a time | dense / packed |")
    print("|" + "---:|" * 12)
    for size in sizes:
        measured, rows = rounds(stays, size, chosen.seconds, device), stays.batches(size, 1)[0]
        sides = list(measured.seconds)
        memory = {side: max(peak(stays, side, rows, device, chosen.threads), 0.1) for side in sides}
        cells = [f"{size}", f"{measured.events:.0f}", f"{measured.padded:.0f}"]
        cells += [f"{measured.rate(side, size):.1f}" if side in sides else "too large" for side in SIDES]
        cells += [f"{measured.ratio(side):.2f}x" if side in sides else "" for side in SIDES[1:]]
        cells += [f"{memory[side]:.0f}" if side in sides else "" for side in SIDES]
        cells += [f"{memory['dense'] / memory['packed']:.1f}x" if "dense" in sides else ""]
        print("| " + " | ".join(cells) + " |", flush=True)
        if size == 16:
            verdicts = [
                f"{measured.ratio(side):.1f}x {NAMES[side]} (goal {goal:g}x: "
                f"{'met' if measured.ratio(side) >= goal else 'missed'})"
                for side, goal in zip(SIDES[1:], GOALS[name], strict=True)
                if side in sides
            ]
    print(f"\nat 16: {', '.join(verdicts)}")


def growth(name: str, stays: Stays, device: str, threads: int) -> None:
    """Packed memory against the number of events."""
    print(f"\nPacked memory against events, {name}, {device}\n\n| batch | events | MB | MB a 1000 events |")
    print("|---:|---:|---:|---:|")
    for size in (4, 8, 16, 32, 64, 128):
        rows = stays.batches(size, 1)[0]
        memory, events = peak(stays, "packed", rows, device, threads), len(stays.take(rows).values)
        print(f"| {size} | {events} | {memory:.0f} | {1000 * memory / events:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=8.0, help="for the rounds of one batch size")
    parser.add_argument("--child", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    if chosen.child:
        child(chosen.child, chosen.batch)
        return
    name, stays = real()
    if name == "simulated":
        print(
            "PhysioNet-2012 is not at hand: these are SIMULATED stays; set COUNTERPOINT_DATA to measure the real ones\n"
        )
    made_up = mixes()
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        for each in (stays, *made_up.values()):
            check(each, device)
        print(f"{chosen.threads} threads, torch {torch.__version__}, float32; the three agree to 1e-4 on {device}")
        table(name, stays, SIZES, device, chosen)
        growth(name, stays, device, chosen.threads)
        for mix, each in made_up.items():
            table(mix, each, (16, 64) if mix == "short" else (16,), device, chosen)


if __name__ == "__main__":
    main()
