"""MyEncoder returns one token per cell of its grid, and a model with it trains."""

import torch
from my_encoder import MyEncoder

import velm_lightning as velm


def test_one_token_per_cell_of_the_grid():
    encoder = MyEncoder(size=48, dim=16)
    tokens = encoder(torch.zeros(2, 3, 48, 48, dtype=torch.uint8))
    assert tokens.embeddings.shape == (2, 36, 16)
    assert encoder.grid == (6, 6)


def test_a_model_with_it_trains(tmp_path):
    data = velm.MultimodalData(velm.ShapeScenes(size=48, train=64, val=16, test=16), batch_size=16)
    model = velm.LateFusion(
        image_encoder=MyEncoder(size=48, dim=16),
        text_encoder=velm.TransformerTextEncoder(dim=16, depth=1, heads=2),
        task=velm.Classification(),
        vocabulary=data.vocabulary,
    )
    run = velm.fit(model, data, max_epochs=1, runs=tmp_path)
    assert 0 <= run.scores["test"]["score"] <= 1
