"""The contract of a fusion, the model that combines image and text, and the construction of its parts."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, NotRequired, TypedDict

import torch
from torch import Tensor, nn
from typing_extensions import override

from velm_lightning.encoders import ImageEncoder, TextEncoder
from velm_lightning.encoders.connectors import Connector, LinearConnector
from velm_lightning.encoders.own_tokenizer import with_own_tokenizer
from velm_lightning.errors import positive
from velm_lightning.fusion.inference import Inference
from velm_lightning.fusion.meeting import Meeting
from velm_lightning.io.argument_types import checked
from velm_lightning.io.configurable import rebuilding
from velm_lightning.nn.attention import AttentionMaps, scale_attention
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.tasks.base import Task
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.training.module import TrainingModule
from velm_lightning.training.optimization import Optimization
from velm_lightning.types import Batch, ImageTransform, InputError, TextInput, Tokens

_IMAGE_PATH = ("encode_image", "encode_images", "forward")
"""Methods of a fusion that give images to the image encoder; one that replaces them may use its tokens otherwise."""


class FusionParts(TypedDict):
    """The arguments of ``Fusion``, which a subclass accepts and passes on as ``**parts: Unpack[FusionParts]``.

    Args:
        vocabulary: word pieces and answers; they determine all sizes that depend on the data.
        image_encoder: encodes images as tokens.
        text_encoder: embeds word pieces and contextualises them.
        task: head, loss and metrics.
        optimization: optimiser and learning-rate schedule; by default ``Optimization()``.
        connector: maps image tokens to the width of the text; by default a linear map.
        init_from: checkpoint whose weights initialise a new training wherever they fit; see ``start_from``.
        attention_gain: factor of the initial weights of queries and keys in all attention layers that are not
            pretrained; by default 1, PyTorch's initial weights, with which all tokens get nearly equal attention at
            first. With the square root of 3 the logits of normalised inputs initially have the variance 1 that the
            scaling of Vaswani et al. (2017) is meant for, with 2 a variance of 16/9.
    """

    vocabulary: Vocabulary
    image_encoder: ImageEncoder
    text_encoder: TextEncoder
    task: Task
    optimization: NotRequired[Optimization | None]
    connector: NotRequired[Connector | None]
    init_from: NotRequired[Path | None]
    attention_gain: NotRequired[float]


class Fusion(Inference, TrainingModule):
    """A visually-enhanced language model; a subclass implements ``fuse``, where image and text are combined.

    The arguments are those of ``FusionParts``.

    Attributes:
        modalities: the inputs that the model uses; comparisons set fusions against the controls, which use only one.
        masks_images: whether image tokens are masked by their blocks, so that images may stand in later turns of a
            conversation; False refuses such data.

    Example:
        >>> import velm_lightning as velm
        >>> class AddMean(velm.Fusion):
        ...     def fuse(self, image, text):
        ...         return self.text_encoder.trunk(text.with_embeddings(text.embeddings + image.mean()[:, None]))
        >>> data = velm.MultimodalData(velm.ShapeScenes(train=8, val=4, test=4, size=16))
        >>> model = AddMean(image_encoder=velm.SmallCNN(16), text_encoder=velm.TransformerTextEncoder(),
        ...                 task=velm.Classification(), vocabulary=data.vocabulary)
        >>> len(model.predict([None], "what colour is it?", top_k=3)[0])
        3
    """

    modalities: ClassVar[tuple[str, ...]] = ("image", "text")
    masks_images: ClassVar[bool] = False

    @checked(
        vocabulary="that of the data, data.vocabulary",
        image_encoder="an ImageEncoder, or velm.wrap_encoder(module, …)",
        text_encoder="a TextEncoder, such as velm.TransformerTextEncoder()",
        task="a task, such as velm.Classification()",
    )
    def __init__(
        self,
        vocabulary: Vocabulary,
        image_encoder: ImageEncoder,
        text_encoder: TextEncoder,
        task: Task,
        optimization: Optimization | None = None,
        connector: Connector | None = None,
        init_from: Path | None = None,
        attention_gain: float = 1.0,
    ) -> None:
        super().__init__(optimization, init_from)
        positive("model", attention_gain=attention_gain)
        self._gain_to_apply = 1.0 if rebuilding() else attention_gain
        vocabulary = with_own_tokenizer(vocabulary, text_encoder)
        self.vocabulary = self._init_args["vocabulary"] = vocabulary
        self.transform: ImageTransform = image_encoder.transform
        self.grid = image_encoder.grid
        self.image_encoder: nn.Module = image_encoder
        self.text_encoder, self.task = text_encoder, task
        connector = connector or LinearConnector()
        connector.build(image_encoder.dim, text_encoder.dim)
        self.connector: nn.Module = connector
        text_encoder.build(vocabulary)
        task.build(vocabulary, text_encoder)

    @override
    def setup(self, stage: str) -> None:
        """Scale initial weights by ``attention_gain``, once and before processes shard them."""
        super().setup(stage)
        if stage == "fit" and self._gain_to_apply != 1:
            scale_attention(self, self._gain_to_apply)
            self._gain_to_apply = 1.0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Give a class with an ``__init__`` of its own a signature that lists what its ``**parts`` stands for."""
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            parent = next(base for base in cls.__mro__[1:] if issubclass(base, Fusion))
            signature = _expand(inspect.signature(cls.__init__), inspect.signature(parent))
            cls.__signature__ = signature  # type: ignore[attr-defined]

    @property
    def meeting(self) -> Meeting | None:
        """Where image and text meet, which ``velm compare`` draws; None, the default, is not drawn."""
        return None

    @property
    def takes_cache(self) -> bool:
        """Whether ``fuse`` accepts a cache, without which sentences are decoded by repeated passes over all words."""
        return "cache" in inspect.signature(self.fuse).parameters

    @property
    def uses_image_mean(self) -> bool:
        """Whether model and task use only the mean of the image encoder's tokens, so that means can be cached."""
        inherited = all(getattr(type(self), name) is getattr(Fusion, name) for name in _IMAGE_PATH)
        inherited &= type(self.image_encoder).forward is ImageEncoder.forward
        uses_mean = bool(getattr(self.connector, "uses_mean", False))
        return inherited and uses_mean and not self.task.needs_image_tokens

    @abstractmethod
    def fuse(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tokens:
        """Combine image and text.

        Args:
            image: image tokens (B, M, D); None for every call with a cache but the first.
            text: embedded text (B, N, D).
            cache: the state of stepwise decoding; the first call passes the image and the prompt, each later call the
                next word.

        Returns:
            Fused states (B, N, D) at the positions of ``text``.
        """

    def encode_image(self, image: Tensor) -> Tokens:
        """Encode uint8 images (B, 3, H, W) or clips (B, T, 3, H, W) as tokens (B, M, D) in the width of the text."""
        tokens: Tokens = self.connector(self.image_encoder(image))
        return tokens

    def encode_images(self, batch: Batch) -> Tokens:
        """Encode the images of a batch as tokens (B, M, D), at marks with the blocks and places of these.

        Raises:
            InputError: there are images in later turns, and the fusion does not mask images.
        """
        if not batch.image_places.shape[1]:  # one image or clip per sample, which precedes the text
            return self.encode_image(batch.image)
        if not self.masks_images and bool((batch.image_block_ids > 0).any()):
            raise InputError(
                f"{type(self).__name__} would show words the images of later turns: choose EarlyFusion, "
                "InterleavedFusion, InteractiveFusion or MergedFusion, or put all images before the first reply"
            )
        tokens = self.encode_image(batch.image.flatten(0, 1))  # (B K, M, D)
        return tokens.at_marks(batch.image_places, batch.image_block_ids)

    def embed_text(self, words: TextInput, cache: Cache | None = None) -> Tokens:
        """Embed word pieces (B, N) as tokens (B, N, D)."""
        return self.text_encoder.embed(words, cache)

    def forward(self, batch: Batch) -> Tokens:
        """Return the fused states (B, N, D) at the positions of ``batch.ids``."""
        return self.fuse(self.encode_images(batch), self.embed_text(batch.words))

    def encode_text(self, text: Tokens) -> Tokens:
        """Apply the layers that do not depend on the image to embedded text (B, N, D); by default none."""
        return text

    def pool_text(self, text: Tokens) -> Tensor:
        """Return pooled text features (B, D), without an image, from the output (B, N, D) of ``encode_text``."""
        return self.pool(self.text_encoder.trunk(text))

    def fuse_pairs(self, image: Tokens, text: Tokens, images: Tensor, texts: Tensor) -> Tensor:
        """Fuse given pairs of images and texts.

        Args:
            image: image tokens (I, M, D).
            text: output (T, N, D) of ``encode_text``.
            images: index (P,) of the image of each pair.
            texts: index (P,) of the text of each pair.

        Returns:
            Pooled features (P, D).
        """
        return self.pool(self.fuse(image.rows(images), text.rows(texts)))

    def fuse_all_pairs(self, image: Tokens, text: Tokens) -> Tensor:
        """Fuse every text (T, N, D), embedded, with every image (I, M, D) and return pooled features (I, T, D)."""
        num_images, num_texts = len(image.embeddings), len(text.embeddings)
        images = torch.arange(num_images, device=image.embeddings.device).repeat_interleave(num_texts)
        texts = torch.arange(num_texts, device=text.embeddings.device).repeat(num_images)
        return self.fuse_pairs(image, self.encode_text(text), images, texts).view(num_images, num_texts, -1)

    def image_attention(self, maps: AttentionMaps, image: Tokens, text: Tokens) -> Tensor | None:
        """Select from recorded attention ``maps`` the weights (B, N, M) from words to image tokens.

        None means that the model has no such attention, which is the default.
        """
        return None

    def pool(self, states: Tokens) -> Tensor:
        """Pool fused states (B, N, D) into one vector per prompt (B, D)."""
        return self.text_encoder.pool(states)


def _expand(signature: inspect.Signature, parent: inspect.Signature) -> inspect.Signature:
    """Remove ``self`` from the signature of an ``__init__`` and replace ``**parts`` by the arguments of ``parent``."""
    parameters = list(signature.parameters.values())[1:]
    named = [parameter for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
    if len(named) == len(parameters):
        return signature.replace(parameters=named)
    names = {parameter.name for parameter in named}
    inherited = [
        parameter.replace(kind=parameter.KEYWORD_ONLY)
        for parameter in parent.parameters.values()
        if parameter.name not in names
    ]
    return signature.replace(parameters=named + inherited)
