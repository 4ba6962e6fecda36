"""CLIP and SigLIP as objectives: what is a positive, what is left out, one process and two ranks."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from counterpoint import config
from counterpoint.config.build import keywords
from counterpoint.config.signature import choices
from counterpoint.objectives import CLIP, Objective, SequenceSimilarity, SigLIP
from counterpoint.objectives.pairs import caption_keys
from counterpoint.types import Batch, Encoded, Loss, ObjectiveSpec, SignalSpec, Text, TextSpec

DIMS = {"range_time": 6, "doppler_time": 5, "text": 4, "fused": 7}
SPECS = {"range_time": SignalSpec(3, 8, 20.0), "doppler_time": SignalSpec(3, 8, 20.0), "text": TextSpec(9)}
SPEC = ObjectiveSpec(DIMS, {}, ("walk", "box", "wave"), SPECS)
ROWS = 8
CAPTIONS = ("walks", "boxes", "waves", "walks", "sits", "boxes", "", "runs")
TWO_WAYS = (("fused", "text"), ("range_time", "doppler_time"))
Make = Callable[..., Any]
both = pytest.mark.parametrize("made", [CLIP, SigLIP])
SEQUENCE = SequenceSimilarity(kind="temporal")


def batch(captions: tuple[str, ...] = CAPTIONS) -> Batch:
    index = torch.arange(len(captions))
    return Batch([{"text": Text(captions)}], index % 3, index // 2, index % 2, index)


def encoded(missing: dict[str, list[int]] | None = None, rows: int = ROWS) -> dict[str, Encoded]:
    """Outputs of a model; what stands at missing rows is not a number."""
    draw = torch.Generator().manual_seed(0)
    found = {}
    for name, dim in DIMS.items():
        length = {"text": 5}.get(name, 6)
        tokens = torch.randn(rows, length, dim, generator=draw, dtype=torch.float64)
        pooled = torch.randn(rows, dim, generator=draw, dtype=torch.float64)
        mask = torch.arange(length) < torch.randint(2, length + 1, (rows, 1), generator=draw)
        gone = (missing or {}).get(name, [])
        mask[gone], tokens[gone], pooled[gone] = False, math.nan, math.nan
        found[name] = Encoded(tokens, mask, pooled)
    return found


def objective(made: Make, **more: Any) -> Any:
    torch.manual_seed(0)
    return made(SPEC, width=16, **more).double()


def some(view: dict[str, Encoded], rows: list[int] | slice) -> dict[str, Encoded]:
    return {name: Encoded(one.tokens[rows], one.mask[rows], one.pooled[rows]) for name, one in view.items()}


def part(whole: Batch, rows: list[int] | slice) -> Batch:
    sentences = whole.views[0]["text"].sentences  # type: ignore[union-attr]
    chosen = tuple(sentences[i] for i in torch.arange(len(sentences))[rows].tolist())
    return Batch([{"text": Text(chosen)}], *(column[rows] for column in whole[1:5]))


def same_keys(captions: tuple[str, ...] = CAPTIONS) -> Tensor:
    return torch.tensor(
        [[i == j or (bool(a) and a == b) for j, b in enumerate(captions)] for i, a in enumerate(captions)]
    )


def naive(made: Make, scores: Tensor, same: Tensor, scale: float, bias: float = -10.0) -> Tensor:
    """The losses as they are written, a row at a time."""
    count, total = len(scores), torch.zeros((), dtype=torch.float64)
    if made is SigLIP:
        for i in range(count):
            for j in range(count):
                z = scale * scores[i, j] + bias
                total = total - F.logsigmoid(z if same[i, j] else -z)
        return total / count
    for matrix, mates in ((scores, same), (scores.t(), same.t())):
        for i in range(count):
            row = scale * matrix[i]
            total = total + (row.logsumexp(0) - row[mates[i]].mean()) / (2 * count)
    return total


@both
@pytest.mark.parametrize("similarity", [SequenceSimilarity(), SEQUENCE, SequenceSimilarity(kind="combined", chunk=9)])
def test_the_loss_is_written_out_over_similarities_of_projections(made: Make, similarity: SequenceSimilarity) -> None:
    one, view = objective(made, similarity=similarity), encoded()
    found = one([view], batch())
    projected = one.project(view)
    assert set(projected) == {"fused", "text"}
    torch.testing.assert_close(one.project({"text": view["text"]})["text"].pooled, projected["text"].pooled)
    scores = one.similarity(projected["fused"], projected["text"])
    assert scores.shape == (ROWS, ROWS)
    scale = 1 / 0.07 if made is CLIP else 10.0
    torch.testing.assert_close(found.value, naive(made, scores, same_keys(), scale), rtol=1e-7, atol=1e-7)
    assert found.logs["loss"] == found.value
    assert found.logs["left_out"] == 0
    assert set(found.logs) == {"loss", "left_out"}
    assert one.views == 1
    assert one.pairs == (("fused", "text"),)
    for name, whole in projected.items():
        torch.testing.assert_close(whole.pooled.norm(dim=1), torch.ones(ROWS, dtype=torch.float64))
        assert whole.pooled.shape == (ROWS, 16)
        assert whole.tokens.shape[1] == (1 if similarity.kind == "global" else view[name].tokens.shape[1])
    kept = one.similarity(*(Encoded(*(p[2:3] for p in projected[name][:3])) for name in ("fused", "text")))
    torch.testing.assert_close(kept[0, 0], scores[2, 2])


@both
def test_positives_are_equal_captions_groups_labels_and_windows_of_one_recording(made: Make) -> None:
    view, rows = encoded(), batch()
    one = objective(made)
    projected = one.project(view)
    scores, scale = one.similarity(projected["fused"], projected["text"]), 1 / 0.07 if made is CLIP else 10.0
    index = torch.arange(ROWS)
    for positives, same in {
        (): torch.eye(ROWS, dtype=torch.bool),
        ("group",): (index // 2).unsqueeze(1) == index // 2,
        ("label", "caption"): ((index % 3).unsqueeze(1) == index % 3) | same_keys(),
    }.items():
        found = objective(made, positives=positives)([view], rows)
        torch.testing.assert_close(found.value, naive(made, scores, same, scale), rtol=1e-7, atol=1e-7)
    twice = rows._replace(ids=torch.tensor([0, 1, 2, 3, 4, 5, 6, 0]))
    same = torch.eye(ROWS, dtype=torch.bool)
    same[0, 7] = same[7, 0] = True
    found = objective(made, positives=())([view], twice)
    torch.testing.assert_close(found.value, naive(made, scores, same, scale), rtol=1e-7, atol=1e-7)


def test_keys_of_captions_are_equal_where_sentences_are_whatever_the_process() -> None:
    keys = caption_keys(Text((*CAPTIONS, " ")), torch.zeros(1))
    assert keys.dtype == torch.int64
    shared = (keys.unsqueeze(1) == keys) & (keys >= 0)
    assert torch.equal(shared[:8, :8] | torch.eye(8, dtype=torch.bool), same_keys())
    assert keys[6] == keys[8] == -1
    assert keys[0] == 3459557431190615211, "the same on every machine"


@both
@pytest.mark.parametrize("similarity", [SequenceSimilarity(), SEQUENCE])
def test_rows_that_lack_a_side_are_left_out_of_that_pair_alone(made: Make, similarity: SequenceSimilarity) -> None:
    missing = {"text": [1, 6], "doppler_time": [0, 1, 2]}
    view, rows = encoded(missing), batch()
    more = {"similarity": similarity, "positives": ("caption", "group")}
    one = objective(made, pairs=TWO_WAYS, **more)
    found = one([view], rows)
    kept = {"fused-text": [0, 2, 3, 4, 5, 7], "range_time-doppler_time": [3, 4, 5, 6, 7]}
    values = []
    for pair, left in zip(TWO_WAYS, kept.values(), strict=True):
        alone = objective(made, pairs=(pair,), **more)
        for name in pair:
            alone.head.projections[name].weight.data = one.head.projections[name].weight.data
        values.append(alone([some(view, left)], part(rows, left)).value)
    torch.testing.assert_close(found.value, torch.stack(values).mean())
    for (name, left), value in zip(kept.items(), values, strict=True):
        torch.testing.assert_close(found.logs[f"{name}/loss"], value.detach())
        assert found.logs[f"{name}/left_out"].item() == pytest.approx(1 - len(left) / ROWS)
    assert found.logs["left_out"].item() == pytest.approx((2 + 3) / 16)
    found.value.backward()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in one.parameters())


@both
def test_a_batch_without_a_modality_is_an_error_that_names_it(made: Make) -> None:
    one = objective(made)
    with pytest.raises(ValueError, match=rf"{made.__name__}: of the 8 rows of a batch no row has 'text'"):
        one([encoded({"text": list(range(ROWS))})], batch())
    with pytest.raises(ValueError, match="no row has both 'fused' and 'text'"):
        one([encoded({"text": [0, 1, 2, 3], "fused": [4, 5, 6, 7]})], batch())
    crossed = objective(made, pairs=TWO_WAYS)
    nothing = {"range_time": list(range(ROWS)), "doppler_time": list(range(ROWS))}
    with pytest.raises(ValueError, match="no row has 'range_time' and no row has 'doppler_time'"):
        crossed([encoded(nothing)], batch())


@both
@pytest.mark.parametrize("similarity", [SequenceSimilarity(), SequenceSimilarity(kind="combined")])
def test_what_it_says_of_itself(made: Make, similarity: SequenceSimilarity) -> None:
    view, rows = encoded(), batch()
    one = objective(made, similarity=similarity)
    found = one.diagnose([view], rows)
    assert {"top1", "positive_similarity", "negative_similarity", "effective_rank", "collapse"} <= set(found)
    projected = one.project(view)
    scores = one.similarity(projected["fused"], projected["text"]).detach()
    torch.testing.assert_close(found["positive_similarity"], scores.diagonal().mean())
    torch.testing.assert_close(found["negative_similarity"], scores[~same_keys()].mean())
    beaten = scores.diagonal() > scores.masked_fill(same_keys(), -2.0).amax(1)
    torch.testing.assert_close(found["top1"], beaten.double().mean())
    assert found["temperature"].item() == pytest.approx(0.07 if made is CLIP else 0.1)
    assert ("share_temporal" in found) == (similarity.kind == "combined")
    if made is CLIP:
        flat = torch.zeros(ROWS, ROWS, dtype=torch.float64)
        torch.testing.assert_close(found["collapse"], naive(CLIP, flat, same_keys(), 1.0))
    else:
        assert found["bias"].item() == -10
        # The least that one answer to all questions can give, tried out.
        flat = torch.ones(ROWS, ROWS, dtype=torch.float64)
        tried = min(float(naive(SigLIP, flat, same_keys(), 0.0, b)) for b in torch.arange(-4, 1, 0.01).tolist())
        assert found["collapse"].item() == pytest.approx(tried, abs=1e-4)
    crossed = objective(made, pairs=TWO_WAYS, similarity=similarity).diagnose([view], rows)
    assert {"top1", "fused-text/top1", "range_time-doppler_time/top1", "collapse"} <= set(crossed)
    lonely = one.diagnose([encoded({"text": list(range(1, ROWS))})], rows)
    assert math.isnan(lonely["top1"].item())


def test_temperature_is_fixed_or_learned_and_clamped() -> None:
    one = objective(CLIP)
    one([encoded()], batch()).value.backward()
    assert one.log_scale.grad is not None
    assert one.log_scale.grad != 0
    with torch.no_grad():
        one.log_scale.fill_(20.0)
    assert one.scale().item() == pytest.approx(100.0)
    fixed = objective(CLIP, tempering="fixed")
    assert not fixed.log_scale.requires_grad
    two = objective(SigLIP)
    two([encoded()], batch()).value.backward()
    assert two.bias.grad is not None
    assert two.bias.grad < 0, "too many questions are answered by no at first"


@both
@pytest.mark.parametrize("kind", ["global", "local"])
def test_it_learns_which_belong_together(made: Make, kind: Any) -> None:
    torch.manual_seed(1)
    one = objective(made, similarity=SequenceSimilarity(kind=kind), positives=())
    view, rows = encoded(), batch()
    optimizer = torch.optim.Adam(one.parameters(), lr=0.05)
    for _ in range(60):
        loss = one([view], rows)
        optimizer.zero_grad()
        loss.value.backward()
        optimizer.step()
    found = one.diagnose([view], rows)
    assert found["top1"] == 1.0
    assert loss.value < 0.3 * found["collapse"]


@both
def test_what_cannot_be_compared_is_refused(made: Make) -> None:
    with pytest.raises(ValueError, match="no output 'words'; there are range_time, doppler_time, text, fused"):
        made(SPEC, pairs=(("fused", "words"),))
    with pytest.raises(ValueError, match="give pairs of two outputs"):
        made(SPEC, pairs=())
    with pytest.raises(ValueError, match="give pairs of two outputs"):
        made(SPEC, pairs=(("text", "text"),))
    with pytest.raises(ValueError, match="each once"):
        made(SPEC, pairs=(("text", "fused"), ("fused", "text")))
    with pytest.raises(ValueError, match=r"temperature is 0\.001; choose at least 0\.01"):
        made(SPEC, temperature=0.001)
    with pytest.raises(ValueError, match="width is 0"):
        made(SPEC, width=0)


@both
def test_a_recipe_spells_pairs_and_similarity(made: Make) -> None:
    assert choices(Objective)[made.__name__] is made
    settings = {
        "pairs": [["fused", "text"], ["range_time", "doppler_time"]],
        "similarity": {"kind": "combined", "weighting": "learned"},
        "positives": ["caption", "group"],
    }
    one = made(SPEC, **keywords(made, settings))
    assert one.pairs == TWO_WAYS
    assert [name for name, weight in one.named_parameters() if "logits" in name and weight.requires_grad]
    with pytest.raises(config.ConfigError, match="kind"):
        keywords(made, {"similarity": {"kind": "cosine"}})


CASES: dict[str, Make] = {
    "clip": CLIP,
    "clip, pairs": partial(CLIP, pairs=TWO_WAYS, positives=("caption", "group")),
    "clip, temporal": partial(CLIP, similarity=SEQUENCE),
    "clip, combined": partial(CLIP, similarity=SequenceSimilarity(kind="combined", weighting="learned", chunk=7)),
    "siglip": SigLIP,
    "siglip, ring": partial(SigLIP, exchange="ring"),
    "siglip, local": partial(SigLIP, similarity=SequenceSimilarity(kind="local")),
}
GAPS = {"none": {}, "some": {"text": [1, 4, 5, 6], "doppler_time": [0, 1, 2]}}


class Whole(nn.Module):
    """An objective as a wrapper for several ranks wants it, and a layer below it that learns too."""

    def __init__(self, make: Make) -> None:
        super().__init__()
        self.objective = objective(make)
        self.below = nn.Linear(4, 4, dtype=torch.float64)

    def forward(self, view: dict[str, Encoded], rows: Batch) -> Tensor:
        text = view["text"]
        text = Encoded(self.below(text.tokens.nan_to_num()), text.mask, self.below(text.pooled.nan_to_num()))
        found: Loss = self.objective([view | {"text": text}], rows)
        return found.value


def result(whole: nn.Module, value: Tensor) -> list[Tensor]:
    value.backward()  # type: ignore[no-untyped-call]
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for _, p in sorted(whole.named_parameters())]
    return [value.detach(), *grads]


def _rank(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/init", rank=rank, world_size=world)
    share = slice(rank * ROWS // world, (rank + 1) * ROWS // world)
    results: dict[str, list[Tensor]] = {}
    for gap, missing in GAPS.items():
        for name, make in CASES.items():
            view = some(encoded(missing), share)
            # Ranks fill up to the longest sentence of their own rows, so that they differ in tokens.
            most = int(view["text"].mask.sum(1).max()) or 1
            text = view["text"]
            view["text"] = Encoded(text.tokens[:, :most], text.mask[:, :most], text.pooled)
            whole = DistributedDataParallel(Whole(make))
            results[f"{name}, {gap}"] = result(whole, whole(view, part(batch(), share)))
    one = objective(CLIP)
    empty = encoded({"text": list(range(ROWS))})
    with pytest.raises(ValueError, match="of the 8 rows of a batch no row has 'text'"):
        one([some(empty, share)], part(batch(), share))
    # One rank alone lacks all sentences: the others go on, and so does it.
    half = encoded({"text": list(range(ROWS // world))})
    results["a rank without"] = [one([some(half, share)], part(batch(), share)).value.detach()]
    results["collapse"] = [one.diagnose([some(encoded(), share)], part(batch(), share))["collapse"]]
    torch.save(results, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[Tensor]]]:
    """What each of two processes computed from its half of the batch."""
    folder = tmp_path_factory.mktemp("ranks")
    spawn(_rank, args=(2, str(folder)), nprocs=2)  # type: ignore[no-untyped-call]
    return [torch.load(Path(folder) / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("name", CASES)
def test_two_ranks_give_the_loss_and_gradients_of_one_process(
    ranks: list[dict[str, list[Tensor]]], name: str, gap: str
) -> None:
    whole = Whole(CASES[name])
    expected = result(whole, whole(encoded(GAPS[gap]), batch()))
    found = [one[f"{name}, {gap}"] for one in ranks]
    torch.testing.assert_close((found[0][0] + found[1][0]) / 2, expected[0], rtol=1e-9, atol=1e-9)
    for rank in found:
        assert len(rank) == len(expected)
        for mine, theirs in zip(rank[1:], expected[1:], strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-9)
    assert any(gradient.abs().max() > 1e-3 for gradient in expected[1:])


def test_a_rank_without_a_sentence_of_its_own_goes_on(ranks: list[dict[str, list[Tensor]]]) -> None:
    mean = sum(float(one["a rank without"][0]) for one in ranks) / 2
    expected = objective(CLIP)([encoded({"text": [0, 1, 2, 3]})], batch()).value.item()
    assert mean == pytest.approx(expected, rel=1e-9)
    assert ranks[0]["collapse"][0].item() == pytest.approx(math.log(ROWS)), "over both ranks"
