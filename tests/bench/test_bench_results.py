"""Results state an interval, a machine, a date and the command that repeats them."""

import json
import math

import pytest

from velm_lightning.bench.interval import Interval, number
from velm_lightning.bench.result import Result, write
from velm_lightning.bench.step import verdict
from velm_lightning.bench.step_turns import Alternation, Limits, Taken, Turns


@pytest.mark.parametrize(("count", "low", "high"), [(6, 1, 6), (8, 1, 8), (9, 2, 8), (20, 6, 15), (100, 40, 61)])
def test_an_interval_of_the_median_covers_95_percent(count, low, high):
    """The ranks are those of the binomial table (Conover 1999)."""
    assert Interval.of(range(1, count + 1)) == Interval((count + 1) / 2, low, high, count)


def test_fewer_than_six_values_resolve_nothing():
    assert math.isinf(Interval.of([1.0] * 5).half_width)
    assert Interval.of([1.0] * 6).half_width == 0
    assert Interval.of([0.98, 1.0, 1.0, 1.0, 1.0, 1.03]).half_width == pytest.approx(0.03)


def test_numbers_have_four_digits():
    assert [number(value) for value in (0.123456, 1.0371, 251.34, 12345.6)] == ["0.1235", "1.037", "251.3", "12,346"]


def test_a_result_is_written_with_date_machine_and_command(tmp_path):
    result = Result("a title", ("", "ratio", "note"))
    result.add_row("a row", Interval(1.0, 0.9, 1.1, 6))
    write(tmp_path / "figures.json", "velm bench x", [result])
    record = json.loads((tmp_path / "figures.json").read_text())
    figures = {"name": "a row", "ratio": {"median": 1.0, "low": 0.9, "high": 1.1, "turns": 6}, "note": None}
    assert record["tables"] == [{"title": "a title", "rows": [figures], "notes": []}]
    assert record["command"] == "velm bench x"
    assert {"device", "processor", "cores", "torch", "velm-lightning"} <= set(record["machine"])
    page = (tmp_path / "figures.md").read_text()
    assert "| a row | 1 (0.9 to 1.1) | – |" in page
    assert f"\n\n{record['date'][:10]}, " in page
    assert f"transformers {record['machine']['transformers']}." in page
    assert page.endswith("repeat with: `velm bench x`\n")


def turns(ratios):
    """Turns with the given CPU ratios of velm to the bare loop; the ratio of elapsed times is useless."""
    return Turns(bare=[Taken(5.0, 1.0)] * len(ratios), velm=[Taken(50.0, ratio) for ratio in ratios])


NOISY, QUIET = [0.8, 1.0, 1.3, 1.0, 0.9, 1.2], [1.0] * 30
LIMITS = Limits(turns=6, within=0.02, minutes=1.0)


def test_turns_end_when_the_ratio_is_resolved():
    assert not LIMITS.reached(turns([1.01, 1.02] * 2), seconds=100.0)
    assert LIMITS.reached(turns([1.01, 1.02] * 3), seconds=0.0)
    sentence = "RESOLVED within +-2.0%: the ratio of CPU time is 1.015 (1.01 to 1.02)"
    assert verdict(turns([1.01, 1.02] * 3), 0.02).startswith(sentence)


def test_turns_go_on_while_the_ratio_is_not_resolved():
    assert not LIMITS.reached(turns(NOISY), seconds=59.0)
    assert LIMITS.reached(turns(NOISY + QUIET), seconds=59.0)


def test_a_ratio_that_time_did_not_resolve_is_said_to_be_so():
    assert LIMITS.reached(turns(NOISY), seconds=60.0)
    sentence = verdict(turns(NOISY), 0.02)
    assert sentence.startswith("NOT RESOLVED within +-2.0%")
    assert "repeat on an idle machine" in sentence


def test_the_loop_takes_turns_within_the_fit():
    """Every third step of the fit is followed by three of the loop; the first turns, which warm up, do not count."""
    done = []
    loop = type("Loop", (), {"run": lambda _, steps: done.append(steps)})()
    trainer = type("Trainer", (), {"should_stop": False})()
    alternation = Alternation(loop, 3, Limits(turns=2, within=0.02, minutes=0.0))
    steps = 0
    while not trainer.should_stop:
        steps = trainer.global_step = steps + 1
        alternation.on_train_batch_end(trainer, None)
    assert (steps, done) == (12, [3] * 4)
    assert len(alternation.turns.bare) == len(alternation.turns.velm) == 2


def test_the_ratio_is_that_of_each_turn():
    pairs = Turns(bare=[Taken(1, 2), Taken(2, 4)], velm=[Taken(2, 2), Taken(3, 8)])
    assert pairs.ratios("clock") == [2, 1.5]
    assert pairs.ratios("cpu") == [1, 2]
