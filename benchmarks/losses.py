"""Tiled losses against the naive ones: time and peak memory of forward and backward, from raw embeddings.

    python benchmarks/losses.py [--losses CLIP SigLIP] [--sizes 4096 8192 16384] [--width 256] [--threads 2]

Time: rivals take turns in one process; medians, so that a busy machine slows all alike. Memory: each candidate runs
once in a fresh process of its own and reports the peak of its resident set (VmHWM, which starts anew with a program;
the ru_maxrss of a child is at least that of its parent); the peak of a process that runs small losses to load every
library and then only allocates the embeddings and their gradients is subtracted. Linux only. Normalisation is part of
every candidate. Rivals: open_clip's ClipLoss and SigLipLoss from its wheel, CLIP with several positives a row as a
cross-entropy against soft targets, SigLIP as in its paper, the usual SupCon with its N x N mask (as in the program of
Khosla et al.), NT-Xent as a cross-entropy over the masked N x N matrix.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from counterpoint.losses import clip, siglip, sup_con
from rivals import open_clip


class Inputs(NamedTuple):
    """Rows of two modalities, classes of the rows, and the numbers that are learned."""

    a: Tensor
    b: Tensor
    labels: Tensor
    scale: Tensor
    bias: Tensor


Candidate = Callable[[Inputs], Tensor]
ROWS_A_CLASS = 8


def open_clip_loss(x: Inputs) -> Tensor:
    loss: Tensor = open_clip().ClipLoss()(functional.normalize(x.a), functional.normalize(x.b), x.scale)
    return loss


def naive_clip(x: Inputs) -> Tensor:
    logits = x.scale * functional.normalize(x.a) @ functional.normalize(x.b).T
    same = (x.labels[:, None] == x.labels[None, :]).float()
    targets = same / same.sum(1, keepdim=True)
    return (functional.cross_entropy(logits, targets) + functional.cross_entropy(logits.T, targets)) / 2


def naive_siglip(x: Inputs) -> Tensor:
    logits = x.scale * functional.normalize(x.a) @ functional.normalize(x.b).T + x.bias
    signs = 2 * torch.eye(len(x.a), device=x.a.device) - 1
    return -functional.logsigmoid(signs * logits).sum() / len(x.a)


def open_clip_siglip(x: Inputs) -> Tensor:
    loss: Tensor = open_clip().SigLipLoss()(functional.normalize(x.a), functional.normalize(x.b), x.scale, x.bias)
    return loss


def naive_sup_con(x: Inputs) -> Tensor:
    z, labels, scale = functional.normalize(x.a), x.labels, x.scale
    logits = scale * z @ z.T
    logits = logits - logits.max(dim=1, keepdim=True)[0].detach()
    others = 1 - torch.eye(len(z), device=z.device)
    mask = (labels[:, None] == labels[None, :]).float() * others
    logs = logits - (logits.exp() * others).sum(1, keepdim=True).log()
    return -((mask * logs).sum(1) / mask.sum(1)).mean()


def naive_nt_xent(x: Inputs) -> Tensor:
    z = functional.normalize(x.a)
    logits = (x.scale * z @ z.T).masked_fill(torch.eye(len(z), dtype=torch.bool, device=z.device), -torch.inf)
    return functional.cross_entropy(logits, torch.arange(len(z), device=z.device).roll(len(z) // 2))


def tiled_nt_xent(x: Inputs) -> Tensor:
    return sup_con(x.a, torch.arange(len(x.a), device=x.a.device) % (len(x.a) // 2), x.scale)


PAIRS = [
    ("CLIP", "clip", "open_clip ClipLoss"),
    ("CLIP, 8 positives a row", "clip with positives", "naive CLIP"),
    ("SigLIP", "siglip", "naive SigLIP"),
    ("SigLIP", "siglip", "open_clip SigLipLoss"),
    ("SupCon", "sup_con", "naive SupCon"),
    ("NT-Xent", "sup_con on ids", "naive NT-Xent"),
]
CANDIDATES: dict[str, Candidate] = {
    "clip": lambda x: clip(x.a, x.b, x.scale),  # without positives it is info_nce both ways, on the same road
    "open_clip ClipLoss": open_clip_loss,
    "clip with positives": lambda x: clip(x.a, x.b, x.scale, positives=[x.labels]),
    "naive CLIP": naive_clip,
    "siglip": lambda x: siglip(x.a, x.b, x.scale, x.bias),
    "naive SigLIP": naive_siglip,
    "open_clip SigLipLoss": open_clip_siglip,
    "sup_con": lambda x: sup_con(x.a, x.labels, x.scale),
    "naive SupCon": naive_sup_con,
    "sup_con on ids": tiled_nt_xent,
    "naive NT-Xent": naive_nt_xent,
}


def embeddings(size: int, width: int) -> Inputs:
    torch.manual_seed(0)
    a = torch.randn(size, width)
    b = a + torch.randn(size, width)
    labels = torch.arange(size) % (size // ROWS_A_CLASS)
    scale, bias = (torch.tensor(value, requires_grad=True) for value in (1 / 0.07, -10.0))
    return Inputs(a.requires_grad_(), b.requires_grad_(), labels, scale, bias)


def run(candidate: str, inputs: Inputs) -> float:
    """Seconds of one forward and backward pass."""
    for tensor in inputs:
        tensor.grad = None
    start = time.perf_counter()
    CANDIDATES[candidate](inputs).backward()  # type: ignore[no-untyped-call]
    return time.perf_counter() - start


def resident_peak(candidate: str, size: int, width: int) -> float:
    """MB over a process with the embeddings and gradients alone; run in a child by ``main``."""
    inputs = embeddings(size, width)
    for name in CANDIDATES:  # load every library before the measurement, so that only N tells the processes apart
        run(name, embeddings(16, width))
    if candidate == "nothing":
        for tensor in (inputs.a, inputs.b):
            tensor.grad = torch.ones_like(tensor)
    else:
        run(candidate, inputs)
        if inputs.b.grad is None:
            inputs.b.grad = torch.ones_like(inputs.b)
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def child(candidate: str, size: int, width: int, threads: int) -> float:
    command = [sys.executable, __file__, "--child", candidate, "--sizes", str(size), "--width", str(width)]
    done = subprocess.run([*command, "--threads", str(threads)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def measure(losses: Sequence[str], size: int, width: int, threads: int, rounds: int) -> list[dict[str, Any]]:
    """One row a loss and rival."""
    inputs = embeddings(size, width)
    pairs = [pair for pair in PAIRS if pair[0] in losses]
    candidates = list(dict.fromkeys(name for _, *names in pairs for name in names))
    names = [*candidates, "matmul"]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for name in candidates:  # warm up
        run(name, embeddings(1024, width))
    for _ in range(rounds):
        for name in names:
            if name == "matmul":
                start = time.perf_counter()
                torch.mm(inputs.a.detach(), inputs.b.detach().T)
                taken = time.perf_counter() - start
            else:
                taken = run(name, inputs)
            seconds[name].append(taken)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    floor = child("nothing", size, width, threads)
    memory = {name: max(child(name, size, width, threads) - floor, 0.1) for name in candidates}
    found = []
    for loss, ours, rival in pairs:
        found.append(
            {
                "loss": loss,
                "rival": rival,
                "N": size,
                "D": width,
                "seconds": median[ours],
                "rival_seconds": median[rival],
                "speedup": median[rival] / median[ours],
                "matmul_units": median[ours] / median["matmul"],
                "rival_matmul_units": median[rival] / median["matmul"],
                "MB": memory[ours],
                "rival_MB": memory[rival],
                "memory_ratio": memory[rival] / memory[ours],
            }
        )
    return found


def markdown(row: dict[str, Any]) -> str:
    return (
        f"| {row['loss']} | {row['N']} | {row['seconds']:.2f} s ({row['matmul_units']:.1f}) | {row['rival']} "
        f"{row['rival_seconds']:.2f} s ({row['rival_matmul_units']:.1f}) | {row['speedup']:.2f}x | "
        f"{row['MB']:.0f} MB | {row['rival_MB']:.0f} MB | {row['memory_ratio']:.0f}x |"
    )


def main() -> list[dict[str, Any]]:
    """Print the table and return its rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[4096, 8192, 16384])
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    names = list(dict.fromkeys(loss for loss, *_ in PAIRS))
    parser.add_argument("--losses", nargs="+", default=names, choices=names)
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.child:
        print(resident_peak(options.child, options.sizes[0], options.width))
        return []
    print(f"{platform.machine()}, {options.threads} threads, torch {torch.__version__}, float32, D = {options.width};")
    print("seconds (in units of one N x N x D matmul), peak memory over embeddings and gradients\n")
    print("| loss | N | ours | rival | faster | ours | rival | less memory |")
    print("|---|---|---|---|---|---|---|---|")
    rows = []
    for size in options.sizes:
        for row in measure(options.losses, size, options.width, options.threads, options.rounds):
            rows.append(row)
            print(markdown(row), flush=True)
    return rows


if __name__ == "__main__":
    main()
