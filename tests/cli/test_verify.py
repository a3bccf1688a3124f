"""``velm verify`` finds every figure that does not follow from the stored predictions."""

import json
import math

import pytest
import torch
from helpers import tiny
from rich.console import Console

from velm_lightning.cli.commands import main
from velm_lightning.cli.verify import show
from velm_lightning.inspection.verify import Figure, verify
from velm_lightning.io.configurable import to_config
from velm_lightning.tasks import Classification, Generation, MaskedLM, Mixture, Retrieval
from velm_lightning.tasks.rows import group_scores
from velm_lightning.tracking.run import Run
from velm_lightning.types import InputError, Prediction, Sample


def evaluated(folder, task, rows):
    """Write a run's folder as an evaluation does."""
    run, rows = Run(folder), task.score(rows)
    run.write_predictions("val", rows)
    figures = task.compute_metrics(rows) | {"samples": len(rows)}
    groups = {name: score for name, (_, score) in group_scores(rows).items()}
    run.update(id="x", model={"init_args": {"task": to_config(task)}}, scores={"val": figures}, groups={"val": groups})
    return folder


@pytest.fixture(params=["classification", "generation"])
def folder(request, tmp_path):
    predictions = {"a": "a red circle", "b": "a blue star", "c": "two stars"}
    refs = {"a": ("a red circle",), "b": ("a green star",), "c": ("two stars",)}
    rows = [
        Prediction(key, "ab"[key == "c"], "", sentence, refs[key], math.nan, 0.5, 0.1, key)
        for key, sentence in predictions.items()
    ]
    return evaluated(tmp_path, Classification() if request.param == "classification" else Generation(), rows)


class ScoresInPredict(Classification):
    """A task as somebody may write it: rows are scored when they are predicted, and ``score`` changes nothing."""

    def score(self, rows):
        return list(rows)


def test_scores_of_predict_are_kept_if_score_has_none(tmp_path):
    nan = math.nan
    rows = [Prediction(key, "", "", "red", ("red",), float(key == "a"), nan, nan, key) for key in "abc"]
    evaluated(tmp_path, ScoresInPredict(), rows)
    figures = verify(tmp_path, ["test_verify"])
    assert all(figure.agrees for figure in figures)
    assert {figure.name: figure.computed for figure in figures}["score"] == pytest.approx(1 / 3)
    assert ScoresInPredict().floors(rows, [Sample("t", None, "", "red", ("red",))]) == {}


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_figures_that_follow_from_the_rows_agree(folder):
    figures = verify(folder)
    assert all(figure.agrees for figure in figures)
    assert {"score", "loss", "samples", "score · a", "score · b"} <= {figure.name for figure in figures}


def test_a_figure_that_was_changed_is_found(folder):
    record = json.loads((folder / "run.json").read_text())
    record["scores"]["val"]["score"] += 1e-6
    (folder / "run.json").write_text(json.dumps(record))
    assert [figure.name for figure in verify(folder) if not figure.agrees] == ["score"]


def test_a_prediction_that_was_changed_is_found(folder):
    change(folder / "predictions" / "val.jsonl", "a blue star", "a green star")
    wrong = {figure.name for figure in verify(folder) if not figure.agrees}
    assert {"score", "score · a", "samples with another score, as b"} <= wrong


def test_every_task_of_a_mixture_is_recomputed(tmp_path):
    words = tiny.vocabulary(answers=())
    model = tiny.fusion(vocabulary=words, task=Mixture({"words": MaskedLM(), "pairs": Retrieval(width=6)})).eval()
    with torch.no_grad():
        rows = model.task.aggregate(model, sorted(model.task.predict(model, tiny.batch(tiny.described(), words))))
    evaluated(tmp_path, model.task, rows)
    figures = verify(tmp_path)
    assert all(figure.agrees for figure in figures)
    assert {"words_score", "words_loss", "pairs_score", "score · pairs: text to image"} <= {
        figure.name for figure in figures
    }
    change(tmp_path / "predictions" / "val.jsonl", '"prediction": "rank ', '"prediction": "rank 1')
    wrong = {figure.name for figure in verify(tmp_path) if not figure.agrees}
    assert any(name.startswith("pairs_") for name in wrong)
    assert not any(name.startswith("words_") for name in wrong)


def test_a_missing_prediction_is_found(folder):
    path = folder / "predictions" / "val.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert "samples" in {figure.name for figure in verify(folder) if not figure.agrees}


def test_the_command_reports_and_fails(folder, capsys):
    assert main(["verify", str(folder)]) == 0
    assert "figures agree with the stored predictions" in capsys.readouterr().out
    change(folder / "predictions" / "val.jsonl", "two stars", "three stars")
    assert main(["verify", str(folder)]) == 1
    assert "differs" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["[/b]", "[bold]", "[link=file:///x]y", ":warning:"])
def test_names_in_the_table_are_no_markup(capsys, text):
    show(f"title {text}", [Figure(f"split {text}", f"figure {text}", 0.0, 1.0)], Console(width=200))
    printed = capsys.readouterr().out
    assert all(f"{name} {text}" in printed for name in ("title", "split", "figure"))


def test_a_folder_without_a_run_is_refused(tmp_path, folder):
    with pytest.raises(InputError, match="holds no evaluated run"):
        verify(tmp_path / "none")
    change(folder / "predictions" / "val.jsonl", '"prediction"', '"word"')
    with pytest.raises(InputError, match=r"val\.jsonl:1: not a prediction"):
        verify(folder)
