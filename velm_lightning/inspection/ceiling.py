"""The best score that any model could reach with the word pieces and answers that it is given."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from unicodedata import normalize

from velm_lightning.tasks.base import Task
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import Prediction, Sample

ENOUGH = 0.99
"""Share of a byte-level tokeniser's score below which the ceiling is a warning."""


class Ceiling(NamedTuple):
    """The score of a model that answers with the references themselves, as far as it can produce them.

    Attributes:
        score: the task's headline figure.
        bytes: the same figure if every reference could be produced, as with a byte-level tokeniser.
        samples: number of samples that it was measured on.
        lost: references that cannot be produced, each with what comes out instead.
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
        said = f"the highest {figure} that this tokeniser and answer list allow is {self.score:.4f}"
        said += f" (byte-level: {self.bytes:.4f}, measured on {self.samples} samples)"
        if not self.low:
            return said
        shown = ", ".join(f"{_short(text)} becomes {_short(reply)}" for text, reply in self.lost[:3])
        return (
            f"warning: {said}: {shown}; set data.tokenizer.init_args.kind to bpe, lowercase to false, min_count to 1, "
            "or raise data.max_length or data.num_answers"
        )


def ceiling(task: Task, samples: Sequence[Sample], vocabulary: Vocabulary, most: int = 1000) -> Ceiling | None:
    """Score the references as if a model had produced them, by the task's own metric and normalisation.

    If a sample has several references, the one that scores best is taken.

    Args:
        task: need not be connected to a model.
        samples: an evaluation split; at most ``most`` of them are used, evenly spaced.
        vocabulary: word pieces and answers of the model.
        most: largest number of samples.

    Returns:
        None if no sample has references, or if the task's answers are not texts.
    """
    scored = [sample for sample in spread(samples, most) if sample.references]
    texts = [list(dict.fromkeys(sample.references or ())) for sample in scored]
    flat = [text for some in texts for text in some]
    replies = task.producible(flat, vocabulary)
    if replies is None or not flat:
        return None
    wanted = [normalize("NFC", text) for text in flat]
    lost = [(text, reply) for text, reply in zip(wanted, replies, strict=True) if text != reply]
    score, highest = (_score(task, scored, _grouped(said, texts)) for said in (replies, wanted))
    return Ceiling(score, highest, len(scored), list(dict.fromkeys(lost)))


def thin_targets(samples: Sequence[Sample], vocabulary: Vocabulary, most: int = 1000) -> str | None:
    """Return a warning if the sentences to produce are mostly unknown words, one word piece, or one word each.

    One piece each is as it should be for answers that return again and again, but not if every target is another one.
    """
    targets = [sample.target for sample in spread(samples, most) if isinstance(sample.target, str) and sample.target]
    ids = vocabulary.encode(targets)
    unknown = [text for text, found in zip(targets, ids, strict=True) if set(found) <= {vocabulary.unknown}]
    single = [text for text, found in zip(targets, ids, strict=True) if len(found) == 1]
    mend = "set data.tokenizer.init_args.kind to bpe"
    if 2 * len(unknown) > len(targets):
        return f"warning: {len(unknown)} of {len(targets)} targets hold no known word, such as {unknown[0]!r}: {mend}"
    if 2 * len(set(single)) > len(targets):
        said = f"{len(single)} of {len(targets)} targets are one word piece long, such as {single[0]!r}"
        return f"warning: {said}: if these are sentences without blanks, {mend}"
    joined = [text for text in targets if len(text) > 3 and len(text.split()) == 1]
    if 2 * len(set(joined)) > len(targets):
        said = f"{len(joined)} of {len(targets)} targets hold no blank, such as {joined[0]!r}"
        return (
            f"warning: {said}: if these are sentences, BLEU and CIDEr-D take each for one word and match it as a whole"
        )
    return None


def spread(samples: Sequence[Sample], most: int) -> list[Sample]:
    """Return at most ``most`` samples, evenly spaced."""
    count = min(most, len(samples))
    return [samples[i * len(samples) // count] for i in range(count)]


def _grouped(replies: Sequence[str], texts: Sequence[Sequence[str]]) -> list[list[str]]:
    """Deal out replies to one sample after the other, each as many as it has texts."""
    given: Iterator[str] = iter(replies)
    return [[next(given) for _ in some] for some in texts]


def _score(task: Task, samples: Sequence[Sample], replies: Sequence[Sequence[str]]) -> float:
    """Return the headline figure if each sample gets the best of its replies."""
    best: list[Prediction] = []
    for place in range(max(map(len, replies))):
        rows = task.score(
            [
                Prediction(
                    str(number),
                    "",
                    "",
                    some[min(place, len(some) - 1)],
                    sample.references or (),
                    math.nan,
                    1.0,
                    math.nan,
                )
                for number, (sample, some) in enumerate(zip(samples, replies, strict=True))
            ]
        )
        best = [max(pair, key=lambda row: row.score) for pair in zip(best or rows, rows, strict=True)]
    return task.compute_metrics(best)["score"]


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:59] + "…")
