"""Scores of answers, captions, translations and rankings: functional forms and torchmetrics classes.

Each equals the official definition of its field, which its module cites; none needs Java.
"""

from velm_lightning.metrics.captions import (
    CaptionScores,
    Score,
    bleu,
    cider_d,
    cider_d_rows,
    rouge_l,
    score_captions,
)
from velm_lightning.metrics.classification import accuracy, f1_by_class, macro_f1
from velm_lightning.metrics.clip import Clip, CLIPScore, ClipScores, clip_score
from velm_lightning.metrics.meteor import meteor_modules, meteor_name, meteor_score
from velm_lightning.metrics.ptb import ptb_tokenise, ptb_tokenise_all
from velm_lightning.metrics.references import References
from velm_lightning.metrics.retrieval import best_ranks, recall_at, recall_of_folds, relevance
from velm_lightning.metrics.sanity import Diversity, diversity
from velm_lightning.metrics.signature import signature_of, split_fingerprint
from velm_lightning.metrics.translation import TranslationScore, chrf, sacre_bleu
from velm_lightning.metrics.vqa import (
    VQAAccuracy,
    VQAProtocol,
    normalise_answer,
    vqa_accuracy,
    vqa_mean,
    vqa_percent,
    vqa_scores,
)

__all__ = [
    "CLIPScore",
    "CaptionScores",
    "Clip",
    "ClipScores",
    "Diversity",
    "References",
    "Score",
    "TranslationScore",
    "VQAAccuracy",
    "VQAProtocol",
    "accuracy",
    "best_ranks",
    "bleu",
    "chrf",
    "cider_d",
    "cider_d_rows",
    "clip_score",
    "diversity",
    "f1_by_class",
    "macro_f1",
    "meteor_modules",
    "meteor_name",
    "meteor_score",
    "normalise_answer",
    "ptb_tokenise",
    "ptb_tokenise_all",
    "recall_at",
    "recall_of_folds",
    "relevance",
    "rouge_l",
    "sacre_bleu",
    "score_captions",
    "signature_of",
    "split_fingerprint",
    "vqa_accuracy",
    "vqa_mean",
    "vqa_percent",
    "vqa_scores",
]
