"""Velm: a laboratory for visually-enhanced language models.

The names below are the public API, each loaded on first use, so that ``import velm_lightning`` imports no torch.

Example:
    >>> import velm_lightning as velm
    >>> data = velm.MultimodalData(velm.ShapeScenes(train=8, val=4, test=4, size=16))
    >>> model = velm.LateFusion(image_encoder=velm.SmallCNN(16), text_encoder=velm.TransformerTextEncoder(),
    ...                         task=velm.Classification(), vocabulary=data.vocabulary)
    >>> run = velm.fit(model, data, max_epochs=1, accelerator="cpu", enable_progress_bar=False)
    >>> model = velm.load("latest")
    >>> image = data.samples("test")[0].image
    >>> len(model.predict([image, None], ["what colour is it?"] * 2, top_k=3)[0])
    3
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from velm_lightning.compare.comparison import Comparison
    from velm_lightning.compare.runs import compare_runs
    from velm_lightning.data.datasets.conversations import Conversations
    from velm_lightning.data.datasets.data_files import DataFiles
    from velm_lightning.data.datasets.jsonlines import JSONLines
    from velm_lightning.data.module import MultimodalData
    from velm_lightning.data.synthetic.shape_scenes import ShapeCaptions, ShapeScenes
    from velm_lightning.decoding.beam import BeamSearch
    from velm_lightning.encoders.base import ImageEncoder, TextEncoder
    from velm_lightning.encoders.image.cnn import SmallCNN
    from velm_lightning.encoders.image.pretrained import HFImageEncoder
    from velm_lightning.encoders.image.torchvision import TorchvisionCNN
    from velm_lightning.encoders.image.vit import SmallViT
    from velm_lightning.encoders.image.wrapped import wrap_encoder
    from velm_lightning.encoders.text.pretrained import HFTextEncoder
    from velm_lightning.encoders.text.rnn import RNNTextEncoder
    from velm_lightning.encoders.text.transformer import TransformerTextEncoder
    from velm_lightning.errors import InputError
    from velm_lightning.fusion.base import Fusion
    from velm_lightning.fusion.bottleneck import BottleneckFusion
    from velm_lightning.fusion.controls import ImageOnly, TextOnly
    from velm_lightning.fusion.deep_stack import DeepStackFusion
    from velm_lightning.fusion.early import EarlyFusion
    from velm_lightning.fusion.interactive import InteractiveFusion
    from velm_lightning.fusion.interleaved import InterleavedFusion
    from velm_lightning.fusion.late import LateFusion
    from velm_lightning.fusion.merged import MergedFusion
    from velm_lightning.fusion.mixture_of_transformers import MixtureOfTransformers
    from velm_lightning.tasks.classification import Classification
    from velm_lightning.tasks.generation import Generation
    from velm_lightning.tasks.retrieval import Retrieval
    from velm_lightning.tracking.from_python.fit import fit
    from velm_lightning.tracking.from_python.load import load
    from velm_lightning.tracking.from_python.recorder import RunRecorder
    from velm_lightning.tracking.run import Run
    from velm_lightning.training.optimization import Optimization
    from velm_lightning.types import Sample, Tokens, Turn

    __version__: str

_MODULES = {
    "BeamSearch": "decoding.beam",
    "BottleneckFusion": "fusion.bottleneck",
    "Classification": "tasks.classification",
    "Comparison": "compare.comparison",
    "Conversations": "data.datasets.conversations",
    "DataFiles": "data.datasets.data_files",
    "DeepStackFusion": "fusion.deep_stack",
    "EarlyFusion": "fusion.early",
    "Fusion": "fusion.base",
    "Generation": "tasks.generation",
    "HFImageEncoder": "encoders.image.pretrained",
    "HFTextEncoder": "encoders.text.pretrained",
    "ImageEncoder": "encoders.base",
    "ImageOnly": "fusion.controls",
    "InputError": "errors",
    "InteractiveFusion": "fusion.interactive",
    "InterleavedFusion": "fusion.interleaved",
    "JSONLines": "data.datasets.jsonlines",
    "LateFusion": "fusion.late",
    "MergedFusion": "fusion.merged",
    "MixtureOfTransformers": "fusion.mixture_of_transformers",
    "MultimodalData": "data.module",
    "Optimization": "training.optimization",
    "RNNTextEncoder": "encoders.text.rnn",
    "Retrieval": "tasks.retrieval",
    "Run": "tracking.run",
    "RunRecorder": "tracking.from_python.recorder",
    "Sample": "types",
    "ShapeCaptions": "data.synthetic.shape_scenes",
    "ShapeScenes": "data.synthetic.shape_scenes",
    "SmallCNN": "encoders.image.cnn",
    "SmallViT": "encoders.image.vit",
    "TextEncoder": "encoders.base",
    "TextOnly": "fusion.controls",
    "Tokens": "types",
    "TorchvisionCNN": "encoders.image.torchvision",
    "TransformerTextEncoder": "encoders.text.transformer",
    "Turn": "types",
    "compare_runs": "compare.runs",
    "fit": "tracking.from_python.fit",
    "load": "tracking.from_python.load",
    "wrap_encoder": "encoders.image.wrapped",
}
"""The module of each public name; no name is that of a folder, whose import would replace it."""

__all__ = [
    "BeamSearch",
    "BottleneckFusion",
    "Classification",
    "Comparison",
    "Conversations",
    "DataFiles",
    "DeepStackFusion",
    "EarlyFusion",
    "Fusion",
    "Generation",
    "HFImageEncoder",
    "HFTextEncoder",
    "ImageEncoder",
    "ImageOnly",
    "InputError",
    "InteractiveFusion",
    "InterleavedFusion",
    "JSONLines",
    "LateFusion",
    "MergedFusion",
    "MixtureOfTransformers",
    "MultimodalData",
    "Optimization",
    "RNNTextEncoder",
    "Retrieval",
    "Run",
    "RunRecorder",
    "Sample",
    "ShapeCaptions",
    "ShapeScenes",
    "SmallCNN",
    "SmallViT",
    "TextEncoder",
    "TextOnly",
    "Tokens",
    "TorchvisionCNN",
    "TransformerTextEncoder",
    "Turn",
    "__version__",
    "compare_runs",
    "fit",
    "load",
    "wrap_encoder",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from velm_lightning.io.packaged import installed_version

        return installed_version("velm_lightning")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from velm_lightning.io.lazy_metrics import postpone_metrics

    postpone_metrics()
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
