"""Widths with which models have equal budgets."""

from functools import partial

import pytest
from helpers import tiny

from velm_lightning.data import MultimodalData
from velm_lightning.fusion import EarlyFusion, LateFusion
from velm_lightning.inspection.budget import budget_of, match, nearest
from velm_lightning.io.configurable import build, to_config

FEED_FORWARD = "model.init_args.text_encoder.init_args.feed_forward"
DIM = "model.init_args.text_encoder.init_args.dim"


@pytest.mark.parametrize(
    ("budget", "target", "expected"),
    [
        (lambda n: 10 * n + 3, 703, 70),
        (lambda n: 10 * n + 3, 708, 70),
        (lambda n: 10 * n + 3, 709, 71),
        (lambda n: n * n, 700, 26),
        (lambda n: 10 * n, 1, 4),
        (lambda n: 10 * n, 10**6, 900),
    ],
)
def test_the_nearest_number_within_bounds_is_found(budget, target, expected):
    calls = []
    assert nearest(lambda n: calls.append(n) or budget(n), 4, 900, target) == expected
    assert len(calls) < 20


def model_of(kind, data, **changes):
    return tiny.fusion(kind, vocabulary=data.vocabulary, text_encoder=tiny.transformer(**changes))


@pytest.fixture(scope="module")
def data():
    samples = tiny.many(9)
    return MultimodalData(tiny.Samples(train=samples, test=samples), batch_size=4)


def rebuilt(model, found):
    """Return the model with the settings that were found."""
    plain = to_config(model)
    for key, value in found.settings.items():
        plain["init_args"]["text_encoder"]["init_args"][key.rpartition(".")[2]] = value
    return build(plain)


@pytest.mark.parametrize("by", ["parameters", "flops"])
@pytest.mark.parametrize("kind", [EarlyFusion, LateFusion])
def test_feed_forward_networks_are_widened_first(by, kind, data):
    budget = partial(budget_of, data=data, by=by)
    model = model_of(kind, data)
    target = round(1.3 * budget(model))
    found = match(model, budget, target, 0.02)
    assert set(found.settings) == {FEED_FORWARD}
    assert found.replaced == {FEED_FORWARD: None}
    assert abs(found.error(target)) < 0.02
    assert budget(rebuilt(model, found)) == found.after


def test_the_width_of_the_trunk_follows_in_steps_of_its_heads(data):
    budget = partial(budget_of, data=data, by="parameters")
    model, target = model_of(EarlyFusion, data), round(1.02 * budget(model_of(EarlyFusion, data, dim=32)))
    found = match(model, budget, target, 0.001)
    assert set(found.settings) == {DIM, FEED_FORWARD}
    assert found.settings[DIM] % 2 == 0
    assert abs(found.error(target)) < 0.01
    assert len(rebuilt(model, found).text_encoder.layers) == len(model.text_encoder.layers)


def test_a_budget_that_is_near_enough_changes_nothing(data):
    budget = partial(budget_of, data=data, by="parameters")
    model = model_of(EarlyFusion, data)
    found = match(model, budget, round(1.015 * budget(model)), 0.02)
    assert found.settings == {}
    assert found.before == found.after == budget(model)


def test_a_pretrained_trunk_keeps_its_widths(data):
    model = tiny.fusion(EarlyFusion, vocabulary=data.vocabulary, text_encoder=tiny.pretrained_text("llama"))
    found = match(model, partial(budget_of, data=data, by="parameters"), 10**6, 0.02)
    assert found.settings == {}
    assert found.error(10**6) < -0.05


def test_frozen_parameters_are_no_part_of_the_budget(data):
    model = tiny.fusion(
        EarlyFusion, vocabulary=data.vocabulary, text_encoder=tiny.pretrained_text("llama", trainable=0)
    )
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert budget_of(model, data, "parameters") == trained < sum(p.numel() for p in model.parameters())
