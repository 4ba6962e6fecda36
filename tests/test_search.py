"""Search: what is found is what the model finds, light encoders answer as it does, and they need no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from clips_world import CHANNELS, RECIPE, ClipData, caption
from counterpoint import run
from counterpoint.alignment.outputs import outputs, similarity_of, told
from counterpoint.cli import app
from counterpoint.data.radar import Frames, RadarClips
from counterpoint.data.radar.normalise import Normalise
from counterpoint.data.radar.single import Reading
from counterpoint.encoders.pretrained import TextEncoder
from counterpoint.encoders.radar import RadarEncoder
from counterpoint.evaluate.retrieval import Retrieval
from counterpoint.evaluation import Evaluation
from counterpoint.objectives import CLIP
from counterpoint.objectives.sequence_similarity import SequenceSimilarity
from counterpoint.recipe import Recipe, load, of_run
from counterpoint.search import answer, exporting
from counterpoint.search.index import Hit, Index, best
from counterpoint.search.towers import ClipTower, TextTower
from counterpoint.settings import Monitor, Trainer
from counterpoint.types import Signal

QUICK = Trainer(epochs=2, batch_size=30, monitor=Monitor(log_every=10))
PLUGINS = ["clips_world"]


def trained(folder: Path, **objective: Any) -> Path:
    recipe = replace(
        RECIPE,
        trainer=QUICK,
        objective=partial(CLIP, width=16, **objective),
        evaluation=Evaluation(retrieval=Retrieval(ks=(1, 5))),
        data=partial(ClipData, labelled=False),
    )
    run.train(recipe, folder)
    return folder


@pytest.fixture(scope="module")
def cosines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "cosines")


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "sequences", similarity=SequenceSimilarity(kind="local"))


def test_the_best_are_the_largest_and_of_equal_ones_the_first() -> None:
    scores = np.array([0.1, 0.5, -1.0, 0.5, 0.3])
    assert best(scores, 3) == [Hit(1, 0.5), Hit(3, 0.5), Hit(4, 0.3)]
    assert len(best(scores, 99)) == 5


def by_model(folder: Path, recipe_of: Recipe, sentence: str) -> tuple[list[int], list[list[int]]]:
    """Rows from best to worst for a sentence, and for every row, straight from the model."""
    data = recipe_of.data()
    model, objective = load(folder / "cells" / "all-seed0", data, recipe_of)
    sides = outputs(model, objective, data.evaluation("all", "test")).sides
    compare = similarity_of(objective)
    with torch.inference_mode():
        scores = compare(sides["fused"], told(model, objective, "text", [sentence]))[:, 0]
        among = compare(sides["fused"], sides["fused"]).fill_diagonal_(-9)
    return scores.argsort(descending=True).tolist(), among.argsort(dim=1, descending=True).tolist()


@pytest.mark.parametrize("kind", ["cosines", "sequences"])
def test_answers_are_those_of_the_model(kind: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(kind)
    sentence = "somebody does boxing near"
    ranked, among = by_model(folder, of_run(folder, PLUGINS), sentence)
    index = Index.load(folder)
    assert index.by_cosine == (kind == "cosines")
    assert [row.name for row in index.rows] == [f"clip-{i:03d}" for i in range(60, 100)]
    assert [row.caption for row in index.rows] == [caption(i) for i in range(60, 100)]
    lines = answer(folder, text=sentence, k=4, plugins=PLUGINS).splitlines()
    assert lines[0] == f"{sentence!r} among 40:"
    assert [line.split()[2] for line in lines[1:5]] == [f"clip-{60 + row:03d}" for row in ranked[:4]]
    assert lines[5].startswith("(answered with torch")
    for row in (0, 17, 39):
        assert [hit.row for hit in index.like(row, 5)] == among[row][:5]
    told_of = answer(folder, like="clip-077", k=2)
    assert [line.split()[2] for line in told_of.splitlines()[1:3]] == [f"clip-{60 + row:03d}" for row in among[17][:2]]
    assert "torch" not in told_of


def test_the_picture_shows_the_views_of_the_hits(cosines: Path, tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "found.png"
    text = answer(cosines, like="clip-060", k=3, out=path)
    assert text.endswith(f"Picture: {path}")
    with Image.open(path) as picture:
        colours = np.asarray(picture.convert("RGB"))
    index = Index.load(cosines)
    assert index.facts["views"] == ["near", "side"]
    pictures = index.pictures()
    assert pictures.shape == (40, 2, 48, 64)
    # Clip 65 lacks the second view, and what it lacks is black.
    assert pictures[5, 0].max() == 255
    assert not pictures[5, 1].any()
    signal = ClipData().evaluation("all", "test").recorded("near", [0])
    assert isinstance(signal, Signal)
    rising = pictures[0, 0].reshape(CHANNELS, 16, 64).mean(1)[::-1]
    expected = torch.nn.functional.adaptive_avg_pool1d(signal.values[0].T.unsqueeze(0), 64)[0].numpy()
    assert np.corrcoef(rising.ravel(), expected.ravel())[0, 1] > 0.98
    assert colours.shape == (40 + 3 * (40 + 192 + 12), 12 + 2 * (256 + 12), 3)
    assert {tuple(colour) for colour in colours[90:260, 20:250].reshape(-1, 3)[::7]} >= {(0, 0, 4)}


def test_what_cannot_be_answered_is_told(cosines: Path, tmp_path: Path) -> None:
    runner = CliRunner()

    def said(*arguments: str) -> str:
        result = runner.invoke(app, ["search", *arguments])
        assert result.exit_code == 1
        return " ".join(result.stderr.split())

    assert "no search index; set evaluation.retrieval" in said(str(tmp_path), "--text", "a")
    assert "give either --text SENTENCE or --like" in said(str(cosines))
    assert "give either --text SENTENCE or --like" in said(str(cosines), "--text", "a", "--like", "clip-060")
    assert "-k is 0" in said(str(cosines), "--text", "a", "-k", "0")
    assert "one of the 40 ids of the index, such as clip-077" in said(str(cosines), "--like", "clip-0777")
    file = tmp_path / "clip.npz"
    file.write_bytes(b"")
    assert "ClipData does not read single files" in said(str(cosines), "--like", str(file))
    index = cosines / "index" / "index.json"
    facts = index.read_text()
    index.write_text(json.dumps(json.loads(facts) | {"version": 0}))
    assert "an index of another version" in said(str(cosines), "--like", "clip-060")
    index.write_text(json.dumps(json.loads(facts) | {"text": ""}))
    assert "compares no text with anything" in said(str(cosines), "--text", "a")
    index.write_text(facts)


BINS = {"range_time": 6, "doppler_time": 4, "azimuth_time": 5}
FRAMES = Frames(longest=48, shortest=16, unit=8)


def radar(root: Path, clips: int = 20) -> Path:
    """Clips of 20 to 60 frames; every fifth lacks its last view."""
    draw = np.random.default_rng(0)
    parts: dict[str, dict[str, Any]] = {"train": {}, "val": {}, "test": {}}
    (root / "clips").mkdir(parents=True)
    for clip in range(clips):
        frames = int(draw.integers(20, 60))
        views = {name: draw.gamma(1.0, 1 + clip % 4, (bins, frames)) for name, bins in BINS.items()}
        if clip % 5 == 4:
            del views["azimuth_time"]
        np.savez(root / "clips" / f"c{clip:02d}.npz", **views)
        part = "train" if clip < 10 else "val" if clip < 12 else "test"
        entry = {"filefolder": "clips", "fileindex": f"c{clip:02d}", "captions": [f"a person walks {clip % 4}"]}
        parts[part][f"c{clip:02d}"] = entry | {"group": f"g{clip}"}
    for name, entries in parts.items():
        (root / f"{name}.json").write_text(json.dumps(entries))
    return root


@pytest.mark.parametrize("how", ["log1p", "log10_max", "per_frame", "none"])
def test_a_file_is_read_as_the_collection_reads_it(tmp_path: Path, how: Normalise) -> None:
    root = radar(tmp_path / "radar", clips=16)
    data = RadarClips(root=root, frames=FRAMES, normalise=how)
    (tmp_path / "kept").mkdir()
    Reading.of(data, data.folds[0]).save(tmp_path / "kept")
    reading = Reading.load(tmp_path / "kept")
    rows = data.evaluation(data.folds[0], "test")
    for row, clip in enumerate(rows.ids.tolist()):
        found = reading.read(root / "clips" / f"{data.names[clip]}.npz")
        for name in BINS:
            signal = rows.recorded(name, [row])
            assert isinstance(signal, Signal)
            assert signal.mask is not None
            assert bool(signal.mask.any()) == (name in found)
            if name in found:
                np.testing.assert_array_equal(found[name], signal.values[0][signal.mask[0]].numpy())


def test_a_file_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    data = RadarClips(root=radar(tmp_path / "radar", clips=16), frames=FRAMES)
    reading = Reading.of(data, data.folds[0])
    file = tmp_path / "odd.npz"
    for views, message in (
        ({"range_time": np.ones((9, 30))}, "range_time: 9 bins, where 6 were trained on"),
        ({"range_time": np.ones((6, 12))}, "range_time 12; all views have as many, at least 16"),
        ({"range_time": np.ones((6, 30)), "doppler_time": np.ones((4, 31))}, "all views have as many"),
        ({"other": np.ones((6, 30))}, "no view: it has none of range_time"),
    ):
        np.savez(file, **views)
        with pytest.raises(ValueError, match=f"odd.npz: .*{message}"):
            reading.read(file)


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on radar clips with a small language model, whose index has light encoders."""
    for name in ("onnx", "onnxruntime", "onnxscript", "transformers", "tokenizers"):
        pytest.importorskip(name, reason="the extras onnx and hf are not installed")
    folder = tmp_path_factory.mktemp("light")
    _language_model(folder / "bert")
    encoder = partial(RadarEncoder, dim=16, width=8, stride=4, kernel=5, heads=2)
    recipe = Recipe(
        data=partial(RadarClips, root=radar(folder / "radar"), frames=FRAMES),
        encoders={**dict.fromkeys(BINS, encoder), "text": partial(TextEncoder, weights=str(folder / "bert"), dim=16)},
        fused=list(BINS),
        objective=partial(CLIP, width=16),
        trainer=Trainer(epochs=2, batch_size=5, monitor=Monitor(log_every=2)),
        evaluation=Evaluation(retrieval=Retrieval(ks=(1,))),
    )
    run.train(recipe, folder / "run")
    return folder


def _language_model(folder: Path) -> None:
    import tokenizers
    import transformers

    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words = {word: i for i, word in enumerate([*marks, "a", "person", "walks", "0", "1", "2", "3"])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    # As published files do, it asks for padding, which nobody wants here.
    made.enable_padding(length=20)
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), marks, strict=True))
    transformers.PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=64, **names).save_pretrained(folder)
    torch.manual_seed(0)
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.BertConfig(vocab_size=len(words), max_position_embeddings=80, **size)
    transformers.BertModel(config).save_pretrained(folder)


def test_light_encoders_answer_as_the_model_does(light: Path) -> None:
    index = Index.load(light / "run")
    assert index.facts["missing"] == {"text.onnx": "", "clip.onnx": ""}
    recipe = of_run(light / "run")
    data = recipe.data()
    model, objective = load(light / "run" / "cells" / "main-seed0", data, recipe)
    sentences = ["a person walks 2", "walks", "a zebra , unheard of , and " + "a person walks " * 40]
    expected = torch.nn.functional.normalize(told(model, objective, "text", sentences).pooled, dim=1).numpy()
    tower = TextTower(index.folder)
    for sentence, row in zip(sentences, expected, strict=True):
        assert tower.numbers(sentence) == model.encoders["text"].vocabulary(sentence)
        np.testing.assert_allclose(tower(sentence), row, atol=1e-4)
    encode = ClipTower(index.folder)
    reading = Reading.load(index.folder)
    for row, known in enumerate(index.rows):
        found = encode(reading.read(light / "radar" / "clips" / f"{known.name}.npz"))
        np.testing.assert_allclose(found, index.vectors[row], atol=1e-4)


def test_an_encoder_that_answers_otherwise_is_not_kept(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    file = tmp_path / "text.onnx"

    def export() -> None:
        file.write_bytes(b"graph")

    def unknown() -> None:
        export()
        raise RuntimeError("no such\n  operator")

    assert exporting._kept(file, export, lambda: 1e-6) == ""
    assert file.is_file()
    assert exporting._kept(file, export, lambda: 0.25) == "what was exported differs by 0.25 from the model"
    assert not file.is_file()
    assert exporting._kept(file, export, lambda: float("nan")).startswith("what was exported differs by nan")
    assert exporting._kept(file, unknown, lambda: 0.0) == "it could not be exported: no such operator"
    assert not file.is_file()
    assert "could not be exported" in exporting._kept(file, export, lambda: float(TextTower(tmp_path)("a").max()))


def test_light_answers_need_no_torch(light: Path) -> None:
    """Neither for a sentence nor for an id nor for a file."""
    file = light / "radar" / "clips" / "c15.npz"
    script = (
        "import sys; from pathlib import Path; from counterpoint.search import answer\n"
        f"print(answer(Path({str(light / 'run')!r}), text='a person walks 3', k=3))\n"
        f"print(answer(Path({str(light / 'run')!r}), like='c15', k=3))\n"
        f"print(answer(Path({str(light / 'run')!r}), like={str(file)!r}, k=1))\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules, sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "answered with torch" not in done.stdout
    found = done.stdout.splitlines()
    assert found[-2].split()[1:3] == ["1.000", "c15"]
    assert found[-1].startswith("Picture: ")


def test_without_a_light_encoder_the_model_is_asked_and_says_the_same(light: Path) -> None:
    questions: list[dict[str, str]] = [
        {"text": "a person walks 1"},
        {"like": str(light / "radar" / "clips" / "c14.npz")},
    ]
    quick = [answer(light / "run", **asked, k=4).splitlines() for asked in questions]
    path = light / "run" / "index" / "index.json"
    facts = path.read_text()
    gone = {"missing": {"text.onnx": "it could not be exported", "clip.onnx": "it could not be exported"}}
    path.write_text(json.dumps(json.loads(facts) | gone))
    try:
        slow = [answer(light / "run", **asked, k=4).splitlines() for asked in questions]
    finally:
        path.write_text(facts)
    for one, other in zip(quick, slow, strict=True):
        assert other[5] == "(answered with torch, which takes seconds to import: it could not be exported)"
        assert [line.split()[:3] for line in one[1:5]] == [line.split()[:3] for line in other[1:5]]
