"""Image and text encoders; a new one is a file beside these."""

from velm_lightning.encoders.base import ImageEncoder, TextEncoder
from velm_lightning.encoders.cnn import SmallCNN
from velm_lightning.encoders.recurrent import RecurrentText
from velm_lightning.encoders.torchvision_cnn import TorchvisionCNN
from velm_lightning.encoders.transformer import TransformerText
from velm_lightning.encoders.vit import SmallViT

__all__ = ["ImageEncoder", "RecurrentText", "SmallCNN", "SmallViT", "TextEncoder", "TorchvisionCNN", "TransformerText"]
