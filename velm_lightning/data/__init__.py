"""One data module for every fusion and task; one file a dataset."""

from velm_lightning.data.module import MultimodalData
from velm_lightning.data.shape_scenes import ShapeScenes
from velm_lightning.data.tokenizing import PretrainedTokenizer, Tokenizing, TrainedTokenizer

__all__ = ["MultimodalData", "PretrainedTokenizer", "ShapeScenes", "Tokenizing", "TrainedTokenizer"]
