"""One data module for every fusion and task; one file a dataset."""

from velm_lightning.data.coco_captions import COCOCaptions
from velm_lightning.data.flickr_tokens import FlickrTokens
from velm_lightning.data.jsonlines import JSONLines
from velm_lightning.data.karpathy import Karpathy
from velm_lightning.data.module import MultimodalData
from velm_lightning.data.shape_scenes import ShapeCaptions, ShapeScenes, ShapeStatements, ShapeTranslations
from velm_lightning.data.tokenizing import PretrainedTokenizer, Tokenizing, TrainedTokenizer
from velm_lightning.data.vqav2 import VQAv2

__all__ = [
    "COCOCaptions",
    "FlickrTokens",
    "JSONLines",
    "Karpathy",
    "MultimodalData",
    "PretrainedTokenizer",
    "ShapeCaptions",
    "ShapeScenes",
    "ShapeStatements",
    "ShapeTranslations",
    "Tokenizing",
    "TrainedTokenizer",
    "VQAv2",
]
