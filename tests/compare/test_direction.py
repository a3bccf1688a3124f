"""The better of two methods is the better by the figure that is tested, whether higher or lower values are better."""

import json

import numpy as np
import pytest
from helpers.run_folders import lines, run

from velm_lightning.compare.comparing import compare
from velm_lightning.compare.figures import panels
from velm_lightning.compare.measures import lower_is_better
from velm_lightning.compare.reading import read_runs
from velm_lightning.compare.tables import sheets


def compared(folder, **words):
    return compare(*read_runs([folder]), **words)


def sheet(comparison, start):
    (table,) = (table for table in sheets(comparison) if table.title.startswith(start))
    return table


def ranked(folder, fusion, seed, rank, score, losses=None, figures=None, **words):
    """Write a retrieval run with a median rank in its record and the mean sample score in its rows."""
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


def test_a_rank_is_tested_by_the_score_which_is_maximized(tmp_path):
    comparison = compared(retrieval(tmp_path), metric=RANK)
    assert comparison.metric[:2] == (RANK, -1)
    assert comparison.tested == "mean sample score"
    assert [result.method.name for result in comparison.results] == ["InteractiveFusion", "LateFusion", "TextOnly"]
    assert names(comparison.pairs) == [
        ("InteractiveFusion", "LateFusion"),
        ("InteractiveFusion", "TextOnly"),
        ("LateFusion", "TextOnly"),
    ]
    assert all(pair.clear and pair.difference.interval.value > 0 for pair in comparison.pairs)


def test_the_control_is_beaten_by_the_tested_figure(tmp_path):
    comparison = compared(retrieval(tmp_path), metric=RANK)
    rows = sheet(comparison, "against the better control").rows
    assert [(row[0], row[-1]) for row in rows] == [
        ("InteractiveFusion", "clearly better"),
        ("LateFusion", "clearly better"),
    ]
    assert all(row[1].startswith("+") for row in rows)
    assert not any(note.startswith("Not shown to beat") for note in comparison.notes)


def test_a_monitored_loss_that_rows_lack_is_tested_by_the_score(tmp_path):
    for seed in range(3):
        for fusion, loss, score in (("LateFusion", 0.2, 0.9), ("EarlyFusion", 0.7, 0.3)):
            words = {"checkpoint__monitor": "val/loss", "checkpoint__mode": "min"}
            ranked(tmp_path, fusion, seed, 1.0, score + seed / 100, figures={"loss": loss}, **words)
    comparison = compared(tmp_path)
    assert (comparison.metric[:2], comparison.tested) == (("loss", -1), "mean sample score")
    assert names(comparison.pairs) == [("LateFusion", "EarlyFusion")]
    assert comparison.pairs[0].difference.interval.value == pytest.approx(0.6)


def test_figures_that_are_minimized_are_recognized():
    lower = ("val_loss", "text_to_image_median_rank", "FID(judge-0a1b)", "perplexity", "word_error")
    assert all(map(lower_is_better, lower))
    assert not any(map(lower_is_better, ("score", "text_to_image_r1", "filter", "chrf", "judge_accuracy")))


def test_a_loss_without_values_for_some_samples_is_tested(tmp_path):
    for seed in range(3):
        for fusion, level in (("LateFusion", 0.2), ("EarlyFusion", 0.9)):
            losses = [None, None, *(level + seed / 100 + 0.001 * n for n in range(18))]
            figures = {"loss": float(np.mean(losses[2:]))}
            ranked(tmp_path, fusion, seed, 1.0, 0.5, losses, figures)
    comparison = compared(tmp_path, metric="loss")
    assert (comparison.tested, comparison.tested_sign) == ("loss", -1)
    assert names(comparison.pairs) == [("LateFusion", "EarlyFusion")]
    assert comparison.pairs[0].difference.interval.value == pytest.approx(-0.7)
    assert "lower values are better" in sheet(comparison, "paired differences").caption


def two_data_sets(folder):
    """The same fusion and control on easy and on hard data, each with its majority answer."""
    for seed in range(3):
        for data, level in (("easy", 0.8), ("hard", 0.2)):
            record = {
                "data": {"test": data},
                "floors": {"test": {"majority": {"answer": "yes", "score": level, "text_to_image_median_rank": 3.0}}},
            }
            for fusion, lead in (("LateFusion", 0.1 + seed / 100), ("TextOnly", 0.01 * seed)):
                made = ranked(folder, fusion, seed, 5.0, level + lead, data__name=data)
                path = made / "run.json"
                path.write_text(json.dumps(json.loads(path.read_text()) | record))


def test_each_data_set_has_its_own_control_and_floor(tmp_path):
    two_data_sets(tmp_path)
    comparison = compared(tmp_path)
    assert len(comparison.controls) == 2
    assert len([table for table in sheets(comparison) if table.title.startswith("against the better control")]) == 2
    for control in comparison.controls:
        (pair,) = comparison.against(control)
        assert pair.a.method.data == control.method.data
        assert pair.b is control
    assert sorted(comparison.floors.items()) == [
        ("majority answer 'yes' · data=easy", 0.8),
        ("majority answer 'yes' · data=hard", 0.2),
    ]
    rankings = [table for table in sheets(comparison) if table.title.startswith("score on test")]
    assert [table.title for table in rankings] == [
        f"score on test · data set {n}: {d}" for n, d in ((1, "easy"), (2, "hard"))
    ]
    assert [len(table.rows) for table in rankings] == [3, 3], "two methods and a floor; never one ranking"
    assert len([panel for panel in panels(comparison) if panel.title.startswith("Scores")]) == 2
    notes = [note for note in comparison.notes if note.startswith("Intervals that do not lie above")]
    assert [note.count("LateFusion") for note in notes] == [0, 0]


def test_a_record_of_an_earlier_version_is_compared(tmp_path):
    """Earlier records have no floors, no evaluations and no FLOPs of a training step."""
    for seed in range(3):
        folder = run(tmp_path, "LateFusion", seed)
        record = json.loads((folder / "run.json").read_text())
        for key in ("training_flops_per_sample", "inference_flops_per_sample", "modalities", "signature"):
            del record[key]
        (folder / "run.json").write_text(json.dumps(record | {"flops_per_sample": 44246016}))
    comparison = compared(tmp_path)
    assert (len(comparison.runs), comparison.left, comparison.floors) == (3, [], {})
    assert np.isnan(comparison.results[0].costs["training_flops_per_sample"])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"scores": {"test/score": 0.5}}, "`scores` in run.json must be a mapping from splits to figures"),
        ({"scores": {"test": {"score": None, "samples": 160}}}, None),
        ({"model": None}, None),
    ],
)
def test_an_odd_record_is_compared_or_left_out_by_name(tmp_path, changes, why):
    run(tmp_path, "EarlyFusion")
    path = run(tmp_path, "LateFusion") / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    comparison = compared(tmp_path, split="test")
    assert [left.why for left in comparison.left] == ([why] if why else [])
