"""Trains what a competent person writes first, as the score that ``velm fit`` must exceed on the same data.

Features of two frozen pretrained models, computed once: MiniLM for texts (the mean of its tokens) and MobileNetV2 for
images. If the data has answers, an MLP over their concatenation is trained; if it has captions, two projections with a
contrastive loss, which rank images for captions and captions for images. Both have dropout, AdamW, early stopping on
the validation split, and class weights if the answers are few and skewed. With ``--run`` the scores of runs of
``velm fit`` on the same data are printed next to it, with the differences.
"""

from velm_lightning.bench.baseline.command import run

__all__ = ["run"]
