"""The set VAE: its terms against hand-made ones, equivalence of batches, two ranks, and collapse that is seen."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from counterpoint.encoders.set_sequence import SequenceLayers, SetLayers, SetSequence
from counterpoint.fusion import Concat
from counterpoint.model import Model
from counterpoint.objectives import SetVAE
from counterpoint.objectives.latent import active_units, mutual_information
from counterpoint.objectives.set_vae import Divergence, OutcomeLoss
from counterpoint.types import UNLABELLED, Latent, ObjectiveSpec, SignalSpec
from sets_world import SPEC, Row, batch, pack, stay

ROWS = [stay(seed) for seed in range(32)]
KEYS = [3 + 11 * i for i in range(32)]
LABELS = [i % 3 - 1 for i in range(32)]
"""Unlabelled, survived, died."""


def world(dtype: torch.dtype = torch.float64, **settings: Any) -> tuple[Model, SetVAE]:
    torch.manual_seed(0)
    encoder = SetSequence(
        SPEC, dim=16, latent=8, sets=SetLayers(dim=12, heads=2, points=3), sequence=SequenceLayers(heads=2)
    )
    model = Model({"events": encoder}, Concat({"events": encoder.dim}))
    spec = ObjectiveSpec(model.dims, model.latents, ("survived", "died"), {"events": SPEC})
    defaults: dict[str, Any] = {
        "divergence": Divergence(beta=0.3, warm_up=0, free_bits=0.05),
        "outcome": OutcomeLoss(weight=2.0, class_weights={"died": 3.0}),
        "width": 24,
    }
    return model.to(dtype), SetVAE(spec, **(defaults | settings)).to(dtype)


def loss_and_gradients(
    model: Model, objective: SetVAE, rows: list[Row], keys: list[int], labels: list[int], dtype: torch.dtype
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    sample = batch(pack(rows, keys, dtype), labels)
    value = objective([model(sample.views[0])], sample).value
    parameters = [*model.parameters(), *objective.parameters()]
    return value.detach(), list(torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("prior", ["autoregressive", "standard"])
def test_loss_and_gradients_of_a_batch_are_the_mean_of_its_rows(
    dtype: torch.dtype, tolerance: float, prior: Any
) -> None:
    divergence = Divergence(beta=0.3, warm_up=0, free_bits=0.05, prior=prior)
    model, objective = (part.train() for part in world(dtype, divergence=divergence))
    assert isinstance(model, Model)
    assert isinstance(objective, SetVAE)
    value, gradients = loss_and_gradients(model, objective, ROWS, KEYS, LABELS, dtype)
    alone = [
        loss_and_gradients(model, objective, [row], [key], [label], dtype)
        for row, key, label in zip(ROWS, KEYS, LABELS, strict=True)
    ]
    assert float(value) == pytest.approx(float(torch.stack([v for v, _ in alone]).mean()), abs=tolerance)
    for number, gradient in enumerate(gradients):
        expected = torch.stack([parts[number] for _, parts in alone]).mean(0)
        assert torch.allclose(gradient, expected, atol=tolerance, rtol=tolerance)
    order = torch.randperm(32, generator=torch.Generator().manual_seed(1)).tolist()
    shuffled = loss_and_gradients(
        model, objective, [ROWS[i] for i in order], [KEYS[i] for i in order], [LABELS[i] for i in order], dtype
    )
    assert float(shuffled[0]) == pytest.approx(float(value), abs=tolerance)


def test_the_terms_are_what_they_say() -> None:
    """Reconstruction, divergence and outcome of one row, recomputed set by set."""
    model, objective = world()
    model.train(), objective.train()
    row = ROWS[2]
    sample = batch(pack([row], [5]), [1])
    encoded = model(sample.views[0])
    logs = objective([encoded], sample).logs
    latent = encoded["events"].latent
    assert latent is not None
    context = torch.cat([objective.start.unsqueeze(0), encoded["events"].tokens[0, :-1]])
    distances, divergences, before = [], [], row[0][0]
    for place, (time, events) in enumerate(row):
        told = torch.cat(
            [latent.sample[0, place], context[place], torch.tensor([math.log(len(events))], dtype=torch.float64)]
        )
        decoder = objective.decoder
        hidden = decoder.enter(told) + decoder.slots[: len(events)]
        out = decoder.leave(decoder.network(hidden))
        rebuilt = torch.cat([out[:, :-1].softmax(-1), out[:, -1:]], 1)
        real = torch.zeros(len(events), rebuilt.shape[1], dtype=torch.float64)
        for i, (code, value) in enumerate(events):
            real[i, code], real[i, -1] = 1.0, value
        pairs = torch.cdist(rebuilt, real).square()
        distances.append(pairs.min(0).values.mean() + pairs.min(1).values.mean())
        gap = torch.tensor([math.log1p(time - before)], dtype=torch.float64)
        mean, log_variance = objective.prior(torch.cat([context[place], gap])).chunk(2)
        before = time
        posterior = torch.distributions.Normal(latent.mean[0, place], (0.5 * latent.log_variance[0, place]).exp())
        divergences.append(
            torch.distributions.kl_divergence(posterior, torch.distributions.Normal(mean, (0.5 * log_variance).exp()))
        )
    rebuilt_mean, kl = torch.stack(distances).mean(), torch.stack(divergences).mean(0)
    logits = objective.head.classifier(encoded["fused"].pooled)  # type: ignore[union-attr]
    outcome = 3.0 * torch.nn.functional.cross_entropy(logits, torch.tensor([1]))
    assert float(logs["reconstruction"]) == pytest.approx(rebuilt_mean.item(), abs=1e-10)
    assert float(logs["kl"]) == pytest.approx(kl.sum().item(), abs=1e-10), "raw: before free bits and beta"
    assert float(logs["outcome"]) == pytest.approx(outcome.item(), abs=1e-10)
    total = rebuilt_mean + 0.3 * kl.clamp_min(0.05).sum() + 2.0 * outcome
    assert float(logs["loss"]) == pytest.approx(total.item(), abs=1e-10)


def test_the_order_of_events_changes_nothing() -> None:
    model, objective = world()
    plain, turned = ([(t, events[::step]) for t, events in ROWS[3]] for step in (1, -1))
    values = []
    for row in (plain, turned):
        sample = batch(pack([row], [5]), [0])
        values.append(objective([model(sample.views[0])], sample).value.item())
    assert values[0] == pytest.approx(values[1], abs=1e-12)


def test_warm_up_counts_batches_of_the_training_alone() -> None:
    model, objective = world(divergence=Divergence(beta=0.5, warm_up=0.4))
    objective.plan(10)
    sample = batch(pack(ROWS[:2]), [0, 1])

    def beta() -> float:
        return float(objective([model(sample.views[0])], sample).logs["beta"])

    model.train(), objective.train()
    assert [beta() for _ in range(3)] == [0.0, 0.125, 0.25]
    model.eval(), objective.eval()
    assert [beta(), beta()] == [0.375, 0.375]
    objective.train()
    assert [beta() for _ in range(3)] == [0.375, 0.5, 0.5]
    restored = world(divergence=Divergence(beta=0.5, warm_up=0.4))[1]
    restored.load_state_dict(objective.state_dict())
    assert restored.steps == 6, "a resumed run goes on where the warm-up stood"


def test_active_units_and_mutual_information() -> None:
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(2000, 6, generator=generator) * torch.tensor([1.0, 0.5, 0.2, 0.05, 0.0, 0.0])
    assert active_units(mean) == 3, "variances 1, .25, .04, .0025, 0, 0"
    nothing = Latent(torch.zeros(100, 4), torch.zeros(100, 4), torch.randn(100, 4, generator=generator))
    assert abs(float(mutual_information(nothing))) < 1e-5
    apart = torch.arange(64.0).unsqueeze(1) * 100
    known = Latent(apart, torch.zeros(64, 1), apart + 0.1)
    assert float(mutual_information(known)) == pytest.approx(math.log(64), abs=1e-5)
    # A Gaussian channel of signal 1 and noise 1 carries ln(2) / 2 nats.
    signal = torch.randn(512, 1, generator=generator)
    noisy = Latent(signal, torch.zeros(512, 1), signal + torch.randn(512, 1, generator=generator))
    assert float(mutual_information(noisy)) == pytest.approx(math.log(2) / 2, abs=0.08)


def test_predictions_and_unlabelled_rows() -> None:
    model, objective = world()
    sample = batch(pack(ROWS[:6]), [UNLABELLED] * 6)
    encoded = model(sample.views[0])
    assert float(objective([encoded], sample).logs["outcome"]) == 0.0
    prediction = objective.predict(encoded)
    assert prediction is not None
    assert torch.allclose(prediction.probabilities.sum(1), torch.ones(6, dtype=torch.float64))
    without = world(outcome=None)[1]
    assert without.predict(encoded) is None
    assert "outcome" not in without([encoded], sample).logs


def test_what_cannot_work_is_refused() -> None:
    model, _ = world()
    spec = ObjectiveSpec(model.dims, model.latents, ("survived", "died"), {"events": SPEC})
    with pytest.raises(ValueError, match=r"no class 'dead'; there are survived, died"):
        SetVAE(spec, outcome=OutcomeLoss(class_weights={"dead": 2.0}))
    with pytest.raises(ValueError, match="two classes or more"):
        SetVAE(spec._replace(classes=()), outcome=OutcomeLoss())
    with pytest.raises(ValueError, match="those of irregular events can be rebuilt"):
        SetVAE(spec._replace(specs={"events": SignalSpec(1, 8, 1.0)}))
    with pytest.raises(ValueError, match="has no latent variable"):
        SetVAE(spec._replace(latents={"events": 0}))
    with pytest.raises(ValueError, match=r"divergence\.beta is -1"):
        Divergence(beta=-1)
    with pytest.raises(ValueError, match=r"divergence\.warm_up is 500; it is a share"):
        Divergence(warm_up=500)
