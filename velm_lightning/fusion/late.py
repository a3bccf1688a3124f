"""Late fusion: the pooled image vector is merged with the outputs of the text trunk."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor
from typing_extensions import override

from velm_lightning.fusion.base import FusionParts
from velm_lightning.fusion.meeting import AFTER, Meeting
from velm_lightning.fusion.merges import Concat, Merge
from velm_lightning.fusion.text_first import TextFirstFusion
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.types import Tokens


class LateFusion(TextFirstFusion):
    """Merges each state of the text trunk with the image, by default with its mean vector.

    At the pooled state this is the two-tower classifier (Antol et al. 2015; MUTAN, Ben-younes et al. 2017), at every
    position the *merge* captioner (Tanti et al. 2017).

    Args:
        merge: how the two vectors are combined; by default ``Concat()``.
        parts: the arguments of ``Fusion``.

    Example:
        >>> import velm_lightning as velm
        >>> data = velm.MultimodalData(velm.ShapeScenes(train=8, val=4, test=4, size=16))
        >>> model = velm.LateFusion(image_encoder=velm.SmallCNN(16), text_encoder=velm.TransformerTextEncoder(),
        ...                         task=velm.Classification(), vocabulary=data.vocabulary)
        >>> type(model.merge).__name__
        'Concat'
    """

    def __init__(self, merge: Merge | None = None, **parts: Unpack[FusionParts]) -> None:
        super().__init__(**parts)
        self.merge = merge or Concat()
        self.merge.build(self.text_encoder.dim)

    @property
    @override
    def meeting(self) -> Meeting | None:
        return Meeting("merge", AFTER)

    @override
    def fuse_states(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tokens:
        """Merge the image with every state (B, N, D) of the trunk."""
        return text.with_embeddings(self.merge.merge_tokens(image, text, cache))

    @override
    def fuse_pairs(self, image: Tokens, text: Tokens, images: Tensor, texts: Tensor) -> Tensor:
        """Merge pooled vectors (P, D) only if the merge allows it, which is cheaper than merging every state."""
        if not self.merge.of_means:
            return super().fuse_pairs(image, text, images, texts)
        merged: Tensor = self.merge(image.mean()[images], self.pool(text)[texts])
        return merged
