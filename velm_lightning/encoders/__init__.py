"""Image and text encoders, and what connects them; a new one is a file beside these."""

from velm_lightning.encoders.base import ImageEncoder, TextEncoder
from velm_lightning.encoders.connectors import MLP, Connector, Linear, Queries
from velm_lightning.encoders.image.cnn import SmallCNN
from velm_lightning.encoders.image.frame_stack import FrameStack
from velm_lightning.encoders.image.patches import Patches
from velm_lightning.encoders.image.pretrained import PretrainedImage
from velm_lightning.encoders.image.torchvision import TorchvisionCNN
from velm_lightning.encoders.image.video import Video
from velm_lightning.encoders.image.vit import SmallViT
from velm_lightning.encoders.lora import LoRA
from velm_lightning.encoders.text.pretrained import PretrainedText
from velm_lightning.encoders.text.rnn import RecurrentText
from velm_lightning.encoders.text.transformer import TransformerText

__all__ = [
    "MLP",
    "Connector",
    "FrameStack",
    "ImageEncoder",
    "Linear",
    "LoRA",
    "Patches",
    "PretrainedImage",
    "PretrainedText",
    "Queries",
    "RecurrentText",
    "SmallCNN",
    "SmallViT",
    "TextEncoder",
    "TorchvisionCNN",
    "TransformerText",
    "Video",
]
