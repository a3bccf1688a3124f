"""How produced sentences are scored: captions by the COCO evaluation, translations by sacrebleu, answers one by one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

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
    """Scores a table of sentences; ``name`` is the headline among its figures."""

    name: str

    @abstractmethod
    def score(self, rows: Sequence[Prediction]) -> list[Prediction]:
        """Return the rows, each of which has references, with the headline metric of each sample."""

    @abstractmethod
    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        """Compute every figure of a table whose rows all have references."""

    @abstractmethod
    def signature(self, split: str) -> str:
        """Say what the headline over the samples of ``split`` is; see ``metrics.signature_of``."""


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

    def score(self, rows: Sequence[Prediction]) -> list[Prediction]:
        """See ``SentenceScorer.score``."""
        said = {row.key: row.prediction for row in rows}
        found = score_captions(said, self._references(rows), ("CIDEr-D",))["CIDEr-D"].samples
        return [row._replace(score=float(value)) for row, value in zip(rows, found, strict=True)]

    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        """See ``SentenceScorer.compute_metrics``."""
        said, references = {row.key: row.prediction for row in rows}, self._references(rows)
        found = {name: score.corpus for name, score in score_captions(said, references).items()}
        if self.meteor is not None:
            name = "_".join(("meteor_approx", *self.meteor))  # "meteor" is the official jar's
            found[name] = meteor_score(said, references, self.meteor).corpus
        return {name.lower().replace("-", "_"): score for name, score in found.items()}

    def signature(self, split: str) -> str:
        """See ``SentenceScorer.signature``."""
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
        self._told: dict[str, str] = {}

    def _bleu(self, rows: Sequence[Prediction]) -> TranslationScore:
        found = sacre_bleu([row.prediction for row in rows], [row.references for row in rows], tokenise=self.tokenise)
        self._told = dict(part.split(":", 1) for part in found.signature.split("|"))
        return found

    def score(self, rows: Sequence[Prediction]) -> list[Prediction]:
        """See ``SentenceScorer.score``."""
        return [row._replace(score=float(value)) for row, value in zip(rows, self._bleu(rows).samples, strict=True)]

    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        """See ``SentenceScorer.compute_metrics``."""
        said, references = [row.prediction for row in rows], [row.references for row in rows]
        return {"bleu": self._bleu(rows).corpus, "chrf": chrf(said, references).corpus}

    def signature(self, split: str) -> str:
        """See ``SentenceScorer.signature``: sacrebleu's fields, with its version."""
        return signature_of("BLEU", split=split, scorer="sacrebleu", **self._told)


class Answers(SentenceScorer):
    """Answers and replies, each right or wrong by itself, scored as if they had been chosen from a list.

    Args:
        scorer: how one is scored against its references; by default letter for letter.
    """

    def __init__(self, scorer: Scorer | None = None) -> None:
        self.scorer = scorer or Exact()
        self.name = self.scorer.name

    def score(self, rows: Sequence[Prediction]) -> list[Prediction]:
        """See ``SentenceScorer.score``."""
        return [row._replace(score=self.scorer(row.prediction, row.references)) for row in rows]

    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        """See ``SentenceScorer.compute_metrics``."""
        return {self.name: mean(row.score for row in rows)}

    def signature(self, split: str) -> str:
        """See ``SentenceScorer.signature``."""
        return self.scorer.signature(split)
