"""The order of samples is a function of (seed, epoch, position), at any number of processes."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from velm_lightning.data.samplers import SPREAD, EvaluationSampler, TrainSampler
from velm_lightning.io.seeding import stable_number
from velm_lightning.types import InputError

PINNED = 6745592693919859453  # blake2b of "0\x1f1\x1fkey", truncated to 63 bits, computed separately
COUNTS, SIZES, WORLDS = st.integers(1, 200), st.integers(1, 80), st.integers(1, 8)


def batches(order):
    """The batches that a loader makes of an order, and their epochs."""
    places = list(order)
    return [[index for _, index in places[i : i + order.batch_size]] for i in range(0, len(places), order.batch_size)]


def train(count, size, world=1, epoch=0, seed=0, **more):
    """The training batches of each rank."""
    ranks = [TrainSampler(count, size, seed, rank, world, **more) for rank in range(world)]
    for order in ranks:
        order.set_epoch(epoch)
    return [batches(order) for order in ranks]


def merged(ranks):
    """The batches of all ranks, concatenated per step."""
    return [sum(step, []) for step in zip(*ranks, strict=True)]


# Training


def test_an_epoch_shows_every_sample_once():
    (batches,) = train(12, 4)
    assert sorted(sum(batches, [])) == list(range(12))
    assert [len(batch) for batch in batches] == [4, 4, 4]


def test_the_order_is_a_function_of_seed_and_epoch():
    assert train(50, 5, epoch=3, seed=1) == train(50, 5, epoch=3, seed=1)
    torch.manual_seed(123)
    assert train(50, 5, epoch=3, seed=1) == train(50, 5, epoch=3, seed=1)
    orders = [train(50, 5, epoch=epoch, seed=seed) for epoch in range(3) for seed in range(3)]
    assert all(a != b for i, a in enumerate(orders) for b in orders[:i])


def test_every_epoch_may_repeat_the_first():
    assert train(50, 5, epoch=3, seed=1, repeated=True) == train(50, 5, epoch=0, seed=1)


def test_an_epoch_can_be_drawn_without_those_before_it():
    order = TrainSampler(50, 5, seed=1)
    for epoch in range(3):
        order.set_epoch(epoch)
        list(order)
    order.set_epoch(3)
    assert [batches(order)] == train(50, 5, epoch=3, seed=1)


@pytest.mark.parametrize("world", [2, 3])
def test_the_ranks_together_make_the_batches_of_one_process(world):
    assert merged(train(50, 6 // world, world, epoch=2, seed=4)) == merged(train(50, 6, 1, epoch=2, seed=4))


@given(COUNTS, SIZES, WORLDS)
def test_every_rank_has_equally_many_steps_of_equal_size(count, size, world):
    if count < world:
        return
    ranks = train(count, size, world)
    sizes = {len(batch) for batches in ranks for batch in batches}
    assert len({len(batches) for batches in ranks}) == 1
    assert len(ranks[0]) >= 1
    assert sizes == {min(size, count // world)}
    draws = Counter(index for batches in ranks for batch in batches for index in batch)
    assert set(draws.values()) == {1}
    order = TrainSampler(count, size, 0, 0, world)
    assert len(order) == len(list(order))
    assert order.left_out == count - len(draws) < world * order.batch_size


def test_other_samples_are_left_out_in_each_epoch():
    left = [set(range(11)) - set(sum(train(11, 4, epoch=epoch)[0], [])) for epoch in range(20)]
    assert all(len(samples) == 3 for samples in left)
    assert set().union(*left) == set(range(11))


def test_a_place_carries_its_epoch_so_that_workers_need_no_state():
    order = TrainSampler(4, 2, seed=0)
    order.set_epoch(7)
    assert {epoch for epoch, _ in order} == {7}


def test_weights_are_relative_frequencies():
    weights = torch.tensor([1.0, 3.0, 0.0, 0.0])
    order = TrainSampler(4, 4, seed=0, weights=weights)
    draws = Counter()
    for epoch in range(2000):
        order.set_epoch(epoch)
        draws.update(index for _, index in order)
    assert set(draws) == {0, 1}
    assert draws[1] / 8000 == pytest.approx(0.75, abs=0.02)


def test_a_weighted_order_is_the_same_at_any_number_of_processes():
    weights = torch.arange(1.0, 51.0)
    assert merged(train(50, 2, 3, epoch=1, weights=weights)) == merged(train(50, 6, 1, epoch=1, weights=weights))


# Evaluation


def evaluated(count, size, world):
    return [batches(EvaluationSampler(count, size, rank, world)) for rank in range(world)]


@given(COUNTS, SIZES, WORLDS)
def test_every_sample_is_evaluated_once(count, size, world):
    if count < world:
        return
    ranks = evaluated(count, size, world)
    assert sorted(index for batches in ranks for batch in batches for index in batch) == list(range(count))
    assert all(batches for batches in ranks), "a rank without batches would not take part in gathering"
    assert max(len(batch) for batches in ranks for batch in batches) <= size
    for rank, batches in enumerate(ranks):
        assert len(EvaluationSampler(count, size, rank, world)) == sum(map(len, batches))


@given(st.integers(SPREAD, 200), SIZES, WORLDS)
def test_evaluation_batches_do_not_depend_on_the_process_count(count, size, world):
    together = [batch for batches in evaluated(count, size, world) for batch in batches]
    assert sorted(together) == evaluated(count, size, 1)[0]


def test_a_large_split_has_batches_of_the_requested_size():
    assert {len(batch) for batch in evaluated(64 * SPREAD, 64, 1)[0]} == {64}


def test_samples_are_evaluated_in_their_own_order():
    assert evaluated(100, 4, 1)[0][:2] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert evaluated(100, 4, 2)[1][:2] == [[4, 5, 6, 7], [12, 13, 14, 15]]


def test_a_loader_may_be_read_again():
    order = EvaluationSampler(10, 4)
    assert list(order) == list(order)


@pytest.mark.parametrize("make", [lambda: TrainSampler(2, 4, 0, 0, 3), lambda: EvaluationSampler(2, 4, 0, 3)])
def test_fewer_samples_than_processes_are_refused(make):
    with pytest.raises(InputError, match="split has 2 samples for 3 processes: use fewer devices, or more data"):
        make()


# Seeds


def test_a_stable_seed_is_the_same_in_any_process():
    assert stable_number(0, 1, "key") == PINNED


def test_stable_seeds_depend_on_every_part():
    assert len({stable_number(1, 11), stable_number(11, 1), stable_number(1, 1, 1), stable_number(111)}) == 4
    assert all(0 <= stable_number(0, n) < 2**63 for n in range(100))


def test_an_order_that_goes_on_leaves_out_what_has_been_seen():
    whole = TrainSampler(23, 4, seed=5, rank=1, world=2)
    whole.set_epoch(3)
    resumed = TrainSampler(23, 4, seed=5, rank=1, world=2)
    resumed.resume_at(3, 1)
    assert list(resumed) == list(whole)[4:]
    assert len(resumed) == len(whole), "an epoch has as many steps as before"
    for order in (whole, resumed):
        order.set_epoch(4)
    assert list(resumed) == list(whole)


def test_what_an_epoch_leaves_out_is_reported():
    sentence = TrainSampler(23, 4, seed=0, world=2).describe()
    assert sentence.startswith(
        "training: 2 steps of 8 samples over 2 processes per epoch; 7 of the 23 samples are left out"
    )
