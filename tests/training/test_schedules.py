"""Learning-rate schedules: a warm-up, then the decay of the class that `optimization.schedule` names."""

import itertools
import math

import pytest
import torch
from helpers.restarts import CosineRestarts

from velm_lightning.errors import InputError
from velm_lightning.io.configurable import build, to_config
from velm_lightning.training import Constant, Cosine, LinearDecay, Optimization


def formula(step, steps, warmup_ratio=0.05):
    """A linear warm-up, then half a cosine."""
    warmup = max(1, round(warmup_ratio * steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))


@pytest.mark.parametrize("ratio", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("steps", [1, 2, 7, 100, 1333])
def test_a_cosine_is_bitwise_the_formula_at_every_step(steps, ratio):
    factor = Cosine(warmup_ratio=ratio).plan(steps)
    assert [factor(step) for step in range(steps + 5)] == [formula(step, steps, ratio) for step in range(steps + 5)]


def test_the_default_of_the_optimization_is_a_cosine():
    assert type(Optimization().schedule) is Cosine
    assert Optimization().schedule.warmup_ratio == 0.05


@pytest.mark.parametrize("kind", [Constant, Cosine, CosineRestarts, LinearDecay])
def test_every_schedule_rises_evenly_to_its_peak(kind):
    factor = kind(warmup_ratio=0.1).plan(100)
    assert [factor(step) for step in range(11)] == pytest.approx([*((n + 1) / 10 for n in range(10)), 1.0])


@pytest.mark.parametrize("kind", [Cosine, LinearDecay])
def test_a_decaying_schedule_falls_at_every_step_to_zero(kind):
    factor = kind(warmup_ratio=0.1).plan(100)
    assert all(a > b for a, b in itertools.pairwise(factor(step) for step in range(10, 101)))
    assert factor(100) == factor(150) == 0


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 1000])
def test_no_step_has_the_rate_zero(steps):
    for kind in (Constant, Cosine, LinearDecay):
        factor = kind().plan(steps)
        assert all(factor(step) > 0 for step in range(steps))


@pytest.mark.parametrize("kind", [Constant, Cosine, LinearDecay])
def test_without_an_end_the_rate_stays_at_its_peak(kind):
    factor = kind().plan(math.inf)
    assert [factor(step) for step in (0, 1, 10**6)] == [1, 1, 1]


def test_no_warm_up_starts_at_the_peak():
    assert Cosine(warmup_ratio=0.0).plan(100)(0) == 1


@pytest.mark.parametrize("ratio", [-0.1, 1.5])
def test_a_warm_up_beyond_the_run_is_refused(ratio):
    with pytest.raises(InputError, match=f"warmup_ratio must be from 0 to 1, got {ratio}"):
        LinearDecay(warmup_ratio=ratio)


def test_a_schedule_of_a_users_own_needs_one_class():
    factor = CosineRestarts(warmup_ratio=0.0, cycles=2).plan(201)  # one step of warm-up
    assert [factor(step) for step in (1, 51, 101, 151)] == pytest.approx([1, 0.5, 1, 0.5])


@pytest.mark.parametrize("kind", [Constant, Cosine, CosineRestarts, LinearDecay])
def test_a_checkpoint_rebuilds_the_schedule_of_its_model(kind):
    rebuilt = build(to_config(Optimization(schedule=kind(warmup_ratio=0.25)))).schedule
    assert type(rebuilt) is kind
    assert rebuilt.warmup_ratio == 0.25


def scheduler(schedule, steps):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    return torch.optim.lr_scheduler.LambdaLR(optimizer, schedule.plan(steps))


def test_the_state_in_a_checkpoint_is_plain_values(tmp_path):
    torch.save(scheduler(CosineRestarts(), 10).state_dict(), tmp_path / "state")
    state = torch.load(tmp_path / "state", weights_only=True)
    longer = scheduler(CosineRestarts(), 1000)
    longer.load_state_dict(state)
    assert longer.lr_lambdas[0](5) == CosineRestarts().plan(10)(5)
    assert str(longer.lr_lambdas[0]) == "CosineRestarts(warmup_ratio=0.05, cycles=2) over 10 steps, 1 of them warm-up"


def test_a_continued_schedule_may_be_of_another_class():
    old, new = Cosine().plan(100), LinearDecay().plan(200)
    continued = old.continued(50, new)
    assert continued(50) == old(50)
    assert continued(125) == pytest.approx(0.5 * old(50))
    assert continued(200) == 0
    assert continued.plan == new.plan
