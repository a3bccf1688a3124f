"""Single answers: calibration, scores by reference answer and confusion, sentences, ranks."""

import json
from collections import defaultdict

import numpy as np
import pytest
from helpers.run_folders import fusions, lines, run

from velm_lightning.compare.comparing import compare
from velm_lightning.compare.reading import Scores, read_runs
from velm_lightning.compare.samples.answers import answers
from velm_lightning.compare.samples.calibration import calibration
from velm_lightning.compare.samples.detail_views import confusion, detail_sheets, recall_curves, reliability
from velm_lightning.compare.samples.details import Details
from velm_lightning.compare.samples.ranks import ranks
from velm_lightning.compare.samples.repetition import sentences

LINES = defaultdict(lambda: {"color": "#3366cc"})


def scores(predictions, references, confidences=None):
    """The predictions of a run, scored by exact match."""
    count, nothing = len(predictions), ("",) * len(predictions)
    keys = tuple(map(str, range(count)))
    values = np.array([float(text in given) for text, given in zip(predictions, references, strict=True)])
    sure = np.full(count, np.nan) if confidences is None else np.array(confidences)
    return Scores(keys, keys, nothing, values, values, tuple(predictions), tuple(references), nothing, sure)


def test_the_calibration_error_is_the_gap_of_each_bin_by_its_size():
    """Bin 0.9: three of four right, gap 0.15; bin 0.5: none of one right, gap 0.5."""
    run = scores(["a", "a", "a", "b", "b"], [("a",)] * 5, [0.9, 0.9, 0.9, 0.9, 0.5])
    found = calibration([run])
    assert found.error == pytest.approx((4 * 0.15 + 1 * 0.5) / 5)
    assert [count for _, _, count in found.bins] == [1, 4]


def test_the_calibration_error_is_the_mean_over_seeds():
    """Errors of opposite sign must not cancel."""
    sure = scores(["b"] * 10, [("a",)] * 10, [0.5] * 10)
    unsure = scores(["a"] * 10, [("a",)] * 10, [0.5] * 10)
    assert calibration([sure, unsure]).error == pytest.approx(0.5)


@pytest.mark.parametrize("confidences", [None, [1.5] * 4])
def test_without_probabilities_there_is_no_calibration(confidences):
    assert calibration([scores(["a"] * 4, [("a",)] * 4, confidences)]) is None


def test_scores_and_confusion_are_by_reference_answer():
    references = [("yes",)] * 20 + [("no",)] * 10 + [("red",)] * 3
    predictions = ["yes"] * 15 + ["no"] * 4 + ["blue"] + ["no"] * 10 + ["red"] * 3
    found = answers([scores(predictions, references)])
    assert found.support == {"yes": 20, "no": 10}, "rare answers are left out"
    assert found.scores == {"yes": 0.75, "no": 1.0}
    assert found.confusion == [[0.75, 0.2, 0.05], [0.0, 1.0, 0.0]]


def test_a_method_with_other_references_has_empty_cells():
    """A run folder that was edited, whose fingerprints are those of the others, ends no comparison."""
    both = [[("yes",)] * 10 + [("no",)] * 10, [("Yes",)] * 10 + [("no",)] * 10]
    found = {name: answers([scores(["no"] * 20, each)]) for name, each in zip("AB", both, strict=True)}
    (sheet,) = (sheet for sheet in detail_sheets(Details(answers=found)) if sheet.rows)
    assert sheet.rows == [["yes", "10", "0.0000", "—"], ["no", "10", "1.0000", "1.0000"]]


def test_one_answer_is_no_table():
    assert answers([scores(["a"] * 30, [("a",)] * 30)]) is None


def test_sentences_are_described_by_length_repetition_and_misses():
    references = [("a dog runs on grass", "a dog plays on grass")] * 10
    found = sentences([scores(["a dog runs"] * 8 + ["a cat sits", "grass"], references)])
    assert (found.words, found.reference_words) == (2.8, 5.0)
    assert found.distinct == 0.3
    assert found.repeated == [("a dog runs", 0.8), ("a cat sits", 0.1), ("grass", 0.1)]
    missed = {text: (expected, count) for text, expected, count in found.missed}
    assert missed["on grass"] == (10, 10)
    assert missed["a dog"] == (10, 2)
    assert "runs" not in missed, "one of two references is not most of them"


def test_short_answers_are_no_sentences():
    assert sentences([scores(["yes"] * 5, [("yes",)] * 5)]) is None


def test_the_page_has_the_tables_and_plots_that_have_data(tmp_path):
    (found,) = compare(*read_runs([fusions(tmp_path)])).details.values()
    assert [sheet.title for sheet in detail_sheets(found) if sheet.rows] == ["calibration error"]
    assert len(reliability(found, LINES).variants["calibration"]["data"]) == 4, "the diagonal and three methods"
    empty = Details()
    assert not [sheet for sheet in detail_sheets(empty) if sheet.rows]
    assert not reliability(empty, LINES).variants
    assert not confusion(empty).variants


def test_an_answer_in_a_plot_is_plain_text():
    references = [("<b>x</b>",)] * 20 + [("no",)] * 10
    run = scores(["no"] * 30, references)
    found = Details({}, {"A": answers([run])}, {})
    (figure,) = confusion(found).variants.values()
    assert "&lt;b&gt;x&lt;/b&gt;" in figure["data"][0]["x"]


def ranked(places, group="text to image"):
    run = scores(
        [f"rank {place}; first: a long name of a file" for place in places], [("four words and more",)] * len(places)
    )
    return run._replace(groups=(group,) * len(places))


def test_ranks_are_counted_by_group_over_all_seeds():
    both = ranks([ranked([1, 1, 3, 12]), ranked([1, 2, 6, 12])])["text to image"]
    assert (both.queries, both.median) == (4, 2.5)
    assert [both.at(k) for k in (1, 2, 5, 10, 15, 1000)] == [0.375, 0.5, 0.625, 0.75, 1.0, 1.0]
    assert max(both.recall) == 15, "the curve ends where everything is found"
    assert not ranks([ranked([1]), scores(["a red dog"], [("a dog",)])]), "one prediction without a rank"


def test_ranks_of_one_part_are_not_repeated_for_its_group():
    assert list(ranks([ranked([1, 3], "text to image / colour")])) == ["text to image / colour"]


def test_ranks_have_a_table_and_a_curve_per_group(tmp_path):
    found = Details({}, {}, {}, {"Late": ranks([ranked([1, 8])]), "Early": ranks([ranked([2, 2], "image to text")])})
    (sheet,) = (sheet for sheet in detail_sheets(found) if sheet.rows)
    assert sheet.head == ["method", "queries", "number", "R@1", "R@5", "R@10", "median rank"]
    assert sheet.rows[0] == ["Late", "text to image", "2", "0.5000", "0.5000", "1.0000", "4.5"]
    curve = recall_curves(found, LINES).variants["text to image"]["data"][0]
    assert dict(zip(curve["x"], curve["y"], strict=True)) == {1: 0.5, 2: 0.5, 3: 0.5, 5: 0.5, 7: 0.5, 10: 1.0}


def test_ranks_are_no_sentences(tmp_path):
    folder = run(tmp_path)
    path = folder / "predictions" / "test.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    text = {"prediction": "rank 3; first: a dog runs", "references": ["a cat sits on grass"]}
    path.write_text(lines([row | text for row in rows]))
    (found,) = compare(*read_runs([folder])).details.values()
    assert not found.sentences
    assert not found.answers
    assert set(found.ranks["LateFusion"]) == {"colour", "count"}
