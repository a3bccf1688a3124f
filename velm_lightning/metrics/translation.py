"""BLEU and chrF of translations by sacrebleu, with the signature that makes a figure comparable.

Definitions: Post 2018, "A Call for Clarity in Reporting BLEU Scores"; Popović 2015, "chrF". Translation differs from
captioning: sacrebleu tokenises for itself ("13a"), keeps the case and needs each reference set complete. Needs
``sacrebleu`` (``pip install velm-lightning[translation]``).
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from velm_lightning.metrics._ngrams import Floats
from velm_lightning.types import InputError


class TranslationScore(NamedTuple):
    """A figure of sacrebleu.

    Attributes:
        corpus: from 0 to 100, as computed by sacrebleu.
        samples: (N,) sentence scores, from 0 to 100; for BLEU with exponential smoothing and the effective order.
        signature: the signature of sacrebleu, to be printed with the figure.
    """

    corpus: float
    samples: Floats
    signature: str


def sacre_bleu(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], *, tokenise: str = "13a"
) -> TranslationScore:
    """Return BLEU of N translations.

    Args:
        hypotheses: N sentences, detokenised.
        references: for each of them the same number of reference sentences, detokenised.
        tokenise: sacrebleu's tokeniser: ``13a``, ``intl``, ``zh``, ``ja-mecab``, ``flores200``, …

    Raises:
        InputError: If sacrebleu is missing, the tokeniser is unknown, or the sentences do not match.
    """
    streams = _streams(hypotheses, references)
    metrics = _sacrebleu()
    try:
        corpus = metrics.BLEU(tokenize=tokenise)
    except (ValueError, KeyError) as error:
        raise InputError(f"tokenise: {tokenise!r}: {error}") from None
    return _scored(corpus, metrics.BLEU(tokenize=tokenise, effective_order=True), hypotheses, references, streams)


def chrf(hypotheses: Sequence[str], references: Sequence[Sequence[str]], *, word_order: int = 0) -> TranslationScore:
    """Return chrF of N translations, or chrF++ with ``word_order`` 2; arguments and errors as in `sacre_bleu`."""
    streams = _streams(hypotheses, references)
    metric = _sacrebleu().CHRF(word_order=word_order)
    return _scored(metric, metric, hypotheses, references, streams)


def _scored(
    corpus: Any, sentence: Any, hypotheses: Sequence[str], references: Sequence[Sequence[str]], streams: list[list[str]]
) -> TranslationScore:
    """Score the corpus and each sentence; sacrebleu sets the signature only after scoring."""
    figure = float(corpus.corpus_score(list(hypotheses), streams).score)
    samples = [
        sentence.sentence_score(hypothesis, list(given)).score
        for hypothesis, given in zip(hypotheses, references, strict=True)
    ]
    return TranslationScore(figure, np.array(samples), str(corpus.get_signature()))


def _streams(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> list[list[str]]:
    """Turn N lists of R references into R lists of N, as sacrebleu expects them."""
    if len(hypotheses) != len(references):
        raise InputError(f"{len(hypotheses)} hypotheses for {len(references)} sentences: give one per sentence")
    if not hypotheses:
        raise InputError("no sentences to score: the split is empty")
    each = len(references[0])
    for place, (hypothesis, given) in enumerate(zip(hypotheses, references, strict=True)):
        if isinstance(given, str) or len(given) != each or each == 0:
            raise InputError(f"references of sentence {place}: expected a list of {max(each, 1)}, got {given!r}")
        if not all(isinstance(sentence, str) for sentence in (hypothesis, *given)):
            raise InputError(f"sentence {place}: expected strings, got {hypothesis!r} against {given!r}")
    return [list(stream) for stream in zip(*references, strict=True)]


def _sacrebleu() -> Any:
    try:
        return importlib.import_module("sacrebleu.metrics")
    except ImportError:
        raise InputError(
            "this figure needs sacrebleu, which is not installed: pip install velm-lightning[translation]"
        ) from None
