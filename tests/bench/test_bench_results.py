"""Results state an interval, a machine, a date and the command that repeats them."""

import json
import math

import pytest

from velm_lightning.bench import step
from velm_lightning.bench.interval import Interval, number
from velm_lightning.bench.result import Result, write
from velm_lightning.bench.step import Taken, Turns


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
    assert page.startswith(record["date"])
    assert record["machine"]["torch"] in page
    assert page.rstrip().endswith("repeat with: `velm bench x`")


@pytest.fixture
def turns(monkeypatch):
    """A function that measures given CPU ratios of velm to the bare loop; elapsed times are useless."""

    def measured(ratios, **options):
        sequence = iter([99.0, *ratios])  # the first turn warms up
        monkeypatch.setattr(step, "bare_turn", lambda *_: Taken(clock=5.0, cpu=1.0))
        monkeypatch.setattr(step, "velm_turn", lambda *_: Taken(clock=50.0, cpu=next(sequence)))
        model = type("Model", (), {"transform": None})
        return step.measure(model, type("Data", (), {}), 5, **{"least": 6, "within": 0.02, "minutes": 1.0} | options)

    return measured


def test_turns_end_when_the_ratio_is_resolved(turns):
    taken = turns([1.01, 1.02] * 10)
    assert len(taken.bare) == 6
    assert step.verdict(taken, 0.02).startswith("RESOLVED within +-2.0%: the ratio of CPU time is 1.015 (1.01 to 1.02)")


def test_turns_go_on_while_the_ratio_is_not_resolved(turns):
    noisy, quiet = [0.8, 1.0, 1.3, 1.0, 0.9, 1.2], [1.0] * 30
    assert 6 < len(turns(noisy + quiet).bare) < 36


def test_a_ratio_that_time_did_not_resolve_is_said_to_be_so(turns):
    taken = turns([0.8, 1.0, 1.3] * 4, minutes=0.0)
    assert len(taken.bare) == 6
    verdict = step.verdict(taken, 0.02)
    assert verdict.startswith("NOT RESOLVED within +-2.0%")
    assert "repeat on an idle machine" in verdict


def test_the_ratio_is_that_of_each_turn():
    pairs = Turns(bare=[Taken(1, 2), Taken(2, 4)], velm=[Taken(2, 2), Taken(3, 8)])
    assert pairs.ratios("clock") == [2, 1.5]
    assert pairs.ratios("cpu") == [1, 2]
