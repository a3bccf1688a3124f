"""Scorers of generated sentences: captions by the COCO evaluation, translations by sacrebleu, single answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from typing_extensions import override

from velm_lightning.io.configurable import Configurable
from velm_lightning.metrics.captions import score_captions
from velm_lightning.metrics.meteor import meteor_modules, meteor_score
from velm_lightning.metrics.references import References
from velm_lightning.metrics.signature import signature_of
from velm_lightning.metrics.translation import TranslationScore, chrf, sacre_bleu
from velm_lightning.tasks.rows import mean
from velm_lightning.tasks.scorers import Exact, Scorer
from velm_lightning.types import Prediction


class SentenceScorer(Configurable, ABC):
    """Scores a table of sentences; ``name`` is the name of the headline metric."""

    name: str

    @abstractmethod
    def score(self, rows: Sequence[Prediction]) -> list[Prediction]:
        """Return the rows with the headline metric of each sample; every row has references."""

    @abstractmethod
    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        """Compute all metrics of a table whose rows all have references."""

    @abstractmethod
    def signature(self, split: str) -> str:
        """Return the definition of the headline metric on ``split``; see ``metrics.signature_of``."""


class Captions(SentenceScorer):
    """BLEU-1…4, ROUGE-L and CIDEr-D, equal to the COCO caption evaluation (Chen et al. 2015); CIDEr-D is the headline.

    The references are indexed once and used in every epoch.

    Args:
        meteor: also compute an approximation of METEOR without Java, named ``meteor_approx_…`` by its modules. Needs
            ``pip install velm-lightning[meteor]``.
    """

    name = "cider_d"

    def __init__(self, meteor: bool = False) -> None:
        self.meteor = meteor_modules() if meteor else None
        self._index: tuple[int, References] | None = None

    def _references(self, rows: Sequence[Prediction]) -> References:
        mark = hash(tuple((row.key, row.references) for row in rows))
        if self._index is None or self._index[0] != mark:
            self._index = mark, References({row.key: row.references for row in rows})
        return self._index[1]

    @override
    def score(self, rows: Sequence[Prediction]) -> list[Prediction]:
        predictions = {row.key: row.prediction for row in rows}
        scores = score_captions(predictions, self._references(rows), ("CIDEr-D",))["CIDEr-D"].samples
        return [row._replace(score=float(value)) for row, value in zip(rows, scores, strict=True)]

    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        """See ``SentenceScorer.compute_metrics``."""
        predictions, references = {row.key: row.prediction for row in rows}, self._references(rows)
        metrics = {name: score.corpus for name, score in score_captions(predictions, references).items()}
        if self.meteor is not None:
            name = "_".join(("meteor_approx", *self.meteor))  # "meteor" is the name of the official program
            metrics[name] = meteor_score(predictions, references, self.meteor).corpus
        return {name.lower().replace("-", "_"): score for name, score in metrics.items()}

    @override
    def signature(self, split: str) -> str:
        return signature_of("CIDEr-D", split=split)


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

    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        """See ``SentenceScorer.compute_metrics``."""
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

    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        """See ``SentenceScorer.compute_metrics``."""
        return {self.name: mean(row.score for row in rows)}

    @override
    def signature(self, split: str) -> str:
        return self.scorer.signature(split)
