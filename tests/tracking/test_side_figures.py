"""A failure of the gallery, an explanation or a summary warns with its reason and never ends a run."""

import warnings

import pytest
from helpers import python_runs

import velm_lightning as velm
from velm_lightning.fusion import LateFusion
from velm_lightning.tracking.shutdown import Interrupted
from velm_lightning.tracking.side_figures import side_figure


def test_an_error_becomes_a_warning_with_its_reason():
    reason = "the gallery is left out: ZeroDivisionError: division by zero"
    with pytest.warns(UserWarning, match=reason), side_figure("the gallery"):
        1 / 0  # noqa: B018


@pytest.mark.parametrize("error", [Interrupted(15), KeyboardInterrupt(), velm.InputError("a file")])
def test_a_signal_and_a_named_error_pass(error):
    with pytest.raises(type(error)), side_figure("the gallery", velm.InputError):
        raise error


class Unexplained(LateFusion):
    """A fusion of which no part can be explained."""

    def image_attention(self, maps, image, text):
        raise RuntimeError("no such layer")


@pytest.mark.slow
def test_a_run_finishes_without_its_side_figures(tmp_path, monkeypatch):
    data = python_runs.data()
    model = python_runs.model(data, Unexplained)
    monkeypatch.setattr("velm_lightning.tracking.thumbnails.jpeg", lambda *_: 1 / 0)
    monkeypatch.setattr("velm_lightning.tracking.limits.ceiling", lambda *_: 1 / 0)
    monkeypatch.setattr("velm_lightning.inspection.cost.flops", lambda *_: 1 / 0)
    monkeypatch.setattr(model.task, "floors", lambda *_: 1 / 0)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        run = velm.fit(model, data, runs=tmp_path, max_epochs=1, **python_runs.SILENT)
    assert run.record["status"] == "finished"
    assert run.scores["test"]["samples"] > 0
    assert (run.folder / "gallery" / "test.png").is_file(), "pictures and answers without heat maps"
    said = " ".join(str(warning.message) for warning in seen)
    for name in ("FLOPs were not counted", "the summary of the data", "the highest score", "the baselines of test"):
        assert name in said
    assert "the attention and evidence in the gallery is left out: RuntimeError: no such layer" in said
    assert "the thumbnails of test is left out" in said
