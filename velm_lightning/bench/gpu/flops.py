"""Hand formulas for the floating-point operations of a training step; a multiply-add counts as two."""

from __future__ import annotations

from typing import NamedTuple

from velm_lightning.fusion import (
    BottleneckFusion,
    EarlyFusion,
    Fusion,
    InteractiveFusion,
    InterleavedFusion,
    LateFusion,
    MergedFusion,
)

BACKWARD = 2
"""FLOPs of the backward pass as a multiple of the forward pass: gradients of weights and of inputs."""


DEPTH, SHARED = 2, 4
"""Layers of a fusion on top of the trunk, and bottleneck tokens, by default."""


class Tower(NamedTuple):
    """The sizes of a Transformer.

    Attributes:
        dim: width.
        depth: number of layers.
        inner: width of the feed-forward's inner layer.
        key_value: width of the keys, and of the values; less than ``dim`` if heads share them.
        maps: linear maps of the feed-forward: 2, or 3 if it is gated.
    """

    dim: int
    depth: int
    inner: int
    key_value: int
    maps: int = 2

    @staticmethod
    def plain(dim: int, depth: int) -> Tower:
        """Return the sizes of a Transformer with full heads and a feed-forward of 4 ``dim``."""
        return Tower(dim, depth, 4 * dim, dim)

    def layers(self, tokens: int) -> int:
        """Return the FLOPs of all layers, whose tokens attend to each other."""
        linear = 2 * tokens * self.dim * (2 * self.dim + 2 * self.key_value + self.maps * self.inner)
        return self.depth * (linear + attention(tokens, tokens, self.dim))


class Shapes(NamedTuple):
    """The numbers of tokens of one sample.

    Attributes:
        patches: image tokens.
        pixels: numbers per patch.
        words: text tokens, prompt and target.
        targets: target tokens, to which the vocabulary head is applied.
        vocabulary: size of the vocabulary.
    """

    patches: int
    pixels: int
    words: int
    targets: int
    vocabulary: int


def attention(queries: int, keys: int, dim: int) -> int:
    """Return the FLOPs of the two products of attention, masked keys included."""
    return 4 * queries * keys * dim


def cross_layer(queries: int, keys: int, dim: int) -> int:
    """Return the FLOPs of a layer of self-attention, cross-attention and feed-forward."""
    return Tower.plain(dim, 1).layers(queries) + cross_attention(queries, keys, dim)


def cross_attention(queries: int, keys: int, dim: int) -> int:
    """Return the FLOPs of cross-attention with its linear maps."""
    return 2 * dim**2 * (2 * queries + 2 * keys) + attention(queries, keys, dim)


def training_flops(kind: type[Fusion], image: Tower, text: Tower, shapes: Shapes) -> int:
    """Return the FLOPs of a training step of ``Generation`` per sample.

    Args:
        kind: the fusion.
        image: the image encoder.
        text: the text trunk.
        shapes: numbers of tokens.
    """
    patches = 2 * shapes.patches * shapes.pixels * image.dim  # pixels need no gradient
    encoder = image.layers(shapes.patches) + 2 * shapes.patches * image.dim * text.dim  # with the connector
    head = 2 * shapes.targets * text.dim * (text.dim + shapes.vocabulary)
    rest = encoder + fusion_flops(kind, text, shapes) + head
    return BACKWARD * patches + (1 + BACKWARD) * rest


def fusion_flops(kind: type[Fusion], text: Tower, shapes: Shapes) -> int:
    """Return the FLOPs of the trunk and of a fusion with its default arguments in the forward pass."""
    words, patches, dim = shapes.words, shapes.patches, text.dim
    top = Tower.plain(dim, DEPTH)
    if issubclass(kind, EarlyFusion):
        return text.layers(patches + words)
    trunk = text.layers(words)
    if issubclass(kind, LateFusion):
        return trunk + 2 * dim**2 * (1 + words)
    if issubclass(kind, MergedFusion):
        return trunk + top.layers(patches + words)
    if issubclass(kind, BottleneckFusion):
        return trunk + top.layers(words + SHARED) + top._replace(depth=DEPTH - 1).layers(patches + SHARED)
    if issubclass(kind, InterleavedFusion):
        feed_forward = 2 * words * 8 * dim**2
        return trunk + text.depth * (cross_attention(words, patches, dim) + feed_forward)
    assert issubclass(kind, InteractiveFusion), f"no formula for {kind.__name__}"
    return trunk + DEPTH * cross_layer(words, patches, dim) + (DEPTH - 1) * cross_layer(patches, words, dim)
