"""Computes the highest score that any model can reach with a given tokeniser and answer list."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from unicodedata import normalize

from velm_lightning.tasks.base import Task
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import Prediction, Sample

ENOUGH = 0.99
"""Share of the score of a byte-level tokeniser below which a ceiling is reported as a warning."""


class Ceiling(NamedTuple):
    """The score of a model that predicts the references as far as its tokeniser and answer list can produce them.

    Attributes:
        score: the task's headline figure.
        bytes: the same figure if every reference could be produced, as with a byte-level tokeniser.
        samples: number of samples that were scored.
        lost: references that cannot be produced, each with the text that is produced instead.
    """

    score: float
    bytes: float
    samples: int
    lost: list[tuple[str, str]]

    @property
    def low(self) -> bool:
        """Whether the tokeniser or the list of answers costs more than 1 % of the score."""
        return self.score < ENOUGH * self.bytes

    def describe(self, figure: str = "score") -> str:
        """Return a sentence for the data summary; a warning if the ceiling is low."""
        sentence = f"the highest {figure} that this tokeniser and answer list allow is {self.score:.4f}"
        sentence += f" (byte-level: {self.bytes:.4f}, measured on {self.samples} samples)"
        if not self.low:
            return sentence
        examples = ", ".join(f"{_short(text)} becomes {_short(reply)}" for text, reply in self.lost[:3])
        return (
            f"warning: {sentence}: {examples}; set data.tokenizer.init_args.kind to bpe, lowercase to false, "
            "min_count to 1, or raise data.max_length or data.num_answers"
        )


def ceiling(task: Task, samples: Sequence[Sample], vocabulary: Vocabulary, most: int = 1000) -> Ceiling | None:
    """Score the references as if a model had produced them, by the task's own metric and normalisation.

    If a sample has several references, the one with the highest score is used.

    Args:
        task: the task; it need not be connected to a model.
        samples: an evaluation split; at most ``most`` of them are scored, evenly spaced.
        vocabulary: word pieces and answers of the model.
        most: largest number of samples.

    Returns:
        The ceiling; None if no sample has references, or if the task's answers are not texts.
    """
    scored = [sample for sample in spread(samples, most) if sample.references]
    texts = [list(dict.fromkeys(sample.references or ())) for sample in scored]
    flat = [text for references in texts for text in references]
    replies = task.producible(flat, vocabulary)
    if replies is None or not flat:
        return None
    wanted = [normalize("NFC", text) for text in flat]
    lost = [(text, reply) for text, reply in zip(wanted, replies, strict=True) if text != reply]
    score, highest = (_score(task, scored, _grouped(outputs, texts)) for outputs in (replies, wanted))
    return Ceiling(score, highest, len(scored), list(dict.fromkeys(lost)))


def thin_targets(samples: Sequence[Sample], vocabulary: Vocabulary, most: int = 1000) -> str | None:
    """Return a warning if most targets consist of unknown words, of one word piece or of one word; None otherwise.

    One piece per target is expected for frequent answers, but not if most targets occur only once.
    """
    targets = [sample.target for sample in spread(samples, most) if isinstance(sample.target, str) and sample.target]
    ids = vocabulary.encode(targets)
    unknown = [text for text, pieces in zip(targets, ids, strict=True) if set(pieces) <= {vocabulary.unknown}]
    single = [text for text, pieces in zip(targets, ids, strict=True) if len(pieces) == 1]
    fix = "set data.tokenizer.init_args.kind to bpe"
    if 2 * len(unknown) > len(targets):
        return f"warning: {len(unknown)} of {len(targets)} targets contain no known word, such as {unknown[0]!r}: {fix}"
    if 2 * len(set(single)) > len(targets):
        count = f"{len(single)} of {len(targets)} targets are one word piece long, such as {single[0]!r}"
        return f"warning: {count}: if these are sentences without spaces, {fix}"
    joined = [text for text in targets if len(text) > 3 and len(text.split()) == 1]
    if 2 * len(set(joined)) > len(targets):
        count = f"{len(joined)} of {len(targets)} targets contain no space, such as {joined[0]!r}"
        fix = "set tokenise: char of the scorer Captions, as BLEU and CIDEr-D else count only exact matches"
        return f"warning: {count}: if these are sentences, {fix}"
    return None


def spread(samples: Sequence[Sample], most: int) -> list[Sample]:
    """Return at most ``most`` samples, evenly spaced."""
    count = min(most, len(samples))
    return [samples[i * len(samples) // count] for i in range(count)]


def _grouped(replies: Sequence[str], texts: Sequence[Sequence[str]]) -> list[list[str]]:
    """Split a flat list of replies into one list per sample, as long as the sample's list of texts."""
    remaining: Iterator[str] = iter(replies)
    return [[next(remaining) for _ in references] for references in texts]


def _score(task: Task, samples: Sequence[Sample], replies: Sequence[Sequence[str]]) -> float:
    """Return the headline figure with the best reply of each sample."""
    best: list[Prediction] = []
    for place in range(max(map(len, replies))):
        rows = task.score(
            [
                Prediction(
                    key=str(number),
                    group="",
                    prompt="",
                    prediction=options[min(place, len(options) - 1)],
                    references=sample.references or (),
                    score=math.nan,
                    confidence=1.0,
                    loss=math.nan,
                )
                for number, (sample, options) in enumerate(zip(samples, replies, strict=True))
            ]
        )
        best = [max(pair, key=lambda row: row.score) for pair in zip(best or rows, rows, strict=True)]
    return task.compute_metrics(best)["score"]


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:59] + "…")
