"""Collating samples into a batch; the type of the target decides the block ids."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor

from velm_lightning.io.digests import image_key
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import Batch, Sample


class Texts:
    """The tokenised texts and answers of a split, computed once instead of per batch.

    Args:
        samples: The samples of the split.
        vocabulary: Tokens and answers.
    """

    def __init__(self, samples: Sequence[Sample], vocabulary: Vocabulary) -> None:
        self.samples, self.vocabulary = samples, vocabulary
        sentences = [sample.target if isinstance(sample.target, str) else None for sample in samples]
        prompts = vocabulary.encode([sample.text for sample in samples])
        targets = vocabulary.encode([sentence or "" for sentence in sentences])
        self.prompt_ids = [vocabulary.prompt(ids) for ids in prompts]
        self.target_ids = [
            [] if sentence is None else [*ids, vocabulary.end] for sentence, ids in zip(sentences, targets, strict=True)
        ]
        self.image_names = image_names(samples)
        self.answers = [known_answers(sample, vocabulary) for sample in samples]

    def batch(self, indices: Sequence[int], image: Tensor) -> Batch:
        """Collate the samples at ``indices`` with their images (B, 3, H, W); B may be 0."""
        samples = [self.samples[i] for i in indices]
        rows = [self.prompt_ids[i] + self.target_ids[i] for i in indices]
        prompts = torch.tensor([len(self.prompt_ids[i]) for i in indices], dtype=torch.long)
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
        width = max(map(len, rows), default=0)
        padded = [row + [self.vocabulary.pad] * (width - len(row)) for row in rows]
        ids = torch.tensor(padded, dtype=torch.long).view(len(rows), width)
        place = torch.arange(width)
        valid = place < lengths[:, None]
        block = ((place - prompts[:, None] + 1) * valid).clamp(min=0)
        answers = torch.zeros(len(rows), len(self.vocabulary.answers))
        for row, i in enumerate(indices):
            for column, weight in self.answers[i]:
                answers[row, column] = weight
        return Batch(
            keys=tuple(sample.key for sample in samples),
            image=image,
            ids=ids,
            mask=valid,
            block_ids=block,
            answers=answers,
            prompts=tuple(sample.text for sample in samples),
            references=tuple(tuple(sample.references or ()) for sample in samples),
            groups=tuple(sample.group for sample in samples),
            image_names=tuple(self.image_names[i] for i in indices),
        )


def cut_targets(batch: Batch, longest: int, pad: int) -> Batch:
    """Truncate targets to their first ``longest`` tokens, without adding an end token."""
    valid = batch.mask & (batch.block_ids <= longest)
    width = int(valid.sum(1).max())
    ids, block = batch.ids.masked_fill(~valid, pad), batch.block_ids * valid
    return batch._replace(ids=ids[:, :width], mask=valid[:, :width], block_ids=block[:, :width])


def image_names(samples: Sequence[Sample]) -> list[str]:
    """Return the name of each sample's image: the key of the first sample with that image."""
    first: dict[Hashable, str] = {}
    return [first.setdefault(image_key(sample.image), sample.key) for sample in samples]


def known_answers(sample: Sample, vocabulary: Vocabulary) -> list[tuple[int, float]]:
    """Return (index, weight) of the sample's answers that are in the vocabulary."""
    if not isinstance(sample.target, Mapping):
        return []
    index = vocabulary.answer_index
    return [(index[answer], weight) for answer, weight in sample.target.items() if answer in index]
