"""Image and text encoders, and what connects them; a new one is a file beside these."""

from velm_lightning.encoders.base import ImageEncoder, TextEncoder
from velm_lightning.encoders.cnn import SmallCNN
from velm_lightning.encoders.connector import MLP, Connector, Linear, Queries
from velm_lightning.encoders.frame_stack import FrameStack
from velm_lightning.encoders.lora import LoRA
from velm_lightning.encoders.patches import Patches
from velm_lightning.encoders.pretrained_image import PretrainedImage
from velm_lightning.encoders.pretrained_text import PretrainedText
from velm_lightning.encoders.recurrent import RecurrentText
from velm_lightning.encoders.torchvision_cnn import TorchvisionCNN
from velm_lightning.encoders.transformer import TransformerText
from velm_lightning.encoders.video import Video
from velm_lightning.encoders.vit import SmallViT

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
