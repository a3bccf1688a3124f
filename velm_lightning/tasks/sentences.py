"""Scorers of generated sentences: captions by the COCO evaluation, translations by sacrebleu, single answers."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

from typing_extensions import override

from velm_lightning.io.configurable import Configurable
from velm_lightning.metrics.captions import score_captions
from velm_lightning.metrics.meteor import meteor_modules, meteor_score
from velm_lightning.metrics.references import References
from velm_lightning.metrics.scripts import char_tokenise_all, lacks_spaces
from velm_lightning.metrics.signature import signature_of
from velm_lightning.metrics.translation import TranslationScore, chrf, sacre_bleu
from velm_lightning.tasks.rows import mean
from velm_lightning.tasks.scorers import Exact, Scorer
from velm_lightning.types import Prediction

_log = logging.getLogger(__name__)
_NO_SPACES = (
    "the captions are in a script without spaces, so that each is one word for the figures: set the task's scorer to "
    "Captions with tokenise: char"
)


class SentenceScorer(Configurable, ABC):
    """Scores a table of sentences; ``name`` is the name of the headline metric.

    Rows without references are scored only if ``needs_references`` is False.
    """

    name: str
    needs_references = True

    @abstractmethod
    def score(self, rows: Sequence[Prediction]) -> list[Prediction]:
        """Return the rows with the headline metric of each sample; every row has references if they are needed."""

    @abstractmethod
    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        """Compute all metrics of a table whose rows all have references if they are needed."""

    @abstractmethod
    def signature(self, split: str) -> str:
        """Return the definition of the headline metric on ``split``; see ``metrics.signature_of``."""


class Captions(SentenceScorer):
    """BLEU-1…4, ROUGE-L and CIDEr-D, equal to the COCO caption evaluation (Chen et al. 2015); CIDEr-D is the headline.

    The references are indexed once and used in every epoch.

    Args:
        meteor: also compute an approximation of METEOR without Java, named ``meteor_approx_…`` by its modules. Needs
            ``pip install velm-lightning[meteor]``.
        tokenise: ``ptb`` is the COCO evaluation's tokeniser. It takes a sentence in Chinese, Japanese or Thai as one
            word: for scripts without spaces ``char`` takes each of their letters as a token.
    """

    name = "cider_d"

    def __init__(self, meteor: bool = False, tokenise: Literal["ptb", "char"] = "ptb") -> None:
        self.meteor, self.tokenise = meteor_modules() if meteor else None, tokenise
        self._index: tuple[int, References] | None = None

    def _references(self, rows: Sequence[Prediction]) -> References:
        mark = hash(tuple((row.key, row.references) for row in rows))
        if self._index is None or self._index[0] != mark:
            texts = {row.key: row.references for row in rows}
            if self.tokenise == "ptb":
                if self._index is None and lacks_spaces(row.references[0] for row in rows if row.references):
                    _log.warning(_NO_SPACES)
                self._index = mark, References(texts)
            else:
                lines = {key: char_tokenise_all(references) for key, references in texts.items()}
                self._index = mark, References(lines, tokenise=False)
        return self._index[1]

    def _predictions(self, rows: Sequence[Prediction]) -> dict[str, str]:
        """Return the predictions by key, as tokens unless the figures tokenise them."""
        texts = [row.prediction for row in rows]
        lines = texts if self.tokenise == "ptb" else char_tokenise_all(texts)
        return dict(zip((row.key for row in rows), lines, strict=True))

    @override
    def score(self, rows: Sequence[Prediction]) -> list[Prediction]:
        references, official = self._references(rows), self.tokenise == "ptb"
        figures = score_captions(self._predictions(rows), references, ("CIDEr-D",), tokenise=official)
        scores = figures["CIDEr-D"].samples
        return [row._replace(score=float(value)) for row, value in zip(rows, scores, strict=True)]

    @override
    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        predictions, references = self._predictions(rows), self._references(rows)
        figures = score_captions(predictions, references, tokenise=self.tokenise == "ptb")
        metrics = {name: score.corpus for name, score in figures.items()}
        if self.meteor is not None:
            name = "_".join(("meteor_approx", *self.meteor))  # "meteor" is the name of the official program
            metrics[name] = meteor_score(predictions, references, self.meteor).corpus
        return {name.lower().replace("-", "_"): score for name, score in metrics.items()}

    @override
    def signature(self, split: str) -> str:
        if self.tokenise == "ptb":
            return signature_of("CIDEr-D", split=split)
        return signature_of("CIDEr-D", split=split, scorer="coco-caption-formula", tok=self.tokenise)


class Translations(SentenceScorer):
    """BLEU and chrF by sacrebleu (Post 2018), from 0 to 100; BLEU is the headline.

    Needs ``pip install velm-lightning[translation]``.

    Args:
        tokenise: sacrebleu's tokeniser.
    """

    name = "bleu"

    def __init__(self, tokenise: str = "13a") -> None:
        self.tokenise = tokenise
        self._options: dict[str, str] = {}

    def _bleu(self, rows: Sequence[Prediction]) -> TranslationScore:
        score = sacre_bleu([row.prediction for row in rows], [row.references for row in rows], tokenise=self.tokenise)
        self._options = dict(part.split(":", 1) for part in score.signature.split("|"))
        return score

    @override
    def score(self, rows: Sequence[Prediction]) -> list[Prediction]:
        return [row._replace(score=float(value)) for row, value in zip(rows, self._bleu(rows).samples, strict=True)]

    @override
    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        predictions, references = [row.prediction for row in rows], [row.references for row in rows]
        return {"bleu": self._bleu(rows).corpus, "chrf": chrf(predictions, references).corpus}

    @override
    def signature(self, split: str) -> str:
        """Return the signature with the fields of sacrebleu, its version included."""
        return signature_of("BLEU", split=split, scorer="sacrebleu", **self._options)


class Answers(SentenceScorer):
    """Accuracy of generated answers, each scored by itself as in classification.

    Args:
        scorer: scores an answer against its references; by default by exact match.
    """

    def __init__(self, scorer: Scorer | None = None) -> None:
        self.scorer = scorer or Exact()
        self.name = self.scorer.name

    @override
    def score(self, rows: Sequence[Prediction]) -> list[Prediction]:
        return [row._replace(score=self.scorer(row.prediction, row.references)) for row in rows]

    @override
    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        return {self.name: mean(row.score for row in rows)}

    @override
    def signature(self, split: str) -> str:
        return self.scorer.signature(split)
