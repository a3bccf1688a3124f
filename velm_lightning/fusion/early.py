"""Early fusion: the image meets the words before the text trunk."""

from __future__ import annotations

from velm_lightning.fusion.base import Fusion
from velm_lightning.types import Tokens


class EarlyFusion(Fusion):
    """Image tokens stand before the words, and one trunk reads both (VisualBERT, Li et al. 2019; ViLT, Kim et al. 2021).

    With a causal trunk the image is a prefix: *inject* captioning (Show and Tell, Vinyals et al. 2015), and, with a
    frozen language model, the visual prefix (Frozen, Tsimpoukelli et al. 2021; ClipCap, Mokady et al. 2021).
    """

    def fuse(self, image: Tokens, text: Tokens) -> Tokens:
        """See ``Fusion.fuse``."""
        states = self.text_encoder.trunk(Tokens.cat([image, text]))
        return text.with_x(states.x[:, image.x.shape[1] :])
