"""Image encoders, text encoders and the connectors between them; one module per encoder."""

from velm_lightning.encoders.base import ImageEncoder, TextEncoder
from velm_lightning.encoders.connectors import Connector, LinearConnector, MeanConnector, MLPConnector, Resampler
from velm_lightning.encoders.image.cnn import SmallCNN
from velm_lightning.encoders.image.frame_stack import FrameStack
from velm_lightning.encoders.image.patch_embedding import PatchEmbedding
from velm_lightning.encoders.image.patches import Patches
from velm_lightning.encoders.image.pretrained import HFImageEncoder
from velm_lightning.encoders.image.tiled import TiledEncoder
from velm_lightning.encoders.image.torchvision import TorchvisionCNN
from velm_lightning.encoders.image.video import VideoEncoder
from velm_lightning.encoders.image.vit import SmallViT
from velm_lightning.encoders.lora import LoRA
from velm_lightning.encoders.text.pretrained import HFTextEncoder
from velm_lightning.encoders.text.rnn import RNNTextEncoder
from velm_lightning.encoders.text.transformer import TransformerTextEncoder

__all__ = [
    "MLPConnector",
    "MeanConnector",
    "Connector",
    "FrameStack",
    "ImageEncoder",
    "LinearConnector",
    "LoRA",
    "PatchEmbedding",
    "Patches",
    "HFImageEncoder",
    "HFTextEncoder",
    "Resampler",
    "RNNTextEncoder",
    "SmallCNN",
    "SmallViT",
    "TextEncoder",
    "TiledEncoder",
    "TorchvisionCNN",
    "TransformerTextEncoder",
    "VideoEncoder",
]
