"""The data module, datasets, images, features and checks."""

from velm_lightning.data.datasets.caption_pairs import CaptionPairs
from velm_lightning.data.datasets.clips import Clips
from velm_lightning.data.datasets.conversations import Conversations
from velm_lightning.data.datasets.data_files import DataFiles
from velm_lightning.data.datasets.digits import Digits
from velm_lightning.data.datasets.jsonlines import JSONLines
from velm_lightning.data.datasets.picture_folder import PictureFolder
from velm_lightning.data.datasets.published.coco_captions import COCOCaptions
from velm_lightning.data.datasets.published.flickr_tokens import FlickrTokens
from velm_lightning.data.datasets.published.karpathy import Karpathy
from velm_lightning.data.datasets.published.multi30k import Multi30k
from velm_lightning.data.datasets.published.nlvr import NLVR
from velm_lightning.data.datasets.published.visdial import VisDial
from velm_lightning.data.datasets.published.visual_genome import VisualGenome
from velm_lightning.data.datasets.published.vqav2 import VQAv2
from velm_lightning.data.module import MultimodalData
from velm_lightning.data.stored.imported import ImportedData
from velm_lightning.data.synthetic.face_posts import FacePosts
from velm_lightning.data.synthetic.shape_clips import ShapeClipCaptions, ShapeClips
from velm_lightning.data.synthetic.shape_conversations import ShapeConversations
from velm_lightning.data.synthetic.shape_dialogues import ShapeDialogues
from velm_lightning.data.synthetic.shape_drawings import ShapeDrawings
from velm_lightning.data.synthetic.shape_scenes import ShapeCaptions, ShapeScenes, ShapeStatements, ShapeTranslations
from velm_lightning.data.synthetic.shape_summaries import ShapeSummaries
from velm_lightning.text.tokenizers import PretrainedTokenizer, Tokenizing, TrainedTokenizer

__all__ = [
    "NLVR",
    "COCOCaptions",
    "Clips",
    "DataFiles",
    "Digits",
    "CaptionPairs",
    "Conversations",
    "FacePosts",
    "FlickrTokens",
    "ImportedData",
    "JSONLines",
    "Karpathy",
    "Multi30k",
    "MultimodalData",
    "PictureFolder",
    "PretrainedTokenizer",
    "ShapeCaptions",
    "ShapeClipCaptions",
    "ShapeConversations",
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
    "VisDial",
    "VisualGenome",
]
