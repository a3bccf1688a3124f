"""One data module for every fusion and task; one file a dataset."""

from velm_lightning.data.caption_pairs import CaptionPairs
from velm_lightning.data.clips import Clips
from velm_lightning.data.coco_captions import COCOCaptions
from velm_lightning.data.digits import Digits
from velm_lightning.data.face_posts import FacePosts
from velm_lightning.data.flickr_tokens import FlickrTokens
from velm_lightning.data.jsonlines import JSONLines
from velm_lightning.data.karpathy import Karpathy
from velm_lightning.data.module import MultimodalData
from velm_lightning.data.multi30k import Multi30k
from velm_lightning.data.nlvr import NLVR
from velm_lightning.data.shape_clips import ShapeClipCaptions, ShapeClips
from velm_lightning.data.shape_dialogues import ShapeDialogues
from velm_lightning.data.shape_drawings import ShapeDrawings
from velm_lightning.data.shape_scenes import ShapeCaptions, ShapeScenes, ShapeStatements, ShapeTranslations
from velm_lightning.data.shape_summaries import ShapeSummaries
from velm_lightning.data.tokenizing import PretrainedTokenizer, Tokenizing, TrainedTokenizer
from velm_lightning.data.vqav2 import VQAv2

__all__ = [
    "NLVR",
    "COCOCaptions",
    "Clips",
    "Digits",
    "CaptionPairs",
    "FacePosts",
    "FlickrTokens",
    "JSONLines",
    "Karpathy",
    "Multi30k",
    "MultimodalData",
    "PretrainedTokenizer",
    "ShapeCaptions",
    "ShapeClipCaptions",
    "ShapeClips",
    "ShapeDialogues",
    "ShapeDrawings",
    "ShapeScenes",
    "ShapeStatements",
    "ShapeSummaries",
    "ShapeTranslations",
    "Tokenizing",
    "TrainedTokenizer",
    "VQAv2",
]
