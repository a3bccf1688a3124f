"""Integration of velocity fields whose solutions are known."""

import pytest
import torch

from velm_lightning.decoding import Flow
from velm_lightning.decoding.flow import between, keyed_noise, keyed_times
from velm_lightning.types import InputError

NOISE = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)


def never(x, time):
    raise AssertionError("this velocity must not be computed")


@pytest.mark.parametrize("method", ["euler", "midpoint"])
@pytest.mark.parametrize("steps", [1, 3, 8])
def test_a_constant_velocity_is_integrated_exactly(method, steps):
    data = torch.tensor([[4.0, 5.0], [6.0, 7.0]], dtype=torch.float64)
    result = Flow(steps, 1, method)(lambda x, time: data - NOISE, never, NOISE)
    torch.testing.assert_close(result, data, atol=1e-12, rtol=0)


@pytest.mark.parametrize("method", ["euler", "midpoint"])
def test_predicting_the_data_ends_at_the_data(method):
    data = torch.tensor([[4.0, 5.0], [6.0, 7.0]], dtype=torch.float64)
    result = Flow(4, 1, method)(lambda x, time: (data - x) / (1 - time)[:, None], never, NOISE)
    torch.testing.assert_close(result, data, atol=1e-12, rtol=0)


def test_midpoint_is_exact_for_a_velocity_linear_in_time():
    def field(x, time):  # the solution is time squared
        return 2 * time[:, None].expand_as(x)

    torch.testing.assert_close(Flow(5, 1, "midpoint")(field, never, NOISE), NOISE + 1, atol=1e-12, rtol=0)
    torch.testing.assert_close(Flow(5, 1, "euler")(field, never, NOISE), NOISE + 1 - 1 / 5, atol=1e-12, rtol=0)


def test_guidance_extrapolates_from_the_unconditional_velocity():
    conditional, unconditional = (lambda x, _: torch.full_like(x, 3)), (lambda x, _: torch.full_like(x, 1))
    for guidance, moved in ((0, 1), (0.5, 2), (1, 3), (2, 5)):
        result = Flow(2, guidance)(conditional, unconditional, NOISE)
        torch.testing.assert_close(result, NOISE + moved)


def test_guidance_0_or_1_computes_one_velocity_only():
    assert Flow(2, 1)(lambda x, _: x, never, NOISE).shape == NOISE.shape
    assert Flow(2, 0)(never, lambda x, _: x, NOISE).shape == NOISE.shape


def test_between_interpolates_noise_and_data():
    data = NOISE + 8
    torch.testing.assert_close(between(NOISE, data, torch.tensor([0.0, 1.0])), torch.stack([NOISE[0], data[1]]))
    torch.testing.assert_close(between(NOISE, data, torch.tensor([0.25, 0.5])), NOISE + torch.tensor([[2.0], [4.0]]))


def test_noise_and_time_depend_only_on_the_key():
    noise, times = keyed_noise(["a", "b", "c"], (500, 4)), keyed_times(["a", "b", "c"])
    torch.rand(3)
    assert torch.equal(keyed_noise(["c", "a"], (500, 4)), noise[[2, 0]])
    assert torch.equal(keyed_times(["c", "a"]), times[[2, 0]])
    assert not torch.equal(noise[0], noise[1])
    assert len(set(times.tolist())) == 3
    assert abs(noise.mean()) < 0.1
    assert abs(noise.std() - 1) < 0.05


def test_zero_steps_are_refused():
    with pytest.raises(InputError, match=r"flow\.steps must be at least 1, got 0"):
        Flow(0)
