"""The vocabulary of a training split: the tokens of its texts and its most frequent answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from velm_lightning.text.tokenizers import Tokenizing, TrainedTokenizer
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import Sample


def vocabulary_of_samples(
    samples: Iterable[Sample], tokenizing: Tokenizing, num_answers: int, max_length: int
) -> Vocabulary:
    """Return the vocabulary of samples, which are read once.

    Args:
        samples: The samples of the training split.
        tokenizing: Source of the tokeniser.
        num_answers: Number of answers, the most frequent ones; of equally frequent ones the first in the alphabet.
        max_length: Maximum number of tokens of a text.
    """
    prompts, sentences, weights = list[str](), list[str](), Counter[str]()
    for sample in samples:
        prompts.append(sample.text)
        sentences += sample.sentences
        if isinstance(sample.target, Mapping):
            weights.update(sample.target)
    tokenizer = tokenizing.tokenizer(prompts + sentences)
    ranked = sorted(weights.items(), key=lambda item: (-item[1], item[0]))[:num_answers]
    answers, counts = [answer for answer, _ in ranked], [float(count) for _, count in ranked]
    vocabulary = Vocabulary(answers=answers, counts=counts, max_length=max_length, **tokenizer)
    vocabulary.replaceable = isinstance(tokenizing, TrainedTokenizer)
    return vocabulary
