"""Pre-trained encoders, on small random models of the library's own classes saved to disk and loaded by folder."""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from counterpoint.config.build import keywords
from counterpoint.config.problems import ConfigError
from counterpoint.config.signature import choices
from counterpoint.encoders.base import Encoder
from counterpoint.encoders.pretrained import ASTEncoder, DINOv2Encoder, Inference, Pretrained, VJEPA2Encoder
from counterpoint.encoders.pretrained.audio import SpectrogramPooling
from counterpoint.encoders.pretrained.image import Photographs
from counterpoint.encoders.pretrained.pictures import MEAN, STD, Normalisation, Pixels, prepare
from counterpoint.encoders.pretrained.video import VideoPooling
from counterpoint.types import Features, Images, ImageSpec, Signal, SignalSpec

hub = pytest.importorskip("transformers", reason="the extra hf is not installed")

FRAMES = ImageSpec(frames=6, height=40, width=48, rate=10.0)
PHOTOS = ImageSpec(frames=3, height=40, width=48, rate=0.0)
MEL = SignalSpec(channels=32, length=48, rate=0.0)
Make = Callable[..., Pretrained]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small model of each class on disk, every weight random and every dropout at a half."""
    dropped = {"hidden_dropout_prob": 0.5, "attention_probs_dropout_prob": 0.5}
    small = {"num_attention_heads": 2, "num_hidden_layers": 2}
    models = {
        "video": hub.VJEPA2Model(
            hub.VJEPA2Config(
                **small,
                hidden_size=48,
                crop_size=64,
                drop_path_rate=0.5,
                pred_hidden_size=24,
                pred_num_attention_heads=2,
                pred_num_hidden_layers=1,
            )
        ),
        "photos": hub.Dinov2Model(hub.Dinov2Config(**small, **dropped, hidden_size=32, image_size=56)),
        "audio": hub.ASTModel(
            hub.ASTConfig(
                **small,
                **dropped,
                hidden_size=32,
                intermediate_size=64,
                max_length=104,
                num_mel_bins=32,
                frequency_stride=14,
                time_stride=14,
            )
        ),
    }
    generator = torch.Generator().manual_seed(1)
    root = tmp_path_factory.mktemp("weights")
    for name, model in models.items():
        with torch.no_grad():
            for weight in model.parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.2)
        model.save_pretrained(root / name)
    return {name: root / name for name in models}


def make_all(saved: dict[str, Path]) -> dict[str, Make]:
    pixels = Pixels(size=32, edge=32)
    photographs = partial(DINOv2Encoder, PHOTOS, weights=str(saved["photos"]), dim=8, pixels=Pixels(size=28, edge=32))
    return {
        "video": partial(
            VJEPA2Encoder,
            FRAMES,
            weights=str(saved["video"]),
            dim=8,
            pixels=pixels,
            pooling=VideoPooling(time=2, space=1),
        ),
        "photos": photographs,
        "patches": partial(photographs, photographs=Photographs(tokens="patches", space=1, aggregation="attention")),
        "audio": partial(
            ASTEncoder, MEL, weights=str(saved["audio"]), dim=8, pooling=SpectrogramPooling(time=2, frequency=1)
        ),
    }


@pytest.fixture(params=["video", "photos", "patches", "audio"])
def case(request: pytest.FixtureRequest, saved: dict[str, Path]) -> tuple[str, Make]:
    return request.param, make_all(saved)[request.param]


def pictures(rows: int, count: int, height: int = 40, width: int = 48) -> Tensor:
    generator = torch.Generator().manual_seed(rows)
    return torch.randint(0, 256, (rows, count, 3, height, width), generator=generator, dtype=torch.uint8)


def batch(name: str, missing: tuple[int, ...] = (), rows: int = 4) -> Images | Signal:
    """Four rows, of which some lack the modality."""
    present = torch.ones(rows, dtype=torch.bool)
    present[list(missing)] = False
    if name == "audio":
        values = torch.randn(rows, 48, 32, generator=torch.Generator().manual_seed(0)) * 4 - 4
        mask = present.unsqueeze(1).expand(-1, 48)
        return Signal(values.masked_fill(~mask.unsqueeze(2), float("nan")), mask)
    count = 6 if name == "video" else 3
    mask = present.unsqueeze(1).repeat(1, count)
    mask[-1, count - 1 :] = False
    return Images(pictures(rows, count), mask)


def some(modality: Any, rows: list[int]) -> Any:
    return type(modality)(*(part[rows] for part in modality))


def rewritten(folder: Path, to: Path, change: Callable[[str, Tensor], Tensor | None]) -> None:
    """Copy weights with every tensor changed, or left out where the change is None."""
    (to / "config.json").write_bytes((folder / "config.json").read_bytes())
    changed = {key: change(key, weight) for key, weight in load_file(folder / "model.safetensors").items()}
    kept = {key: weight for key, weight in changed.items() if weight is not None}
    save_file(kept, to / "model.safetensors", metadata={"format": "pt"})


def same(a: Tensor, b: Tensor, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def test_frozen_weights_do_not_move_and_stay_in_evaluation_mode(case: tuple[str, Make]) -> None:
    name, make = case
    encoder, modality = make(), batch(name)
    encoder.train()
    assert encoder.project.training
    assert not any(module.training for module in encoder.model.modules())
    assert not any(weight.requires_grad for weight in encoder.model.parameters())
    before = {key: weight.clone() for key, weight in encoder.named_parameters()}
    features = encoder.backbone(modality)
    assert not features.tokens.requires_grad
    assert features.tokens.grad_fn is None
    assert not features.tokens.is_inference(), "inference tensors cannot enter autograd"
    first = encoder(modality)
    same(first.pooled, encoder(modality).pooled, 0.0)
    first.pooled.square().sum().backward()
    trained = [weight for weight in encoder.parameters() if weight.requires_grad]
    torch.optim.AdamW(trained, lr=0.1, weight_decay=0.5).step()
    for key, weight in encoder.named_parameters():
        moved = not torch.equal(weight, before[key])
        assert moved != key.startswith("model."), key


def test_statistics_of_a_frozen_batch_norm_do_not_drift(case: tuple[str, Make]) -> None:
    name, make = case
    encoder = make()

    class Normed(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner, self.norm = inner, nn.BatchNorm1d(encoder.width)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.norm(self.inner(tokens).flatten(0, 1)).view_as(tokens)

    encoder.model.layernorm = Normed(encoder.model.layernorm)
    encoder.train()
    encoder(batch(name))
    norm = encoder.model.layernorm.norm
    assert int(norm.num_batches_tracked) == 0
    same(norm.running_mean, torch.zeros_like(norm.running_mean), 0.0)


def test_forward_is_finish_of_backbone(case: tuple[str, Make]) -> None:
    name, make = case
    encoder, modality = make().train(), batch(name, missing=(1,))
    whole, parts = encoder(modality), encoder.finish(encoder.backbone(modality))
    handed = encoder(encoder.backbone(modality))
    for other in (parts, handed):
        same(whole.tokens, other.tokens)
        same(whole.pooled, other.pooled)
        assert torch.equal(whole.mask, other.mask)
    with torch.autocast("cpu", torch.bfloat16):
        features = encoder.backbone(modality)
    same(features.tokens, encoder.backbone(modality).tokens, 0.0)
    # As a cache would keep them.
    half = Features(features.tokens.half(), features.mask)
    torch.testing.assert_close(encoder(half).pooled, whole.pooled, rtol=5e-3, atol=5e-3)


def test_a_missing_modality_is_masked_and_batch_mates_change_nothing(case: tuple[str, Make]) -> None:
    name, make = case
    encoder = make(inference=Inference(chunk=2))
    gaps, full = batch(name, missing=(0, 2)), batch(name)
    out, complete = encoder(gaps), encoder(full)
    assert out.mask.any(1).tolist() == [False, True, False, True]
    for row in (0, 2):
        assert not out.mask[row].any()
        assert out.pooled[row].eq(0).all()
        assert out.tokens[row].eq(0).all()
    for row in (1, 3):
        alone = encoder(some(gaps, [row]))
        for together in (out, complete):
            same(alone.pooled, together.pooled[[row]])
            same(alone.tokens, together.tokens[[row]])
            assert torch.equal(alone.mask, together.mask[[row]])
    nobody = encoder(batch(name, missing=(0, 1, 2, 3)))
    assert nobody.tokens.shape == out.tokens.shape
    assert not nobody.mask.any()
    (out.pooled.sum() + nobody.pooled.sum()).backward()
    gradients = [weight.grad for weight in encoder.parameters() if weight.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_the_fingerprint_tells_all_that_decides_the_features(
    case: tuple[str, Make], saved: dict[str, Path], tmp_path: Path
) -> None:
    name, make = case
    encoder = make()
    known = encoder.fingerprint()
    torch.manual_seed(7)
    assert make(dim=16, inference=Inference(chunk=1)).fingerprint() == known, "neither changes a feature"
    different = [make(inference=Inference(dtype="bfloat16"))]
    if name == "audio":
        different += [
            make(pooling=SpectrogramPooling(time=1, frequency=1)),
            make(levels="standardised"),
            partial(make.func, MEL._replace(length=62), **make.keywords)(),
        ]
    elif name == "video":
        different += [make(pooling=VideoPooling(time=1, space=1)), make(pixels=Pixels(size=48, edge=48))]
    else:
        different += [
            make(photographs=Photographs(tokens="patches", space=2)),
            make(pixels=Pixels(size=28, edge=28)),
            make(pixels=Pixels(size=42, edge=42)),
        ]
    copy = tmp_path / "copy"
    copy.mkdir()
    folder = Path(make.keywords["weights"])
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert make(weights=str(copy)).fingerprint() == known, "the place of the weights decides nothing"
    said = {"mean": 1.0, "std": 2.0} if name == "audio" else {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (copy / "preprocessor_config.json").write_text(json.dumps(said))
    different.append(make(weights=str(copy)))
    prints = [other.fingerprint() for other in different]
    with torch.no_grad():
        weight = next(iter(encoder.model.parameters()))
        weight.view(-1)[3] = torch.nextafter(weight.view(-1)[3], torch.tensor(1e9))
    prints.append(encoder.fingerprint())
    assert len({known, *prints}) == 1 + len(prints)


def test_unfreezing_trains_the_last_blocks_and_nothing_is_kept(case: tuple[str, Make]) -> None:
    name, make = case
    encoder = make(unfreeze=1).train()
    assert make().cacheable
    assert not encoder.cacheable
    encoder(batch(name, missing=(1,))).pooled.square().sum().backward()
    moved = {key for key, weight in encoder.model.named_parameters() if weight.grad is not None}
    block = {key for key in moved if ".1." in key}
    assert moved - block == {"layernorm.weight", "layernorm.bias"}
    assert block
    assert not any(".0." in key or "embeddings" in key for key in moved)
    assert all(weight.requires_grad == (key in moved) for key, weight in encoder.model.named_parameters())
    evaluated = encoder.eval()
    with pytest.raises(ValueError, match="unfreeze is 1"):
        evaluated(make().backbone(batch(name)))
    same(evaluated.backbone(batch(name)).tokens, make().backbone(batch(name)).tokens)
    everything = make(unfreeze=2)
    assert {key.split(".")[1] for key in everything.state_dict() if key.startswith("model.")} >= {"layernorm"}
    with pytest.raises(ValueError, match="unfreeze is 3; the model has 2 blocks"):
        make(unfreeze=3)
    with pytest.raises(ValueError, match="bfloat16; blocks are trained in float32"):
        make(unfreeze=1, inference=Inference(dtype="bfloat16"))


@pytest.mark.parametrize("unfreeze", [0, 1])
def test_a_state_holds_what_is_trained_and_knows_what_it_was_trained_over(
    case: tuple[str, Make], unfreeze: int, tmp_path: Path
) -> None:
    name, make = case
    encoder = make(unfreeze=unfreeze)
    with torch.no_grad():
        for weight in encoder.parameters():
            if weight.requires_grad:
                weight.add_(0.1)
    outer = nn.ModuleDict({"a": encoder})
    state = outer.state_dict()
    trained = {f"a.{key}" for key, weight in encoder.named_parameters() if weight.requires_grad}
    assert set(state) == trained | {"a.frozen"}
    fresh = nn.ModuleDict({"a": make(unfreeze=unfreeze)})
    fresh.load_state_dict(state)
    same(fresh["a"].eval()(batch(name)).pooled, encoder.eval()(batch(name)).pooled, 0.0)
    rewritten(Path(make.keywords["weights"]), tmp_path, lambda key, weight: weight + ("embeddings" in key))
    with pytest.raises(ValueError, match="trained over frozen weights with the digest"):
        make(unfreeze=unfreeze, weights=str(tmp_path)).load_state_dict(encoder.state_dict())


def test_vjepa2_is_the_librarys_model_averaged_over_neighbours(saved: dict[str, Path]) -> None:
    make = make_all(saved)["video"]
    images = Images(pictures(2, 6))
    prepared = prepare(images.values.flatten(0, 1), Pixels(size=32, edge=32), Normalisation(), "bilinear")
    # The library's own way to another size: a model made for it, with the weights of the first.
    reference = hub.VJEPA2Model(hub.VJEPA2Config.from_pretrained(saved["video"], crop_size=32)).eval()
    reference.load_state_dict(hub.VJEPA2Model.from_pretrained(saved["video"]).state_dict())
    with torch.no_grad():
        expected = reference.get_vision_features(prepared.unflatten(0, (2, 6))).view(2, 3, 2, 2, 48)
    plain = make(pooling=VideoPooling(time=1, space=1)).backbone(images)
    same(plain.tokens, expected.reshape(2, 12, 48), 1e-5)
    pooled = make(pooling=VideoPooling(time=2, space=2)).backbone(images)
    # Three steps in twos: the first two together, the third alone.
    same(pooled.tokens[:, 0], expected[:, :2].mean((1, 2, 3)), 1e-5)
    same(pooled.tokens[:, 1], expected[:, 2].mean((1, 2)), 1e-5)
    assert make(pooling=VideoPooling(time=99, space=99)).backbone(images).tokens.shape == (2, 1, 48)


def test_a_video_is_encoded_from_its_real_frames_alone(saved: dict[str, Path]) -> None:
    encoder = make_all(saved)["video"](pooling=VideoPooling(time=1, space=1))
    values = pictures(3, 6)
    mask = torch.tensor([[True] * 6, [False, True, True, False, True, True], [False, False, True, True, True, False]])
    out = encoder.backbone(Images(values, mask))
    assert out.mask.sum(1).tolist() == [12, 8, 8]
    same(out.tokens[1, :8], encoder.backbone(Images(values[1:2, mask[1]])).tokens[0])
    repeated = values[2:, [2, 3, 4, 4]]
    same(out.tokens[2, :8], encoder.backbone(Images(repeated)).tokens[0])


def test_tokens_of_a_video_learn_their_places(saved: dict[str, Path]) -> None:
    encoder = make_all(saved)["video"]()
    features = Features(torch.ones(2, 8, 48), torch.arange(8) < torch.tensor([[8], [4]]))
    features.tokens[1, 4:] = float("nan")
    alike = encoder(features).tokens
    alike.sum().backward()
    assert all(weight.grad.isfinite().all() for weight in encoder.project.parameters())
    same(alike[0], alike[0, :1].expand(8, -1))
    with torch.no_grad():
        encoder.places.copy_(torch.arange(64.0).view(8, 8))
    told = encoder(features).tokens
    same(told[0] - alike[0], torch.arange(64.0).view(8, 8), 1e-4)
    assert told[1, 4:].eq(0).all()
    with pytest.raises(ValueError, match=r"12 tokens a row, and 6 frames.*make 8"):
        encoder(Features(torch.ones(1, 12, 48), torch.ones(1, 12, dtype=torch.bool)))


def test_dinov2_is_the_librarys_model_on_each_photograph(saved: dict[str, Path]) -> None:
    image = pytest.importorskip("PIL.Image", reason="the extra media is not installed")
    make = make_all(saved)["photos"]
    values = pictures(2, 3)
    processor = hub.BitImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28}, image_mean=MEAN, image_std=STD
    )
    photographs = [image.fromarray(one.permute(1, 2, 0).numpy()) for one in values.flatten(0, 1)]
    inputs = processor(photographs, return_tensors="pt").pixel_values
    prepared = prepare(values.flatten(0, 1), Pixels(size=28, edge=32), Normalisation(), "bicubic")
    assert prepared.shape == inputs.shape
    # Pillow and torch round the filter's weights differently: one level of 256 here and there.
    assert (prepared - inputs).abs().max() < 1.01 / 255 / min(STD)
    assert (prepared - inputs).abs().mean() < 0.05 / 255 / min(STD)
    with torch.no_grad():
        reference = hub.Dinov2Model.from_pretrained(saved["photos"]).eval()(prepared)
    found = make().backbone(Images(values))
    same(found.tokens.flatten(0, 1), reference.pooler_output, 1e-5)
    patches = make(photographs=Photographs(tokens="patches", space=1)).backbone(Images(values))
    same(patches.tokens.view(6, 5, 32), reference.last_hidden_state, 1e-5)


@pytest.mark.parametrize("aggregation", ["mean", "max", "concat", "attention"])
@pytest.mark.parametrize("tokens", ["cls", "patches"])
def test_photographs_are_aggregated_over_those_that_are_there(
    saved: dict[str, Path], aggregation: Any, tokens: Any
) -> None:
    encoder = make_all(saved)["photos"](photographs=Photographs(tokens=tokens, space=1, aggregation=aggregation))
    mask = torch.tensor([[True, True, True], [True, False, True], [False, False, False], [False, True, False]])
    out = encoder(Images(pictures(4, 3), mask))
    for row in range(4):
        classes = out.tokens[row].view(3, -1, 8)[:, 0]
        there = classes[mask[row]]
        if not len(there):
            expected = torch.zeros(8)
        elif aggregation == "mean":
            expected = there.mean(0)
        elif aggregation == "max":
            expected = there.max(0).values
        elif aggregation == "concat":
            expected = encoder.join(torch.cat(list(classes)))
        else:
            weights = torch.softmax(there @ encoder.query / math.sqrt(8), 0)
            expected = (weights.unsqueeze(1) * there).sum(0)
        same(out.pooled[row], expected)


def test_video_preparation_is_the_published_arithmetic() -> None:
    frames = pictures(1, 2, 300, 400)[0]
    pixels = Pixels(size=256, edge=int(256 * 256 / 224))
    prepared = prepare(frames, pixels, Normalisation(), "bilinear")
    resized = F.interpolate(frames, (292, int(292 * 400 / 300)), mode="bilinear", antialias=True)
    top, left = round((292 - 256) / 2), round((389 - 256) / 2)
    cut = resized[:, :, top : top + 256, left : left + 256].double() / 255
    expected = (cut - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(prepared.double(), expected, rtol=0, atol=5e-7)
    image = pytest.importorskip("PIL.Image", reason="the extra media is not installed")
    pillow = image.fromarray(frames[0].permute(1, 2, 0).numpy()).resize((389, 292), image.Resampling.BILINEAR)
    levels = torch.from_numpy(np.array(pillow))[top : top + 256, left : left + 256].permute(2, 0, 1)
    assert (levels.int() - (cut[0] * 255).round().int()).abs().max() <= 1


def test_pictures_of_the_right_size_are_not_filtered() -> None:
    frames = pictures(1, 1, 32, 32)[0]
    prepared = prepare(frames, Pixels(size=32, edge=32), Normalisation(), "bicubic")
    colours = prepared * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    assert torch.equal((colours * 255).round().to(torch.uint8), frames)


def test_ast_is_the_librarys_model_on_its_own_normalisation(saved: dict[str, Path]) -> None:
    spec = MEL._replace(length=104)
    make = partial(make_all(saved)["audio"].func, spec, weights=str(saved["audio"]), dim=8)
    levels = torch.randn(3, 104, 32, generator=torch.Generator().manual_seed(2)) * 4 - 4
    extractor = hub.ASTFeatureExtractor(num_mel_bins=32, max_length=104)
    normalised = torch.from_numpy(extractor.normalize(levels.numpy()))
    with torch.no_grad():
        reference = hub.ASTModel.from_pretrained(saved["audio"]).eval()(normalised)
    found = make(pooling=SpectrogramPooling(time=1, frequency=1)).backbone(Signal(levels))
    same(found.tokens[:, 0], reference.pooler_output, 1e-5)
    same(found.tokens[:, 1:], reference.last_hidden_state[:, 2:], 1e-5)
    standard = make(levels="standardised", pooling=SpectrogramPooling(time=1, frequency=1))
    same(standard.backbone(Signal(2 * normalised)).tokens, found.tokens, 1e-5)
    whole = make(pooling=SpectrogramPooling(time=99, frequency=99)).backbone(Signal(levels))
    same(whole.tokens[:, 1], reference.last_hidden_state[:, 2:].mean(1), 1e-5)


def test_positions_of_ast_are_interpolated_in_time(saved: dict[str, Path]) -> None:
    encoder = make_all(saved)["audio"]()
    table = hub.ASTModel.from_pretrained(saved["audio"]).embeddings.position_embeddings[0].detach()
    fitted = encoder.model.embeddings.position_embeddings[0]
    same(fitted[:2], table[:2], 0.0)
    old, new = 7, 3  # (104 - 16) // 14 + 1 and (48 - 16) // 14 + 1
    places = (np.arange(new) + 0.5) * old / new - 0.5
    for band in range(2):
        for channel in range(32):
            known = table[2 + band * old : 2 + (band + 1) * old, channel].numpy()
            found = fitted[2 + band * new : 2 + (band + 1) * new, channel]
            np.testing.assert_allclose(found.numpy(), np.interp(places, np.arange(old), known), atol=1e-6)


def test_ast_refuses_what_it_cannot_honour(saved: dict[str, Path]) -> None:
    make = make_all(saved)["audio"]
    encoder, signal = make(), batch("audio")
    ragged = torch.arange(48).expand(4, -1) < 30
    with pytest.raises(ValueError, match="partly real"):
        encoder(Signal(signal.values, ragged))
    with pytest.raises(ValueError, match="48 frames and met 40"):
        encoder(Signal(signal.values[:, :40]))
    with pytest.raises(ValueError, match="32 bands and 10 frames"):
        partial(make.func, MEL._replace(length=10), **make.keywords)()


def test_weights_that_cannot_be_had_are_an_error_that_says_how_to_get_them(
    case: tuple[str, Make], saved: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, make = case

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(ValueError, match=r"'nobody/nothing'.*hf download nobody/nothing.*stand_in: small"):
        make(weights="nobody/nothing")
    with pytest.raises(ValueError, match="there is no folder"):
        make(weights=str(tmp_path / "absent"))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match=r"cannot be read.*Take a complete download"):
        make(weights=str(empty))
    other = saved["audio" if name == "video" else "video"]
    with pytest.raises(ValueError, match="holds a model of type"):
        make(weights=str(other))
    torn = tmp_path / "torn"
    torn.mkdir()
    for file in Path(make.keywords["weights"]).iterdir():
        data = file.read_bytes()
        (torn / file.name).write_bytes(data[: len(data) // 2] if file.suffix == ".safetensors" else data)
    with pytest.raises(ValueError, match=r"torn.*cannot be read"):
        make(weights=str(torn))


def test_weights_that_are_incomplete_are_refused(saved: dict[str, Path], tmp_path: Path) -> None:
    make = make_all(saved)["photos"]
    rewritten(saved["photos"], tmp_path, lambda key, weight: None if key == "embeddings.mask_token" else weight)
    assert make(weights=str(tmp_path)).width == 32, "nothing reads the mask token"
    rewritten(saved["photos"], tmp_path, lambda key, weight: None if key == "layernorm.weight" else weight)
    with pytest.raises(ValueError, match=r"lacks 1 of .*layernorm\.weight"):
        make(weights=str(tmp_path))
    rewritten(saved["photos"], tmp_path, lambda key, weight: weight[:5] if key == "layernorm.weight" else weight)
    with pytest.raises(ValueError, match="cannot be read"):
        make(weights=str(tmp_path))


def test_a_stand_in_is_the_same_for_every_seed_and_says_what_it_is(
    case: tuple[str, Make], caplog: pytest.LogCaptureFixture
) -> None:
    name, make = case
    make = partial(make.func, make.args[0], **make.keywords)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = make(weights="nobody/nothing", stand_in="small", dim=8)
    assert "takes the place of nobody/nothing" in caplog.text
    torch.random.set_rng_state(before)
    again = make(weights="nobody/nothing", stand_in="small", dim=8)
    same(first.project[1].weight, again.project[1].weight, 0.0)
    torch.manual_seed(2)
    other = make(weights="nobody/nothing", stand_in="small", dim=8)
    assert first.fingerprint() == other.fingerprint()
    assert not torch.equal(first.project[1].weight, other.project[1].weight)
    out = first(batch(name, missing=(1,)))
    assert out.pooled[1].eq(0).all()
    assert out.pooled.isfinite().all()


def test_pictures_that_do_not_fit_are_refused(saved: dict[str, Path]) -> None:
    make = make_all(saved)["photos"]
    with pytest.raises(ValueError, match=r"pixels\.size is 30 and the model's patches have 14; choose a multiple, 28"):
        make(pixels=Pixels(size=30, edge=30))
    with pytest.raises(ValueError, match="size is 30 and edge 28"):
        Pixels(size=30, edge=28)
    encoder = make()
    with pytest.raises(ValueError, match=r"torch.float32.*of uint8"):
        encoder(Images(pictures(2, 3).float()))
    with pytest.raises(ValueError, match=r"\(2, 5\) does not fit"):
        encoder(Images(pictures(2, 3), torch.ones(2, 5, dtype=torch.bool)))
    with pytest.raises(ValueError, match=r"\(2, 3, 16\).*tokens, 32\)"):
        encoder(Features(torch.zeros(2, 3, 16), torch.ones(2, 3, dtype=torch.bool)))
    with pytest.raises(ValueError, match="chunk is 0"):
        Inference(chunk=0)


def test_recipes_name_the_encoders_and_their_settings() -> None:
    assert {"ASTEncoder", "DINOv2Encoder", "VJEPA2Encoder", "SensorTransformer"} <= set(choices(Encoder))
    assert "Pretrained" not in choices(Encoder)
    given = keywords(DINOv2Encoder, {"photographs": {"tokens": "patches"}, "inference": {"dtype": "float16"}})
    assert given == {"photographs": Photographs(tokens="patches"), "inference": Inference(dtype="float16")}
    with pytest.raises(ConfigError, match="attention"):
        keywords(DINOv2Encoder, {"photographs": {"aggregation": "atention"}})


@pytest.mark.nightly
def test_the_published_sizes_come_to_half_a_billion_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full-size models on the meta device: shapes and counts without memory."""
    from counterpoint.encoders.pretrained import audio, base, image, video
    from counterpoint.encoders.pretrained.weights import Wanted
    from counterpoint.encoders.sensor import SensorTransformer
    from counterpoint.fusion import TokenAttention

    published = {
        "VJEPA2Encoder": {},
        "DINOv2Encoder": {"image_size": 518},
        "ASTEncoder": {"frequency_stride": 14, "time_stride": 14},
    }
    whole: dict[str, int] = {}

    def load(wanted: Wanted) -> Any:
        model = wanted.model(wanted.config(**{**published[wanted.owner], **wanted.changes}))
        whole[wanted.owner] = sum(weight.numel() for weight in model.parameters())
        return model

    for module in (audio, image, video):
        monkeypatch.setattr(module, "load", load)
        monkeypatch.setattr(module, "preprocessing", lambda *_: {}, raising=False)
    monkeypatch.setattr(base, "digest", lambda _: "00" * 32)
    with torch.device("meta"):
        encoders = [
            VJEPA2Encoder(ImageSpec(32, 224, 224, 1.0)),
            DINOv2Encoder(ImageSpec(5, 224, 224, 0.0)),
            ASTEncoder(SignalSpec(128, 256, 0.0)),
            SensorTransformer(SignalSpec(6, 256, 0.0)),
        ]
    assert whole["VJEPA2Encoder"] == pytest.approx(326e6, rel=0.01)
    assert whole["DINOv2Encoder"] == pytest.approx(86.6e6, rel=0.01)
    assert whole["ASTEncoder"] == pytest.approx(86.6e6, rel=0.02)
    trained = sum(weight.numel() for one in encoders for weight in one.parameters() if weight.requires_grad)
    fusion = sum(
        weight.numel() for weight in TokenAttention(dict(zip("vpas", (512, 512, 512, 256), strict=True))).parameters()
    )
    assert 10e6 < trained + fusion < 30e6
    assert sum(whole.values()) + trained + fusion == pytest.approx(516e6, rel=0.02)
    # What is kept of them: the predictor of V-JEPA 2 and most positions of AST are not.
    kept = sum(weight.numel() for one in encoders[:3] for weight in one.model.parameters())
    assert kept == pytest.approx(477e6, rel=0.01)
    assert encoders[2].grid == (9, 18)
