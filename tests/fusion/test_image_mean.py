"""A fusion states whether the mean of the image tokens suffices; one that replaces a method on their path does not."""

import pytest
from helpers import tiny

from velm_lightning.encoders import LinearConnector, MeanConnector
from velm_lightning.fusion import LateFusion


class OfForward(LateFusion):
    def forward(self, batch):
        cells = self.image_encoder(batch.image)
        return self.fuse(self.connector(cells), self.embed_text(batch.words))


class OfEncodeImages(LateFusion):
    def encode_images(self, batch):
        return self.connector(self.image_encoder(batch.image).slice(0, 4))


class OfEncodeImage(LateFusion):
    def encode_image(self, image):
        return self.connector(self.image_encoder(image).slice(0, 4))


class Renamed(LateFusion):
    """The same model under another name."""


@pytest.mark.parametrize("kind", [LateFusion, Renamed])
def test_the_mean_suffices_a_fusion_with_its_connector(kind):
    assert tiny.fusion(kind, connector=MeanConnector()).uses_image_mean
    assert not tiny.fusion(kind, connector=LinearConnector()).uses_image_mean


@pytest.mark.parametrize("kind", [OfForward, OfEncodeImages, OfEncodeImage])
def test_a_fusion_that_reads_images_itself_gets_all_tokens(kind):
    assert not tiny.fusion(kind, connector=MeanConnector()).uses_image_mean
