from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from counterpoint.losses import clip, clip_from_logits, gather_rows, info_nce, siglip, siglip_from_logits, sup_con
from losses_inputs import number, rows

BATCH = 12  # of all ranks together
LossOf = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
SigLipOf = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def _excluding(a: Tensor, b: Tensor, labels: Tensor, scale: Tensor) -> Tensor:
    return info_nce(a, b, scale, exclude=[labels, labels // 2])


def _cosines(a: Tensor, b: Tensor) -> Tensor:
    return functional.normalize(a) @ functional.normalize(gather_rows(b)).T


def _clip_from_logits(a: Tensor, b: Tensor, labels: Tensor, scale: Tensor) -> Tensor:
    return clip_from_logits(scale * _cosines(a, b), positives=[labels, labels // 2])


def _siglip_from_logits(a: Tensor, b: Tensor, labels: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return siglip_from_logits(scale * _cosines(a, b) + bias, positives=[labels, labels // 2])


LOSSES: dict[str, LossOf] = {
    "two-way": lambda a, b, labels, scale: info_nce(a, b, scale),
    "one-way": lambda a, b, labels, scale: info_nce(a, b, scale, direction="one-way"),
    "excluding": _excluding,
    "hard": lambda a, b, labels, scale: info_nce(a, b, scale, exclude=[labels], hard_negative_weight=0.5),
    "sup_con": lambda a, b, labels, scale: sup_con(a, labels, scale),
    "sup_con of two views": lambda a, b, labels, scale: sup_con(torch.cat([a, b]), torch.cat([labels, labels]), scale),
    "clip": lambda a, b, labels, scale: clip(a, b, scale),
    "clip, global": lambda a, b, labels, scale: clip(a, b, scale, gather="global"),
    "clip, one key": lambda a, b, labels, scale: clip(a, b, scale, positives=[labels]),
    "clip, two keys, global": lambda a, b, labels, scale: clip(
        a, b, scale, positives=[labels, labels // 2], gather="global"
    ),
    "clip from logits": _clip_from_logits,
}
SIGLIPS: dict[str, SigLipOf] = {
    "siglip": lambda a, b, labels, scale, bias: siglip(a, b, scale, bias),
    "siglip, ring": lambda a, b, labels, scale, bias: siglip(a, b, scale, bias, exchange="ring"),
    "siglip, keys": lambda a, b, labels, scale, bias: siglip(a, b, scale, bias, positives=[labels, labels // 2]),
    "siglip, keys, ring": lambda a, b, labels, scale, bias: siglip(
        a, b, scale, bias, positives=[labels, labels // 2], exchange="ring"
    ),
    "siglip from logits": _siglip_from_logits,
}
PATHS = ["direct", "tiled", "tiled-safe"]


def _take(path: str) -> None:
    module = importlib.import_module("counterpoint.losses.log_sums")
    module.DIRECT_LIMIT = 512 if path == "direct" else 0  # type: ignore[attr-defined]
    limit = 0.0 if path == "tiled-safe" else 75.0
    module.BARE_EXP_LIMIT = {torch.float64: limit}  # type: ignore[attr-defined]
    for name in ("tiles", "class_sums"):
        importlib.import_module(f"counterpoint.losses.{name}").CPU_SIDE = 5  # type: ignore[attr-defined]


class Towers(nn.Module):
    """Two linear encoders and a learned scale."""

    def __init__(self, loss: LossOf) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.left, self.right = nn.Linear(4, 6), nn.Linear(5, 6)
        self.log_scale = nn.Parameter(torch.tensor(1.5))
        self.loss = loss
        self.double()

    def forward(self, left: Tensor, right: Tensor, labels: Tensor) -> Tensor:
        return self.loss(self.left(left), self.right(right), labels, self.log_scale.exp())


class BiasedTowers(Towers):
    """A learned bias beside."""

    def __init__(self, loss: SigLipOf) -> None:
        super().__init__(lambda a, b, labels, scale: loss(a, b, labels, scale, self.bias))
        self.bias = nn.Parameter(torch.tensor(-2.0, dtype=torch.float64))


def _towers(name: str) -> Towers:
    return BiasedTowers(SIGLIPS[name]) if name in SIGLIPS else Towers(LOSSES[name])


def _inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(BATCH, 4, generator=generator, dtype=torch.float64)
    right = torch.randn(BATCH, 5, generator=generator, dtype=torch.float64)
    # rank 0 of four holds one anchor of three rows, the rest of its rows have no label or no partner
    return left, right, torch.tensor([-1, 7, 3, 3, 5, 5, 3, -1, 5, 0, 0, 3])


def _result(towers: nn.Module, value: Tensor) -> list[Tensor]:
    value.backward()  # type: ignore[no-untyped-call]
    return [value.detach()] + [
        torch.zeros_like(p) if p.grad is None else p.grad for _, p in sorted(towers.named_parameters())
    ]


def _rank(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/init", rank=rank, world_size=world)
    share = slice(rank * BATCH // world, (rank + 1) * BATCH // world)
    results: dict[str, list[Tensor]] = {}
    for path in PATHS if world == 2 else ["tiled"]:
        _take(path)
        for name in [*LOSSES, *(SIGLIPS if path != "tiled-safe" else [])]:
            towers = DistributedDataParallel(_towers(name), find_unused_parameters=name == "sup_con")
            results[f"{name}, {path}"] = _result(towers, towers(*(x[share] for x in _inputs())))
    _take("direct")
    towers = DistributedDataParallel(Towers(LOSSES["two-way"]))
    results["one row a rank"] = _result(towers, towers(*(x[rank : rank + 1] for x in _inputs())))
    mine = torch.arange(2.0 * rank, 2.0 * rank + 2).requires_grad_()
    (gather_rows(mine) * torch.arange(2.0 * world) * (rank + 1)).sum().backward()  # type: ignore[no-untyped-call]
    assert mine.grad is not None
    results["gather"] = [gather_rows(mine.detach()), mine.grad]
    with pytest.raises(ValueError, match="same number of rows, but by rank"):
        gather_rows(torch.zeros(3 + rank, 2))
    results |= _unlike(rank)
    torch.save(results, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def _unlike(rank: int) -> dict[str, list[Tensor]]:
    """SigLIP where the ranks weigh their loss differently, twice, and where one brings more rows."""
    found = {}
    for name, loss in SIGLIPS.items():
        inputs = [rows(3, seed=rank), rows(3, seed=rank + 9), number(4.0), number(-3.0)]
        labels = torch.tensor([1, 2, 3 + rank])
        value = loss(inputs[0], inputs[1], labels, inputs[2], inputs[3])
        weighed = torch.autograd.grad((rank + 1) * value, inputs, retain_graph=True)
        with torch.no_grad():
            again = loss(inputs[0], inputs[1], labels, inputs[2], inputs[3])
        found[f"{name}, unlike"] = [value.detach(), *weighed, *torch.autograd.grad(value, inputs), again]
        found[f"{name}, like"] = list(torch.autograd.grad(loss(inputs[0], inputs[1], labels, *inputs[2:]), inputs))
    uneven = torch.ones(2 + rank, 3)
    for name in ("siglip", "siglip, ring"):
        with pytest.raises(ValueError, match="same number of rows, but by rank"):
            SIGLIPS[name](uneven, uneven, torch.zeros(2 + rank), torch.tensor(1.0), torch.tensor(0.0))
    return found


@pytest.fixture(scope="module", params=[2, 4])
def ranks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[Tensor]]]:
    """What each of 2 or 4 processes computed from its share of the batch."""
    folder = tmp_path_factory.mktemp("ranks")
    spawn(_rank, args=(request.param, str(folder)), nprocs=request.param)  # type: ignore[no-untyped-call]
    return [torch.load(Path(folder) / f"{rank}.pt") for rank in range(request.param)]


@pytest.mark.parametrize("name", [*LOSSES, *SIGLIPS])
def test_ranks_give_the_loss_and_gradients_of_one_process(ranks: list[dict[str, list[Tensor]]], name: str) -> None:
    towers = _towers(name)
    expected = _result(towers, towers(*_inputs()))
    found = [key for key in ranks[0] if key in [f"{name}, {path}" for path in PATHS]]
    assert found
    for key in found:
        _assert_agree([result[key] for result in ranks], expected)
        if name.endswith("global"):
            for result in ranks:
                torch.testing.assert_close(result[key][0], expected[0], rtol=1e-12, atol=0)


@pytest.mark.parametrize(("gathered", "ring"), [("siglip", "siglip, ring"), ("siglip, keys", "siglip, keys, ring")])
def test_a_ring_gives_what_gathering_gives(ranks: list[dict[str, list[Tensor]]], gathered: str, ring: str) -> None:
    for result in ranks:
        for mine, theirs in zip(result[f"{ring}, unlike"], result[f"{gathered}, unlike"], strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
        value, *_, again = result[f"{ring}, unlike"]
        assert float(value) == float(again)
        # the same graph a second time, after one pass in which the ranks did not weigh alike
        for second, fresh in zip(result[f"{ring}, unlike"][5:9], result[f"{ring}, like"], strict=True):
            torch.testing.assert_close(second, fresh, rtol=1e-12, atol=1e-12)


def _assert_agree(found: list[list[Tensor]], expected: list[Tensor]) -> None:
    torch.testing.assert_close(torch.stack([f[0] for f in found]).mean(), expected[0], rtol=1e-10, atol=1e-10)
    for rank in found:  # the wrapper has averaged the gradients: every rank holds the same
        for mine, whole in zip(rank[1:], expected[1:], strict=True):
            torch.testing.assert_close(mine, whole, rtol=1e-10, atol=1e-10)


def test_one_row_a_rank(ranks: list[dict[str, list[Tensor]]]) -> None:
    towers = Towers(LOSSES["two-way"])
    expected = _result(towers, towers(*(x[: len(ranks)] for x in _inputs())))
    _assert_agree([result["one row a rank"] for result in ranks], expected)


def test_gathering_keeps_the_order_and_sums_what_the_ranks_ask(ranks: list[dict[str, list[Tensor]]]) -> None:
    world = len(ranks)
    for rank, result in enumerate(ranks):
        gathered, grad = result["gather"]
        assert gathered.tolist() == list(range(2 * world))
        asked = sum(r + 1 for r in range(world))
        assert grad.tolist() == [2 * rank * asked, (2 * rank + 1) * asked]


def test_one_process_gathers_nothing() -> None:
    rows = torch.randn(3, 2)
    assert gather_rows(rows) is rows
