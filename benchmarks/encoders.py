"""Signal encoders: windows a second, forward and backward, on (32, 1024, 2) float32, against PatchTST.

The rival is PatchTST of transformers with patches of 16 at a stride of 8, each channel a sequence of its own, and
the width, depth and heads of the default encoder; all else is its library's default, perceptrons of 512 among it.
A second rival has those of the default encoder, 256. Times are medians of interleaved runs in one process; peak
memory is that of a process each, above what it held after one step on two windows (Linux only). The share is that
of the rate of one 2048 x 2048 matrix product, measured between the runs. Run: python benchmarks/encoders.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from counterpoint.encoders.base import Encoder
from counterpoint.encoders.patch import PatchTransformer
from counterpoint.encoders.resnet import ResNet1d
from counterpoint.types import Encoded, Signal, SignalSpec

ROWS, SPEC = 32, SignalSpec(channels=2, length=1024, rate=12_000.0)
GOAL = 6.0
RIVAL = "PatchTST 16/8"
NARROW = "PatchTST 16/8, perceptron as ours"


class Rival(nn.Module):
    """PatchTST of the library, pooled as ours is."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        from transformers import PatchTSTConfig, PatchTSTModel

        self.model = PatchTSTModel(
            PatchTSTConfig(
                num_input_channels=SPEC.channels,
                context_length=SPEC.length,
                patch_length=16,
                patch_stride=8,
                d_model=128,
                num_hidden_layers=4,
                num_attention_heads=4,
                ffn_dim=hidden,
            )
        )

    def forward(self, signal: Signal) -> Encoded:
        tokens: Tensor = self.model(past_values=signal.values).last_hidden_state.mean(1)
        return Encoded(tokens, tokens.new_ones(tokens.shape[:2], dtype=torch.bool), tokens.mean(1))


def rival() -> nn.Module:
    return Rival(512)


def narrow_rival() -> nn.Module:
    return Rival(256)


def patch_transformer() -> Encoder:
    return PatchTransformer(SPEC)


def resnet() -> Encoder:
    return ResNet1d(SPEC)


SIDES: dict[str, Callable[[], nn.Module]] = {
    RIVAL: rival,
    NARROW: narrow_rival,
    "PatchTransformer": patch_transformer,
    "ResNet1d": resnet,
}


def windows(rows: int) -> Signal:
    return Signal(torch.randn(rows, SPEC.length, SPEC.channels, generator=torch.Generator().manual_seed(0)))


def step(encoder: nn.Module, signal: Signal) -> None:
    encoder.zero_grad()
    pooled: Tensor = encoder(signal).pooled
    torch.autograd.backward(pooled.square().mean())


def matmul_rate() -> float:
    """Floating-point operations a second."""
    square = torch.randn(2048, 2048)
    square @ square
    start = time.perf_counter()
    square @ square
    return 2 * 2048**3 / (time.perf_counter() - start)


def operations(encoder: nn.Module, signal: Signal) -> int:
    with FlopCounterMode(display=False) as counter:
        step(encoder, signal)
    return int(counter.get_total_flops())


def peak(side: str) -> float:
    """MB, in a process of its own."""
    command = [sys.executable, __file__, "--peak", side]
    return float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def measure_peak(side: str) -> None:
    encoder = SIDES[side]()
    step(encoder, windows(2))
    before = resident("VmRSS")
    step(encoder, windows(ROWS))
    print(resident("VmHWM") - before)


def resident(field: str) -> float:
    """MB. ``ru_maxrss`` would not do: a child starts with the peak of its parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def compare(repeats: int) -> None:
    torch.manual_seed(0)
    encoders = {side: make() for side, make in SIDES.items()}
    signal = windows(ROWS)
    work = {side: operations(encoder, signal) for side, encoder in encoders.items()}
    times: dict[str, list[float]] = {side: [] for side in SIDES}
    rates: list[float] = []
    for _ in range(repeats):
        rates.append(matmul_rate())
        for side, encoder in encoders.items():
            start = time.perf_counter()
            step(encoder, signal)
            times[side].append(time.perf_counter() - start)
    seconds = {side: median(found) for side, found in times.items()}
    print(f"{torch.get_num_threads()} threads, {repeats} repeats, batch {ROWS} x {SPEC.length} x 2\n")
    print("| encoder | parameters | windows/s | against the rival | peak MB | share of matmul rate |")
    print("|---|---:|---:|---:|---:|---:|")
    for side, encoder in encoders.items():
        millions = sum(p.numel() for p in encoder.parameters()) / 1e6
        share = work[side] / seconds[side] / median(rates)
        print(
            f"| {side} | {millions:.2f} M | {ROWS / seconds[side]:.0f} "
            f"| {seconds[RIVAL] / seconds[side]:.1f}x | {peak(side):.0f} | {share:.2f} |"
        )
    for side in (RIVAL, NARROW):
        ratio = seconds[side] / seconds["PatchTransformer"]
        verdict = "met" if ratio >= GOAL else "missed"
        print(f"\ndefault encoder {ratio:.1f}x {side}; goal {GOAL:g}x: {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--peak", choices=SIDES, help="measure one side's memory and print MB")
    chosen = parser.parse_args()
    if chosen.peak is not None:
        measure_peak(chosen.peak)
    else:
        compare(chosen.repeats)


if __name__ == "__main__":
    main()
