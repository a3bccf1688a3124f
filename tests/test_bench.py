"""Every benchmark runs to its table; what it measures is left to those who run it at its true size."""

import pytest

SMALL = {
    "fusions": ["--dim=16", "--depth=1", "--size=16", "--batch-size=8", "--steps=1", "--turns=1"],
    "decoding": ["--dim=64", "--depth=1", "--words=50", "--batch-size=2", "--length=4", "--beams=2", "--turns=1"],
    "features": ["--encoder=mobilenet_v3_small", "--size=32", "--dim=16", "--samples=8", "--batch-size=4", "--turns=1"],
    "step": ["--dim=16", "--batch-size=4", "--steps=5", "--turns=1"],
}
ROWS = {
    "fusions": ["LateFusion", "EarlyFusion", "InteractiveFusion", "TextOnly", "ImageOnly"],
    "decoding": ["greedy, velm, cached", "greedy, transformers", "beam 2, velm, cached", "beam 2, transformers"],
    "features": ["kept / in memory", "encoder in the loop / kept"],
    "step": ["velm / bare"],
}


@pytest.mark.filterwarnings("ignore")  # of libraries about each other
@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_prints_its_table(name, here, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert here("bench", name, *SMALL[name]) == 0
    said = capsys.readouterr().out
    assert all(row in said for row in ROWS[name])
