"""The encoder of stays: what may change its output and what may not."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from counterpoint.encoders.event_statistics import KINDS, EventStatistics
from counterpoint.encoders.parallel import Parallel
from counterpoint.encoders.resnet import ResNet1d
from counterpoint.encoders.set_sequence import SequenceLayers, SetLayers, SetSequence
from counterpoint.encoders.sets import InducedSetAttention, SetPooling
from counterpoint.encoders.variables import CachedVariables, NamedVariables
from counterpoint.fusion import Concat
from counterpoint.keys import hashed_normal
from counterpoint.model import build_model
from counterpoint.ragged import Ragged
from counterpoint.types import Encoded, Events, EventSpec, SignalSpec
from sets_world import SPEC, VARIABLES, Row, pack, stay

ROWS = [stay(seed) for seed in range(32)]


def encoder(dtype: torch.dtype = torch.float64, **settings: object) -> SetSequence:
    torch.manual_seed(0)
    small = {"dim": 16, "latent": 8, "sets": SetLayers(dim=12, heads=2, points=3), "sequence": SequenceLayers(heads=2)}
    return SetSequence(SPEC, **(small | settings)).to(dtype)  # type: ignore[arg-type]


def real(encoded: Encoded, row: int) -> list[Tensor]:
    """Tokens, pooled and latent of a row without padding."""
    assert encoded.latent is not None
    mask = encoded.mask[row]
    return [encoded.tokens[row, mask], encoded.pooled[row], *(part[row, mask] for part in encoded.latent)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_a_batch_equals_its_rows_one_by_one(dtype: torch.dtype, tolerance: float, training: bool) -> None:
    model = encoder(dtype).train(training)
    keys = [5 + 3 * i for i in range(32)]
    together = model(pack(ROWS, keys, dtype))
    for row in range(32):
        alone = model(pack([ROWS[row]], [keys[row]], dtype))
        for ours, theirs in zip(real(together, row), real(alone, 0), strict=True):
            assert torch.allclose(ours, theirs, atol=tolerance, rtol=0)


def test_batch_mates_and_their_order_change_nothing() -> None:
    model, keys = encoder().train(), list(range(32))
    together = model(pack(ROWS, keys))
    order = torch.randperm(32, generator=torch.Generator().manual_seed(3)).tolist()
    shuffled = model(pack([ROWS[i] for i in order], order))
    for place, row in enumerate(order):
        for ours, theirs in zip(real(together, row), real(shuffled, place), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-12)
    assert (together.tokens[~together.mask] == 0).all()


def shuffled_events(row: Row, seed: int) -> Row:
    generator = torch.Generator().manual_seed(seed)
    return [(time, [events[i] for i in torch.randperm(len(events), generator=generator)]) for time, events in row]


def test_events_of_a_set_have_no_order_and_sets_have_one() -> None:
    model = encoder().eval()
    row = stay(4, sets=20)
    plain = model(pack([row]))
    assert torch.allclose(plain.tokens, model(pack([shuffled_events(row, 1)])).tokens, atol=1e-12)
    contents = [events for _, events in row]
    swapped = [(time, events) for (time, _), events in zip(row, contents[::-1], strict=True)]
    assert (plain.pooled - model(pack([swapped])).pooled).abs().max() > 1e-3


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_the_future_changes_nothing_before_it(training: bool) -> None:
    model = encoder().train(training)
    past, other = stay(5, sets=30), stay(6, sets=50)
    later = [(past[11][0] + 1 + time, events) for time, events in other]
    first = model(pack([past], [9]))
    for changed in (past[:12], past[:12] + later):
        second = model(pack([changed], [9]))
        assert torch.allclose(first.tokens[:, :12], second.tokens[:, :12], atol=1e-12)
        assert first.latent is not None
        assert second.latent is not None
        assert torch.allclose(first.latent.sample[:, :12], second.latent.sample[:, :12], atol=1e-12)
    gradient = torch.autograd.grad(model(with_gradient := grown(past)).tokens[0, 11, 0], with_gradient.values)[0]
    border = int(with_gradient.sets[12])
    assert (gradient[border:] == 0).all()
    assert (gradient[:border] != 0).any()


def grown(row: Row) -> Events:
    events = pack([row], [9])
    return events._replace(values=events.values.clone().requires_grad_())


def test_a_row_without_sets_is_a_missing_modality() -> None:
    model = encoder().eval()
    encoded = model(pack([ROWS[0], [], ROWS[1]]))
    assert encoded.mask.sum(1).tolist() == [len(ROWS[0]), 0, len(ROWS[1])]
    assert (encoded.pooled[1] == 0).all()
    assert torch.allclose(encoded.pooled[2], model(pack([ROWS[1]])).pooled[0], atol=1e-12)


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_pooling(pooling: str) -> None:
    encoded = encoder(pooling=pooling).eval()(pack(ROWS[:4]))
    for row in range(4):
        tokens = encoded.tokens[row, encoded.mask[row]]
        assert torch.allclose(encoded.pooled[row], tokens.mean(0) if pooling == "mean" else tokens[-1], atol=1e-12)


def test_the_mean_value_keeps_its_variable() -> None:
    model = encoder().eval()
    tokens = [model(pack([[(0.0, [(code, 0.0)])]])).pooled[0] for code in range(3)]
    for one, two in ((0, 1), (0, 2), (1, 2)):
        assert (tokens[one] - tokens[two]).abs().max() > 1e-3


def naive_attention(heads: torch.nn.Module, queries: Tensor, told: Tensor) -> Tensor:
    """Multi-head attention of (Q, D) on (L, D), a head and a query at a time."""
    q, (k, v) = heads.query(queries), heads.key_value(told).chunk(2, 1)  # type: ignore[operator]
    width = q.shape[1] // heads.heads  # type: ignore[operator]
    out = torch.zeros_like(q)
    for start in range(0, q.shape[1], width):
        part = slice(start, start + width)
        for row in range(len(q)):
            weights = (k[:, part] @ q[row, part] / width**0.5).softmax(0)
            out[row, part] = weights @ v[:, part]
    return heads.out(out)  # type: ignore[operator, no-any-return]


def test_induced_attention_and_pooling_are_those_of_the_paper() -> None:
    torch.manual_seed(1)
    layer, pool = InducedSetAttention(12, 2, 4).double(), SetPooling(12, 3).double()
    events = pack(ROWS[:3])
    sets = Ragged(events.sets)
    x = torch.randn(len(events.values), 12, dtype=torch.float64)
    out, pooled = layer(x, sets), pool(x, sets)
    for start, stop, number in zip(events.sets[:-1].tolist(), events.sets[1:].tolist(), range(10**6), strict=False):
        part, normed = x[start:stop], layer.norm(x[start:stop])
        hidden = layer.after_read(layer.points, naive_attention(layer.read, layer.points, normed))
        expected = layer.after_write(part, naive_attention(layer.write, normed, hidden))
        assert torch.allclose(out[start:stop], expected, atol=1e-12)
        read = naive_attention(pool.read, pool.seed, pool.norm(part))
        assert torch.allclose(pooled[number], pool.after(pool.seed, read)[0], atol=1e-12)


def test_noise_is_normal_and_hangs_on_key_and_place_alone() -> None:
    keys, places = torch.arange(400) * 7919, torch.arange(400) % 37
    noise = hashed_normal(keys, places, 64)
    assert torch.equal(hashed_normal(keys[10:20], places[10:20], 64), noise[10:20])
    assert abs(float(noise.mean())) < 0.02
    assert abs(float(noise.std()) - 1) < 0.02
    assert abs(float((noise**4).mean()) - 3) < 0.15
    other = hashed_normal(keys, places + 1, 64)
    for one, two in ((noise, other), (noise[:-1], noise[1:]), (noise[:, :-1], noise[:, 1:])):
        assert abs(float((one * two).mean())) < 0.03


def write_table(path: Path, variables: tuple[str, ...], width: int = 5) -> Path:
    lines = ["Key," + ",".join(str(i) for i in range(width))]
    lines += [
        name + "," + ",".join(str(i * j % 7 + 0.5 * (i == j)) for j in range(width)) for i, name in enumerate(variables)
    ]
    path.write_text("\n".join(lines))
    return path


def test_vectors_of_variables_from_a_table(tmp_path: Path) -> None:
    path = write_table(tmp_path / "cached.csv", SPEC.variables[::-1])
    model = encoder(variables=partial(CachedVariables, table=path)).eval()
    assert model(pack(ROWS[:2])).pooled.shape == (2, 16)
    write_table(path, SPEC.variables[:-1])
    with pytest.raises(ValueError, match=r"cached\.csv: has no row for 1 of 7 variables: v6"):
        encoder(variables=partial(CachedVariables, table=path))
    path.write_text("name,a\nv0,1")
    with pytest.raises(ValueError, match="needs a column 'Key'"):
        encoder(variables=partial(CachedVariables, table=path))


def text_encoder(folder: Path) -> str:
    """A small BERT of random weights with a vocabulary of four words, saved as the library saves one."""
    from transformers import BertConfig, BertModel, BertTokenizer

    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "heart", "pulse", "rate", "urine"]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(words), **size)).save_pretrained(folder)
    return str(folder)


def test_vectors_of_variables_from_their_names(tmp_path: Path) -> None:
    model = text_encoder(tmp_path / "bert")
    spec = EventSpec(("HR", "heart rate", "Urine"), 10, 5)
    named = NamedVariables(spec, 8, model=model, names={"HR": "heart rate"})
    assert torch.allclose(named.vectors[0], named.vectors[1], atol=1e-6), "the same name, padded by others"
    assert (named.vectors[0] - named.vectors[2]).abs().max() > 0.1
    assert named().shape == (3, 8)
    assert encoder(variables=partial(NamedVariables, model=model))(pack(ROWS[:2])).pooled.shape == (2, 16)
    with pytest.raises(ValueError, match="no variable 'Age'"):
        NamedVariables(spec, 8, model=model, names={"Age": "age"})
    with pytest.raises(ValueError, match="neither a folder nor reachable"):
        NamedVariables(spec, 8, model=str(tmp_path / "nothing"))


def test_an_encoder_of_signals_is_refused_for_events_and_the_reverse() -> None:
    with pytest.raises(ValueError, match="ResNet1d reads regular signals and the modality brings irregular events"):
        build_model({"events": SPEC}, {"events": ResNet1d}, Concat)
    with pytest.raises(ValueError, match="SetSequence reads irregular events"):
        build_model({"tone": SignalSpec(1, 32, 1.0)}, {"tone": SetSequence}, Concat)


def test_statistics_of_every_variable_against_plain_loops() -> None:
    model = EventStatistics(SPEC, late=6.0)
    rows = [*ROWS[:5], [], [(3.0, [(2, 1.0), (2, 3.0)])]]
    found = model(pack(rows)).pooled.view(len(rows), len(KINDS), VARIABLES)
    for place, row in enumerate(rows):
        for code in range(VARIABLES):
            own = [(time, value) for time, events in row for c, value in events if c == code]
            if not own:
                assert (found[place, :, code] == 0).all()
                continue
            times, values = np.array(own).T
            last, span = row[-1][0], max(row[-1][0] - row[0][0], 1e-6)
            late = times > last - 6.0
            expected = [
                values.mean(),
                values.std(),
                values.min(),
                values.max(),
                values[times == times[0]].mean(),
                values[times == times[-1]].mean(),
                np.log1p(len(values)),
                (last - times[-1]) / span,
                values[~late].mean() if (~late).any() else 0.0,
                values[late].mean() if late.any() else 0.0,
            ]
            assert np.allclose(found[place, :, code].numpy(), expected, atol=1e-7), (place, code)


def test_branches_side_by_side() -> None:
    learned = partial(SetSequence, dim=16, latent=8, sets=SetLayers(dim=12, points=3), sequence=SequenceLayers(heads=2))
    torch.manual_seed(0)
    both = Parallel(SPEC, branches=[learned, EventStatistics]).double().eval()
    encoded = both(pack(ROWS[:4]))
    first, second = (branch(pack(ROWS[:4])) for branch in both.branches)
    assert (both.dim, both.latent) == (16 + 10 * VARIABLES, 8)
    assert torch.equal(encoded.pooled, torch.cat([first.pooled, second.pooled], 1))
    assert torch.equal(encoded.tokens[..., :16], first.tokens)
    assert (encoded.tokens[..., 16:] == 0).all()
    assert encoded.latent is not None
    with pytest.raises(ValueError, match=r"Parallel\.branches\[1\]: ResNet1d reads regular signals"):
        Parallel(SPEC, branches=[learned, ResNet1d])
