"""MyTask scores rows by the reciprocal rank of the reference, and a model with it trains."""

import pytest
from my_task import MyTask

import velm_lightning as velm
from velm_lightning.types import Prediction


@pytest.mark.parametrize(("reference", "score"), [("red", 1.0), ("blue", 0.5), ("green", 0.0)])
def test_the_score_is_one_over_the_rank(reference, score):
    nan = float("nan")
    row = Prediction("1", "", "what colour?", "red | blue | grey", (reference,), nan, 0.5, nan)
    assert MyTask().score([row])[0].score == score


def test_a_model_with_it_trains(tmp_path):
    data = velm.MultimodalData(velm.ShapeScenes(size=48, train=64, val=16, test=16), batch_size=16)
    model = velm.LateFusion(
        image_encoder=velm.SmallCNN(48, widths=(8, 8), dim=16),
        text_encoder=velm.TransformerTextEncoder(dim=16, depth=1, heads=2),
        task=MyTask(),
        vocabulary=data.vocabulary,
    )
    run = velm.fit(model, data, max_epochs=1, runs=tmp_path)
    assert run.scores["test"]["accuracy"] <= run.scores["test"]["score"] <= 1
