"""Comparisons show scores without a model and the number of samples that have no score."""

import json

from helpers.run_folders import run

from velm_lightning.compare.comparing import compare
from velm_lightning.compare.reading import read_runs
from velm_lightning.compare.tables import sheets

FLOOR = {"floors": {"test": {"majority": {"answer": "yes", "score": 0.55}, "prior": {"score": 0.3}}}}


def test_the_majority_answer_is_a_row_and_never_a_method(tmp_path):
    for seed in range(3):
        for fusion, right in (("InteractiveFusion", 0.85), ("LateFusion", 0.5)):
            run(tmp_path, fusion, seed, right, FLOOR)
    comparison = compare(*read_runs([tmp_path]))
    assert comparison.floors == {"majority answer 'yes'": 0.55, "prior": 0.3}
    assert [row[:3] for row in sheets(comparison)[0].rows[-2:]] == [
        ["majority answer 'yes' (no model)", "—", "0.5500"],
        ["prior (no model)", "—", "0.3000"],
    ]
    assert len(comparison.results) == 2
    assert len(comparison.pairs) == 1
    (note,) = (note for note in comparison.notes if "majority" in note)
    late = next(result.method.name for result in comparison.results if result.method.fusion == "LateFusion")
    assert note == f"Intervals that do not lie above the majority answer 'yes', 0.5500: {late}."


def test_samples_without_references_are_noted(tmp_path):
    folder = run(tmp_path)
    record = json.loads((folder / "run.json").read_text())
    record["scores"]["test"]["without_references"] = 2
    (folder / "run.json").write_text(json.dumps(record))
    assert "2 samples of test have no references and no score." in compare(*read_runs([tmp_path])).notes


def test_a_line_separator_within_a_prediction_ends_no_row(tmp_path):
    folder = run(tmp_path)
    path = folder / "predictions" / "test.jsonl"
    path.write_text(path.read_text().replace('"prediction": "yes"', '"prediction": "y\u2028es"', 1))
    assert compare(*read_runs([tmp_path])).left == []
