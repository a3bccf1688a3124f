"""Predictions and features of a trained model for images and texts as a person holds them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from velm_lightning.data.collate import Texts
from velm_lightning.data.images.decode import read_image
from velm_lightning.data.images.image_like import ImageLike, to_image
from velm_lightning.errors import expect
from velm_lightning.io.threads import threads
from velm_lightning.tasks.retrieval import Retrieval
from velm_lightning.types import Batch, ImageTransform, InputError, Sample, Tokens, Turn

_SURROGATE = re.compile("[\ud800-\udfff]")


class Answer(NamedTuple):
    """An answer of a model with its probability."""

    text: str
    probability: float


class Inference:
    """Adds ``predict``, ``image_features`` and ``text_features`` to a fusion.

    An image is a path, a PIL image, an array (H, W, 3) uint8, a tensor (3, H, W) uint8, the bytes of a file, a tuple of
    these (the frames of a clip), or None for no image. Everything is computed on the model's device in evaluation
    mode and without gradients.
    """

    def predict(
        self,
        images: Sequence[ImageLike | tuple[ImageLike, ...] | None],
        texts: Sequence[str | Sequence[Turn]] | str = "",
        top_k: int = 1,
        batch_size: int = 64,
    ) -> list[list[Answer]]:
        """Return the best answers for pairs of an image and a text.

        Args:
            images: One image per sample; None gives the model no image. For a conversation, an image or a tuple of
                the images at its marks.
            texts: One question, prompt or source sentence per sample, or one text for all samples; or one conversation
                per sample, a list of ``Turn``, which the model continues.
            top_k: Number of answers per sample; a generating model returns at most as many as its search keeps.
            batch_size: Samples that are computed at the same time.

        Returns:
            Per sample its answers, best first, as (text, probability).

        Raises:
            InputError: An image cannot be read, the numbers of images and texts differ, or an image is None and the
                model was trained on ``Retrieval``.

        Example:
            >>> import numpy as np
            >>> import velm_lightning as velm
            >>> data = velm.MultimodalData(velm.ShapeScenes(train=8, val=4, test=4, size=16))
            >>> model = velm.TextOnly(image_encoder=velm.SmallCNN(16), text_encoder=velm.TransformerTextEncoder(),
            ...                       task=velm.Classification(), vocabulary=data.vocabulary)
            >>> answers = model.predict([np.zeros((20, 30, 3), np.uint8), None], "what colour is it?", top_k=2)
            >>> len(answers), len(answers[0])
            (2, 2)
        """
        model: Any = self
        expect(top_k, int, "top_k", "give a whole number")
        check(top_k >= 1, f"top_k must be at least 1, got {top_k}")
        expect_list(images, "predict", "images")
        texts = [texts] * len(images) if isinstance(texts, str) else texts
        expect_list(texts, "predict", "texts")
        check(len(images) == len(texts), f"predict got {len(images)} images and {len(texts)} texts: give one text each")
        missing = any(image is None for image in images)
        check(not (missing and retrieval_of(model)), "the model matches images with texts, and None is no image")
        answers: list[list[Answer]] = []
        with at_rest(model):
            for batch, present in batches(model, images, texts, batch_size):
                with without_images(model, present):
                    answers += [
                        [Answer(*answer) for answer in row] for row in model.task.top_answers(model, batch, int(top_k))
                    ]
        return answers

    def image_features(self, images: Sequence[ImageLike | tuple[ImageLike, ...]], batch_size: int = 64) -> Tensor:
        """Return one vector per image.

        Args:
            images: The images.
            batch_size: Images that are encoded at the same time.

        Returns:
            For a model that was trained on ``Retrieval`` the unit vectors (B, W) of its tower, whose product with
            ``text_features`` is the cosine similarity; for others the mean (B, D) of the image tokens in the width of
            the text.

        Raises:
            InputError: An image cannot be read, or the model uses no image.

        Example:
            >>> import numpy as np
            >>> import velm_lightning as velm
            >>> data = velm.MultimodalData(velm.ShapeScenes(train=8, val=4, test=4, size=16))
            >>> model = velm.LateFusion(image_encoder=velm.SmallCNN(16), text_encoder=velm.TransformerTextEncoder(),
            ...                         task=velm.Classification(), vocabulary=data.vocabulary)
            >>> model.image_features([np.zeros((20, 30, 3), np.uint8)]).shape
            torch.Size([1, 128])
        """
        model: Any = self
        check("image" in model.modalities, f"a {type(self).__name__} model uses no image: it has no image features")
        expect_list(images, "image_features", "images")
        check(all(image is not None for image in images), "None is an image without features: leave it out")
        retrieval = retrieval_of(model)

        def features(batch: Batch) -> Tensor:
            tokens: Tokens = model.encode_image(batch.image)
            return tokens.mean() if retrieval is None else retrieval.image_vectors(tokens)

        return features_of(model, images, [""] * len(images), batch_size, features)

    def text_features(self, texts: Sequence[str], batch_size: int = 64) -> Tensor:
        """Return one vector per text, computed without an image.

        Args:
            texts: The texts.
            batch_size: Texts that are encoded at the same time.

        Returns:
            For a model that was trained on ``Retrieval`` the unit vectors (B, W) of its tower; for others the pooled
            output (B, D) of the text encoder.

        Raises:
            InputError: The model uses no text.

        Example:
            >>> import velm_lightning as velm
            >>> data = velm.MultimodalData(velm.ShapeScenes(train=8, val=4, test=4, size=16))
            >>> model = velm.LateFusion(image_encoder=velm.SmallCNN(16), text_encoder=velm.TransformerTextEncoder(),
            ...                         task=velm.Classification(), vocabulary=data.vocabulary)
            >>> model.text_features(["what colour is it?", "is it red?"]).shape
            torch.Size([2, 128])
        """
        model: Any = self
        check("text" in model.modalities, f"a {type(self).__name__} model uses no text: it has no text features")
        expect_list(texts, "text_features", "texts")
        retrieval = retrieval_of(model)

        def features(batch: Batch) -> Tensor:
            states = model.encode_text(model.embed_text(batch.words))
            pooled: Tensor = model.pool_text(states)
            return pooled if retrieval is None else retrieval.text_vectors(model, states)

        return features_of(model, [None] * len(texts), texts, batch_size, features)


def features_of(
    model: Any, images: Sequence[Any], texts: Sequence[str], batch_size: int, features: Callable[[Batch], Tensor]
) -> Tensor:
    """Return the concatenated features of all batches."""
    check(len(images) > 0, "there is nothing to encode: give at least one image or text")
    with at_rest(model):
        return torch.cat([features(batch) for batch, _ in batches(model, images, texts, batch_size)])


def retrieval_of(model: Any) -> Retrieval | None:
    """Return the retrieval task of a model, by itself or in a mixture."""
    return next((part for part in model.task.modules() if isinstance(part, Retrieval)), None)


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode without gradients; restore its mode afterwards."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)


def batches(
    model: Any, images: Sequence[Any], texts: Sequence[str | Sequence[Turn]], batch_size: int
) -> Iterator[tuple[Batch, Tensor]]:
    """Yield batches on the model's device, and a mask (B,) of the samples that have an image or are conversations."""
    expect(batch_size, int, "batch_size", "give a whole number")
    check(batch_size >= 1, f"batch_size must be at least 1, got {batch_size}")
    talks = sum(not isinstance(text, str) for text in texts)
    check(talks in (0, len(texts)), f"{talks} of {len(texts)} texts are conversations: give only these, or none")
    device = next(model.parameters()).device
    for start in range(0, len(images), batch_size):
        part = images[start : start + batch_size]
        given = zip(part, texts[start : start + batch_size], strict=True)
        samples = [_sample(str(key), image, text) for key, (image, text) in enumerate(given, start)]
        words = Texts(samples, model.vocabulary)
        shown = [*words.images, None] if words.conversations else part  # None: pixels without any image need a size
        pixels = pixels_of(shown, model.transform)[: len(words.images)]
        present = [image is not None or bool(sample.turns) for image, sample in zip(part, samples, strict=True)]
        yield words.batch(range(len(part)), pixels).to(device), torch.tensor(present, device=device)


def _sample(key: str, image: Any, text: str | Sequence[Turn]) -> Sample:
    """Return a text without its image, whose pixels are passed separately, or a conversation with its images.

    Raises:
        InputError: The text is neither a string of characters nor a conversation.
    """
    if isinstance(text, str):
        check(not _SURROGATE.search(text), f"the text {text!a} holds half of a surrogate pair: decode its source again")
        return Sample(key=key, image=Path(key), text=text, target=None, references=())
    expect(text, (list, tuple), "a text", "give a str, or for a conversation a list of velm.Turn")
    for turn in text:
        expect(turn, Turn, "a turn of a conversation", "give velm.Turn(…)")
    images = image if isinstance(image, tuple) else () if image is None else (image,)
    at_marks = tuple(to_image(each) for each in images)
    return Sample(key=key, image=at_marks, text="", target=None, references=(), turns=tuple(text))


def pixels_of(images: Sequence[Any], transform: ImageTransform) -> Tensor:
    """Return images as uint8 (B, 3, H, W), or clips as (B, T, 3, H, W); zeros for None.

    Raises:
        InputError: An image cannot be read, or clips have different numbers of frames.
    """

    def read(image: Any) -> Tensor:
        if isinstance(image, tuple):
            return torch.stack([read_image(to_image(frame), transform) for frame in image])
        return read_image(to_image(image), transform)

    with threads() as pool:
        given = iter(list(pool.map(read, [image for image in images if image is not None])))
    blank = torch.zeros(transform.shape, dtype=torch.uint8)
    pixels = [blank if image is None else next(given) for image in images]
    frames = next((image for image in pixels if image.ndim == 4), None)
    if frames is not None:  # None stands for a clip without content
        pixels = [torch.zeros_like(frames) if image is blank else image for image in pixels]
    shapes = sorted({tuple(image.shape) for image in pixels})
    check(len(shapes) == 1, f"images and clips of different lengths cannot share a batch: {shapes}")
    return torch.stack(pixels)


@contextmanager
def without_images(model: Any, present: Tensor) -> Iterator[None]:
    """Make the image tokens of samples without an image invalid, so that no word attends to them.

    Args:
        model: The fusion.
        present: (B,) bool, whether each sample has an image.
    """
    if bool(present.all()):
        yield
        return

    def mask(module: nn.Module, inputs: Any, image: Any) -> Any:
        return image._replace(mask=image.mask & present[:, None]) if isinstance(image, Tokens) else image

    hook = model.connector.register_forward_hook(mask)
    try:
        yield
    finally:
        hook.remove()


def expect_list(values: object, call: str, name: str) -> None:
    """Raise ``InputError`` unless values can be counted and are not one text, path or image."""
    single = isinstance(values, str | bytes | Path)
    check(
        not single and hasattr(values, "__len__"),
        f"{call} takes a list of {name}: write [{name[:-1]}] for one, and list(…) for what can be read only once",
    )


def check(valid: bool, message: str) -> None:
    """Raise ``InputError(message)`` unless ``valid``."""
    if not valid:
        raise InputError(message)
