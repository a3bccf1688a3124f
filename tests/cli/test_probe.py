"""The printed table and the options of ``velm probe``."""

import pytest
from rich.console import Console

from velm_lightning.cli.commands import main
from velm_lightning.cli.model.probe import show
from velm_lightning.inspection.probe import Probe, Shuffled


def printed(capsys, split="test", unchanged=0):
    shuffled = {"text": Shuffled([0.25, 0.75], 0.5, 0.5, unchanged)}
    show(Probe(split, 9, 0, 1.0, shuffled, [0.0, 1.0], {"text": [1.0, 0.125]}), Console(width=200))
    return capsys.readouterr().out


def test_the_table_shows_mean_cost_share_and_missing_scores(capsys):
    out = printed(capsys)
    assert "score on 9 samples of test: 1.0000" in out
    assert all(value in out for value in ("0.5000", "50.0%", "0.1250", "100% missing"))
    assert "note:" not in out


def test_a_note_counts_samples_that_keep_a_shuffled_text(capsys):
    assert "note: 5 of 9 samples keep their text when shuffled" in printed(capsys, unchanged=5)


@pytest.mark.parametrize("text", ["[/b]", "[bold]", ":warning:"])
def test_the_name_of_a_split_is_no_markup(capsys, text):
    assert f"samples of val@{text}: 1.0000" in printed(capsys, f"val@{text}")


@pytest.mark.parametrize(
    ("option", "message"),
    [("--shuffles=0", "--shuffles must be at least 1, got 0"), ("--limit=-1", "--limit must be at least 0, got -1")],
)
def test_an_option_out_of_range_is_named(capsys, option, message):
    assert main(["probe", "run", option]) == 2
    assert message in capsys.readouterr().err
