"""Every benchmark runs with small settings, prints its table and compares equal results."""

import importlib.util

import pytest

from velm_lightning.bench import decoding, features, options, scoring, start, statistics
from velm_lightning.bench.gpu import command as gpu
from velm_lightning.cli.bench import BENCHES
from velm_lightning.metrics import score_captions

SMALL = {
    "fusions": ["--dim=16", "--depth=1", "--size=16", "--batch-size=8", "--steps=1", "--turns=1"],
    "decoding": ["--dim=64", "--depth=1", "--words=50", "--batch-size=2", "--length=4", "--beams=2", "--turns=1"],
    "features": ["--encoder=mobilenet_v3_small", "--size=32", "--dim=16", "--samples=8", "--batch-size=4", "--turns=1"],
    "gpu": ["--small", "--only", "growth"],
    "scoring": ["--images", "40", "20", "--turns=1"],
    "start": ["--turns=1"],
    "step": ["--dim=16", "--batch-size=4", "--steps=2", "--turns=1", "--minutes=0"],
    "statistics": ["--draws=4", "--tables", "gap"],
}
ROWS = {
    "fusions": ["LateFusion", "EarlyFusion", "InteractiveFusion", "TextOnly", "ImageOnly"],
    "decoding": ["greedy, velm, cached", "greedy, transformers", "beam 2, velm, cached", "beam 2, transformers"],
    "features": ["cached / in memory", "encoder in the loop / cached"],
    "gpu": ["NOT A GPU", "64 wide", "128 wide", "192 wide"],
    "scoring": [" 20 ", " 40 ", "200"],
    "start": ["velm --version", "velm fitt", "The shortest of 1 turns"],
    "step": ["velm / bare, elapsed", "velm / bare, CPU time", "NOT RESOLVED within +-2.0%"],
    "statistics": ["| seeds | normal | two modes, 1:1 |", "| 8 | "],
}


@pytest.mark.filterwarnings("ignore")  # of libraries
@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_prints_its_table(name, here, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(start, "COMMANDS", ("--version", "fitt"))
    assert here("bench", name, *SMALL[name]) == 0
    output = capsys.readouterr().out
    assert all(row in output for row in ROWS[name])
    assert "failed" not in output
    if name != "statistics":
        assert output.splitlines()[-1] == f"repeat with: velm bench {name} {' '.join(SMALL[name])}"


@pytest.mark.parametrize("name", ["start", "fusions"])
def test_a_benchmark_without_turns_is_refused(name, here, capsys):
    assert here("bench", name, "--turns=0") == 2
    assert "--turns must be at least 1, got 0" in capsys.readouterr().err


@pytest.mark.parametrize("seed", ["-1", str(2**32)])
def test_a_seed_that_no_generator_takes_is_refused(seed, here, capsys):
    with pytest.raises(SystemExit):
        here("bench", "baseline", "data.csv", f"--seeds={seed}")
    assert f"a seed must be from 0 to 2**32 - 1, got {seed}" in capsys.readouterr().err


def test_every_benchmark_is_tested():
    assert {*SMALL, "baseline"} == set(BENCHES)  # baseline: test_baseline.py, with data


def test_the_choices_of_the_options_are_those_of_the_code():
    assert tuple(decoding.CLOCKS) == options.CLOCKS
    assert tuple(features.FUSIONS) == options.FEATURE_FUSIONS
    assert tuple(statistics.TABLES) == options.TABLES
    assert tuple(gpu.PARTS) == options.GPU_PARTS


def test_drawn_captions_resemble_captions():
    captions_of = scoring.drawn(300)
    assert {len(captions) for captions in captions_of.values()} == {6}
    lengths = [len(caption.split()) for captions in captions_of.values() for caption in captions]
    assert 10 < sum(lengths) / len(lengths) < 11
    hypotheses = {key: captions[0] for key, captions in captions_of.items()}
    scores = score_captions(hypotheses, {key: captions[1:] for key, captions in captions_of.items()})
    assert 0.3 < scores["BLEU-1"].corpus < 0.9
    assert scoring.drawn(300) == captions_of


@pytest.mark.skipif(importlib.util.find_spec("pycocoevalcap") is None, reason="pycocoevalcap is not installed")
def test_pycocoevalcap_gives_the_same_figures():
    captions_of = scoring.drawn(20)
    hypotheses, references = (
        {key: captions[part] for key, captions in captions_of.items()} for part in (0, slice(1, None))
    )
    ours = {name: score.corpus for name, score in score_captions(hypotheses, references).items()}
    assert scoring.theirs(hypotheses, references) == pytest.approx(ours, abs=1e-9)
