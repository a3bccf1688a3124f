"""MyFusion trains, its score follows from its predictions, and the image changes its output."""

import torch
from my_fusion import MyFusion

import velm_lightning as velm


def small(data):
    return MyFusion(
        image_encoder=velm.SmallCNN(48, widths=(8, 8), dim=16),
        text_encoder=velm.TransformerTextEncoder(dim=16, depth=1, heads=2),
        task=velm.Classification(),
        vocabulary=data.vocabulary,
    )


def test_it_trains_and_is_scored(tmp_path):
    data = velm.MultimodalData(velm.ShapeScenes(size=48, train=64, val=16, test=16), batch_size=16)
    run = velm.fit(small(data), data, max_epochs=1, runs=tmp_path)
    assert 0 <= run.scores["test"]["score"] <= 1


def test_the_image_changes_the_output():
    data = velm.MultimodalData(velm.ShapeScenes(size=48, train=64, val=16, test=16), batch_size=16)
    model = small(data).eval()
    images = torch.stack([torch.zeros(3, 48, 48), torch.full((3, 48, 48), 255.0)]).to(torch.uint8)
    black, white = model.predict(list(images), ["is there a red circle ?"] * 2)
    assert black != white
