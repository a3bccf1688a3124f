"""The better of two methods is the better by the figure that is tested, whether higher or lower values are better."""

import json

import numpy as np
import pytest
from helpers.run_folders import lines, run

from velm_lightning.compare.comparison import compare
from velm_lightning.compare.reading import read_runs
from velm_lightning.compare.tables import sheets


def compared(folder, **words):
    return compare(*read_runs([folder]), **words)


def sheet(found, start):
    (table,) = (table for table in sheets(found) if table.title.startswith(start))
    return table


def ranked(folder, fusion, seed, rank, score, losses=None, figures=None, **words):
    """A retrieval run with a median rank in its record and the mean sample score in its rows."""
    made = run(folder, fusion, seed, **words)
    losses = [None] * 20 if losses is None else losses
    rows = [
        {"key": f"{n}", "group": "g", "prediction": "a", "references": ["a"], "image": f"i{n}", "loss": loss,
         "score": score + 0.01 * (n % 3)}
        for n, loss in enumerate(losses)
    ]  # fmt: skip
    mean = float(np.mean([row["score"] for row in rows]))
    figures = {"score": mean, "samples": 20, "text_to_image_median_rank": rank} | (figures or {})
    for split in ("val", "test"):
        (made / "predictions" / f"{split}.jsonl").write_text(lines(rows))
    record = json.loads((made / "run.json").read_text())
    (made / "run.json").write_text(json.dumps(record | {"scores": {"val": figures, "test": figures}}))
    return made


RANK = "text_to_image_median_rank"


def retrieval(folder, **words):
    """Three methods: interactive fusion has the best rank and score, the control the worst."""
    for seed in range(4):
        ranked(folder, "InteractiveFusion", seed, 2.0 + seed / 10, 0.8 + seed / 100, **words)
        ranked(folder, "LateFusion", seed, 9.0 + seed / 10, 0.4 + seed / 100, **words)
        ranked(folder, "TextOnly", seed, 30.0 + seed / 10, 0.2 + seed / 100, **words)
    return folder


def names(pairs):
    return [(pair.a.method.name, pair.b.method.name) for pair in pairs]


def test_a_rank_is_tested_by_a_score_of_which_more_is_better(tmp_path):
    found = compared(retrieval(tmp_path), metric=RANK)
    assert found.metric[:2] == (RANK, -1)
    assert found.tested == "mean sample score"
    assert [one.method.name for one in found.results] == ["InteractiveFusion", "LateFusion", "TextOnly"]
    assert names(found.pairs) == [
        ("InteractiveFusion", "LateFusion"),
        ("InteractiveFusion", "TextOnly"),
        ("LateFusion", "TextOnly"),
    ]
    assert all(pair.clear and pair.difference.interval.value > 0 for pair in found.pairs)


def test_the_control_is_beaten_by_the_tested_figure(tmp_path):
    found = compared(retrieval(tmp_path), metric=RANK)
    rows = sheet(found, "against the better control").rows
    assert [(row[0], row[-1]) for row in rows] == [
        ("InteractiveFusion", "clearly better"),
        ("LateFusion", "clearly better"),
    ]
    assert all(row[1].startswith("+") for row in rows)
    assert not any(note.startswith("Not shown to beat") for note in found.notes)


def test_a_monitored_loss_that_rows_lack_is_tested_by_the_score(tmp_path):
    for seed in range(3):
        for fusion, loss, score in (("LateFusion", 0.2, 0.9), ("EarlyFusion", 0.7, 0.3)):
            words = {"checkpoint__monitor": "val/loss", "checkpoint__mode": "min"}
            ranked(tmp_path, fusion, seed, 1.0, score + seed / 100, figures={"loss": loss}, **words)
    found = compared(tmp_path)
    assert (found.metric[:2], found.tested) == (("loss", -1), "mean sample score")
    assert names(found.pairs) == [("LateFusion", "EarlyFusion")]
    assert found.pairs[0].difference.interval.value == pytest.approx(0.6)
