"""Measures in which layers of its text trunk a trained model reads the image, by attention knockout.

Words are forbidden to attend to the image in windows of consecutive layers, and the split is evaluated again (Geva et
al. 2023). A fusion needs nothing for this: its trunk is run under a control that closes the attention from words to the
image tokens before them, and the cross-attention of layers that the fusion inserts into the trunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial, wraps
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from typing_extensions import override

from velm_lightning.data import MultimodalData
from velm_lightning.encoders.layer_control import AroundControl, LayerControl
from velm_lightning.fusion import Fusion
from velm_lightning.inspection.probe import Prober, prober_of
from velm_lightning.nn.attention import without_cross_attention
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.tasks.rows import group_scores, mean
from velm_lightning.types import InputError, Prediction, Tokens


class Outcome(NamedTuple):
    """An evaluation.

    Attributes:
        score: the headline metric.
        confidence: mean probability that the model assigns to its predictions.
        groups: mean score and mean confidence of the samples of each group.
    """

    score: float
    confidence: float
    groups: dict[str, tuple[float, float]]


class Window(NamedTuple):
    """The evaluation with the layers ``first`` to ``last``, from 0, knocked out."""

    first: int
    last: int
    outcome: Outcome


class Knockout(NamedTuple):
    """The result of a knockout, as ``knockout.json`` of a run holds it.

    Attributes:
        split: name of the split.
        samples: number of samples.
        layers: number of layers of the trunk.
        unchanged: the evaluation without a knockout.
        everywhere: the evaluation with all layers knocked out.
        windows: the evaluations by window, from input to output.
    """

    split: str
    samples: int
    layers: int
    unchanged: Outcome
    everywhere: Outcome
    windows: list[Window]


def knockout(
    model: Fusion,
    data: MultimodalData,
    split: str,
    window: int | None = None,
    limit: int | None = None,
) -> Knockout:
    """Evaluate a model with attention from words to the image knocked out in windows of layers.

    Args:
        model: a trained model; it is set to evaluation mode.
        data: the data module of its run.
        split: ``train``, ``val`` or ``test``.
        window: number of layers per window; by default a fifth of the layers, at least 1.
        limit: largest number of samples, spread evenly over the split; None evaluates all of them.

    Raises:
        InputError: the trunk has no layers, in none of them a word attends to the image, or ``window`` is not a number
            of them.
    """
    prober = prober_of(model, data, split, limit)
    layers = len(model.text_encoder.open_layers())
    size = max(1, round(layers / 5)) if window is None else window
    if not 1 <= size <= layers:
        raise InputError(f"--window must be 1 to {layers}, the number of layers of the trunk, got {size}")
    _check(model, prober, layers)

    def without(first: int, end: int) -> Outcome:
        with knocked_out(model, range(first, end)):
            return _outcome(model, prober.rows())

    windows = [Window(first, first + size - 1, without(first, first + size)) for first in range(layers - size + 1)]
    return Knockout(
        split=data.title(split),
        samples=len(prober.indices),
        layers=layers,
        unchanged=_outcome(model, prober.rows()),
        everywhere=without(0, layers),
        windows=windows,
    )


def _check(model: Fusion, prober: Prober, layers: int) -> None:
    """Raise ``InputError`` if no word attends to the image in a layer of the trunk."""
    with knocked_out(model, range(layers)) as control, torch.inference_mode():
        model(prober.first_batch())
    if not control.acted:
        raise InputError(
            f"--knockout: in the {layers} layers of the text trunk of this {type(model).__name__} no word attends to "
            "the image, which it combines with the text after them or not at all: probe an early or interleaved fusion"
        )


def _outcome(model: Fusion, rows: Sequence[Prediction]) -> Outcome:
    confidences = group_scores([row._replace(score=row.confidence) for row in rows])
    groups = {name: (score, confidences[name][1]) for name, (_, score) in group_scores(rows).items()}
    return Outcome(model.task.compute_metrics(rows)["score"], mean(row.confidence for row in rows), groups)


@contextmanager
def knocked_out(model: Fusion, layers: Sequence[int]) -> Iterator[_Knocked]:
    """Forbid words to attend to the image in some layers of the trunk while a model runs inside the context.

    Raises:
        InputError: the trunk has no layers.
    """
    model.text_encoder.open_layers()
    knocked = _Knocked(layers)
    replaced: list[tuple[nn.Module, str, Callable[..., Any]]] = [
        (model, "fuse", knocked.around_fuse(model.fuse)),
        (model.text_encoder, "trunk", knocked.around_trunk(model.text_encoder.trunk)),
    ]
    if type(model).encode_text is Fusion.encode_text:  # which pairs images and texts in `fuse`, without shortcuts
        replaced.append((model, "fuse_pairs", partial(Fusion.fuse_pairs, model)))
    for owner, name, function in replaced:
        setattr(owner, name, function)  # hides the method
    try:
        yield knocked
    finally:
        for owner, name, _ in replaced:
            delattr(owner, name)


class _Knocked:
    """The layers that are knocked out, and the image tokens of the passes that run.

    Attributes:
        acted: whether an attention from words to the image was closed.
    """

    def __init__(self, layers: Sequence[int]) -> None:
        self.layers, self.acted = layers, False
        self.words: int | None = None  # of the pass that runs; None outside of `fuse`, for texts without an image
        self.cached: WeakKeyDictionary[Cache, int] = WeakKeyDictionary()  # numbers of image tokens

    def around_fuse(self, fuse: Callable[..., Tokens]) -> Callable[..., Tokens]:
        """Return ``fuse``, which notes the number of words."""

        @wraps(fuse)
        def noted(image: Tokens | None, text: Tokens, *rest: Any, **options: Any) -> Tokens:
            self.words = text.embeddings.shape[1]
            try:
                return fuse(image, text, *rest, **options)
            finally:
                self.words = None

        return noted

    def around_trunk(self, trunk: Callable[..., Tokens]) -> Callable[..., Tokens]:
        """Return ``trunk``, which runs under a control; image tokens precede the words of a pass."""

        @wraps(trunk)
        def controlled(tokens: Tokens, cache: Cache | None = None, control: LayerControl | None = None) -> Tokens:
            if self.words is None:
                return trunk(tokens, cache, control)
            here = tokens.embeddings.shape[1] - self.words
            count = here if cache is None else self.cached.setdefault(cache, here)
            return trunk(tokens, cache, _Closed(self, control, count, here))

        return controlled


class _Closed(AroundControl):
    """Closes the attention from words to image tokens in some layers, on top of the control of the fusion.

    Args:
        knocked: the layers.
        inner: the control of the fusion.
        count: number of image tokens among the keys, the first of them.
        here: number of image tokens among the queries; 0 if they are cached.
    """

    def __init__(self, knocked: _Knocked, inner: LayerControl | None, count: int, here: int) -> None:
        super().__init__(inner)
        self.knocked, self.count, self.here = knocked, count, here
        self.open: Tensor | None = None

    @override
    def before(self, index: int, states: Tensor) -> Tensor:
        closing: AbstractContextManager[list[nn.Module]] = nullcontext([])
        if index in self.knocked.layers:
            closing = without_cross_attention()
        with closing as closed:
            states = self.inner.before(index, states)
        self.knocked.acted |= bool(closed)
        return states

    @override
    def visible(self, index: int, queries: Tokens, keys: Tokens) -> Tensor | None:
        inner = self.inner.visible(index, queries, keys)
        if index not in self.knocked.layers or not self.count:
            return inner
        if self.open is None:
            place = torch.arange(keys.mask.shape[1], device=keys.mask.device)
            # A generated word may be cached in the place of an invalid image token; its block is not 0.
            image = (place < self.count) & (keys.block_ids == 0)  # (B, M)
            words = queries.mask.clone()  # padding may attend to anything, so that none of its rows is empty
            words[:, : self.here] = False
            self.open = ~(words[:, :, None] & image[:, None, :])
        self.knocked.acted = True
        return self.open if inner is None else inner & self.open
