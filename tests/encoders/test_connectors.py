"""Connectors map image tokens to the width of the text."""

import pytest
import torch
from helpers import tiny

from velm_lightning.encoders import LinearConnector, MeanConnector
from velm_lightning.types import Tokens

IMAGE_DIM = 12


def built(connector):
    torch.manual_seed(0)
    connector.build(IMAGE_DIM, tiny.DIM)
    return connector


def test_the_mean_connector_returns_one_token_per_image():
    connector, image = built(MeanConnector()), Tokens.of_image(torch.randn(2, 9, IMAGE_DIM))
    token = connector(image)
    assert token.embeddings.shape == (2, 1, tiny.DIM)
    torch.testing.assert_close(token.embeddings[:, 0], connector.map(image.embeddings.mean(1)))


def test_the_mean_connector_skips_invalid_tokens():
    image = Tokens.of_image(torch.randn(2, 3, IMAGE_DIM))
    image = image._replace(mask=torch.tensor([[True, True, False], [False, False, False]]))
    connector = built(MeanConnector())
    token = connector(image)
    assert token.mask.tolist() == [[True], [False]]
    torch.testing.assert_close(token.embeddings[0, 0], connector.map(image.embeddings[0, :2].mean(0)))


def test_a_connector_with_another_forward_may_use_more_than_the_mean():
    class Longer(MeanConnector):
        pass

    class Largest(MeanConnector):
        def forward(self, image):
            return super().forward(image.with_embeddings(image.embeddings.amax(1, keepdim=True)))

    assert (Longer.uses_mean, Largest.uses_mean) == (True, False)


@pytest.mark.parametrize("connector", [MeanConnector, LinearConnector])
def test_dropout_does_not_average_out_over_the_tokens(connector):
    """Where each token loses other entries, two passes over 400 equal tokens have nearly the same mean."""
    image = Tokens.of_image(torch.randn(1, 1, IMAGE_DIM).expand(1, 400, IMAGE_DIM))

    def difference(connector):
        with torch.no_grad():
            return float((connector(image).mean() - connector(image).mean()).abs().mean())

    assert difference(built(connector(dropout=0.5))) > 0.1


def test_the_linear_connector_drops_the_same_entries_of_all_tokens_and_others_of_each_image():
    connector, features = built(LinearConnector(dropout=0.5)), torch.ones(8, 5, IMAGE_DIM)
    kept = []
    connector.map.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0] != 0))
    connector(Tokens.of_image(features))
    assert (kept[0] == kept[0][:, :1]).all()
    assert len({tuple(row) for row in kept[0][:, 0].tolist()}) > 1
    connector.eval()(Tokens.of_image(features))
    assert kept[1].all()
