"""From noise to data along velocity fields whose paths are known."""

import pytest
import torch

from velm_lightning.decoding import Flow
from velm_lightning.decoding.flow import between, keyed_noise, keyed_times
from velm_lightning.types import InputError

NOISE = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)


def never(x, time):
    raise AssertionError("nobody asked for this velocity")


@pytest.mark.parametrize("method", ["euler", "midpoint"])
@pytest.mark.parametrize("steps", [1, 3, 8])
def test_a_straight_way_is_followed_exactly(method, steps):
    data = torch.tensor([[4.0, 5.0], [6.0, 7.0]], dtype=torch.float64)
    found = Flow(steps, 1, method)(lambda x, time: data - NOISE, never, NOISE)
    torch.testing.assert_close(found, data, atol=1e-12, rtol=0)


@pytest.mark.parametrize("method", ["euler", "midpoint"])
def test_the_velocity_of_a_predicted_picture_ends_at_the_picture(method):
    data = torch.tensor([[4.0, 5.0], [6.0, 7.0]], dtype=torch.float64)
    found = Flow(4, 1, method)(lambda x, time: (data - x) / (1 - time)[:, None], never, NOISE)
    torch.testing.assert_close(found, data, atol=1e-12, rtol=0)


def test_of_a_field_linear_in_time_the_midpoint_is_exact_and_euler_falls_short_by_half_a_step():
    def field(x, time):  # the way is time squared
        return 2 * time[:, None].expand_as(x)

    torch.testing.assert_close(Flow(5, 1, "midpoint")(field, never, NOISE), NOISE + 1, atol=1e-12, rtol=0)
    torch.testing.assert_close(Flow(5, 1, "euler")(field, never, NOISE), NOISE + 1 - 1 / 5, atol=1e-12, rtol=0)


def test_guidance_goes_from_the_unconditional_velocity_through_the_conditional_one():
    conditional, unconditional = (lambda x, _: torch.full_like(x, 3)), (lambda x, _: torch.full_like(x, 1))
    for guidance, moved in ((0, 1), (0.5, 2), (1, 3), (2, 5)):
        found = Flow(2, guidance)(conditional, unconditional, NOISE)
        torch.testing.assert_close(found, NOISE + moved)


def test_with_guidance_0_or_1_the_other_velocity_is_not_computed():
    assert Flow(2, 1)(lambda x, _: x, never, NOISE).shape == NOISE.shape
    assert Flow(2, 0)(never, lambda x, _: x, NOISE).shape == NOISE.shape


def test_on_the_way_lie_noise_and_data_and_what_is_between():
    data = NOISE + 8
    torch.testing.assert_close(between(NOISE, data, torch.tensor([0.0, 1.0])), torch.stack([NOISE[0], data[1]]))
    torch.testing.assert_close(between(NOISE, data, torch.tensor([0.25, 0.5])), NOISE + torch.tensor([[2.0], [4.0]]))


def test_noise_and_time_follow_the_key_alone():
    noise, times = keyed_noise(["a", "b", "c"], (500, 4)), keyed_times(["a", "b", "c"])
    torch.rand(3)
    assert torch.equal(keyed_noise(["c", "a"], (500, 4)), noise[[2, 0]])
    assert torch.equal(keyed_times(["c", "a"]), times[[2, 0]])
    assert not torch.equal(noise[0], noise[1])
    assert len(set(times.tolist())) == 3
    assert abs(noise.mean()) < 0.1
    assert abs(noise.std() - 1) < 0.05


def test_no_step_is_refused():
    with pytest.raises(InputError, match=r"flow\.steps=0: take at least 1 step"):
        Flow(0)
