"""Collating samples into a batch; the type of the target decides the block ids."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from velm_lightning.io.digests import image_key
from velm_lightning.text.conversation_lengths import check_lengths, describe_shortened
from velm_lightning.text.dialogue import EncodedTurns, encode_conversations
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import Batch, Image, InputError, Sample


class Texts:
    """The tokenised texts and answers of a split, computed once instead of per batch.

    Args:
        samples: The samples of the split.
        vocabulary: Tokens and answers.
        shorten: Whether a conversation that is too long loses its first turns; otherwise it is an error.

    Attributes:
        image_names: the name of each sample's image: the key of the first sample with that image.
        conversations: the tokens of the samples that are conversations, by sample number.
        shortened: a sentence about the conversations that lost turns; empty if there are none.

    Raises:
        InputError: A conversation is too long, or its template fails.
    """

    def __init__(self, samples: Sequence[Sample], vocabulary: Vocabulary, shorten: bool = True) -> None:
        self.samples, self.vocabulary = samples, vocabulary
        prompts, sentences, talks = list[str](), list[str | None](), dict[int, Sample]()
        self.answers, self.image_names = list[list[tuple[int, float]]](), image_names(samples)
        for i, sample in enumerate(samples):  # once, because a split may read each sample when it is used
            prompts.append(sample.text)
            sentences.append(sample.target if isinstance(sample.target, str) else None)
            self.answers.append(known_answers(sample, vocabulary))
            if sample.turns:
                talks[i] = sample
        targets = vocabulary.encode([sentence or "" for sentence in sentences])
        self.prompt_ids = [vocabulary.prompt(ids) for ids in vocabulary.encode(prompts)]
        self.target_ids = [
            [] if sentence is None else [*ids, vocabulary.end] for sentence, ids in zip(sentences, targets, strict=True)
        ]
        self.conversations = self._conversations(talks, shorten)
        for i, turns in self.conversations.items():
            self.prompt_ids[i], self.target_ids[i] = turns.ids, []
        counts = [len(self._images_of(i)) for i in range(len(samples))] if self.conversations else []
        self._ends = list(accumulate(counts))

    def _conversations(self, talks: Mapping[int, Sample], shorten: bool) -> dict[int, EncodedTurns]:
        encoded = encode_conversations([sample.turns for sample in talks.values()], self.vocabulary)
        for sample, row in zip(talks.values(), encoded, strict=True):
            count = len(sample.image) if isinstance(sample.image, tuple) else 1
            if count != (marks := len(row.marks) + row.images_dropped):
                raise InputError(f"sample {sample.key!r} has {marks} marks and {count} images: give one image per mark")
        rows = {sample.key: row for sample, row in zip(talks.values(), encoded, strict=True)}
        check_lengths(rows, self.vocabulary.max_length)
        self.shortened = describe_shortened(rows, self.vocabulary.max_length)
        if self.shortened and not shorten:
            more = "raise data.max_length, or set data.on_long_conversation to drop_turns"
            raise InputError(f"{self.shortened}: {more}")
        return dict(zip(talks, encoded, strict=True))

    @property
    def images(self) -> list[Image]:
        """The image or clip of every sample, or, if there are conversations, all images of all samples."""
        if not self.conversations:
            return [sample.image for sample in self.samples]
        return [image for i in range(len(self.samples)) for image in self._images_of(i)]

    def image_indices(self, indices: Sequence[int]) -> list[int]:
        """Return the places in ``images`` of the images of the samples at ``indices``, in this order."""
        if not self.conversations:
            return list(indices)
        return [place for i in indices for place in range(self._ends[i] - len(self._images_of(i)), self._ends[i])]

    def _images_of(self, index: int) -> Sequence[Image]:
        """Return the images of a sample in a split with conversations, without those of dropped turns."""
        sample, turns = self.samples[index], self.conversations.get(index)
        if not isinstance(sample.image, tuple):
            return (sample.image,)
        if turns is None:
            raise InputError(f"sample {sample.key!r} is a clip: clips and conversations cannot be in one split")
        return sample.image[turns.images_dropped :]

    def batch(self, indices: Sequence[int], image: Tensor) -> Batch:
        """Collate samples; their number B may be 0.

        Args:
            indices: The samples.
            image: Their images (B, 3, H, W), or, if there are conversations, those at ``image_indices``.
        """
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
        target = block > 0
        answers = torch.zeros(len(rows), len(self.vocabulary.answers))
        for row, i in enumerate(indices):
            for column, weight in self.answers[i]:
                answers[row, column] = weight
            if (turns := self.conversations.get(i)) is not None:
                block[row, : len(turns.ids)] = torch.tensor(turns.block_ids)
                target[row, : len(turns.ids)] = torch.tensor(turns.learned)
        image, places, image_blocks = self._at_marks(indices, image, block)
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
            target_mask=target,
            image_places=places,
            image_block_ids=image_blocks,
        )

    def _at_marks(self, indices: Sequence[int], image: Tensor, blocks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return images (B, K, …), their places and their blocks (B, K); K is 0 and ``image`` unchanged without marks.

        Otherwise K is at least 1, so that a batch without any image runs the same layers as all others.
        """
        if not self.conversations:
            none = torch.zeros(len(indices), 0, dtype=torch.long)
            return image, none, none
        counts = [len(self._images_of(i)) for i in indices]
        most = max(1, *counts) if counts else 1
        pixels = image.new_zeros(len(indices), most, *image.shape[1:])
        places, image_blocks = torch.full((2, len(indices), most), -1).unbind()
        for row, (i, end) in enumerate(zip(indices, accumulate(counts), strict=True)):
            count, turns = counts[row], self.conversations.get(i)
            pixels[row, :count] = image[end - count : end]
            places[row, :count] = torch.tensor([0] if turns is None else turns.marks, dtype=torch.long)
            image_blocks[row, :count] = blocks[row, places[row, :count]]
        return pixels, places, image_blocks.clamp(min=0)


def cut_targets(batch: Batch, longest: int, pad: int) -> Batch:
    """Truncate targets to their first ``longest`` tokens, without adding an end token.

    Raises:
        InputError: The samples are conversations.
    """
    if batch.image_places.shape[1]:
        raise InputError("data.target_lengths is not for conversations: set it to []")
    valid = batch.mask & (batch.block_ids <= longest)
    width = int(valid.sum(1).max())
    ids, block, target = batch.ids.masked_fill(~valid, pad), batch.block_ids * valid, batch.target_mask & valid
    return batch._replace(
        ids=ids[:, :width], mask=valid[:, :width], block_ids=block[:, :width], target_mask=target[:, :width]
    )


def image_names(samples: Iterable[Sample]) -> list[str]:
    """Return the name of each sample's image: the key of the first sample with that image.

    That of a conversation is its first image, or, if it has none, its first turn, so that all its replies share it.
    """
    first: dict[Hashable, str] = {}
    return [first.setdefault(_subject(sample), sample.key) for sample in samples]


def _subject(sample: Sample) -> Hashable:
    if sample.turns and isinstance(sample.image, tuple):
        return image_key(sample.image[:1]) or sample.turns[0]
    return image_key(sample.image)


def known_answers(sample: Sample, vocabulary: Vocabulary) -> list[tuple[int, float]]:
    """Return (index, weight) of the sample's answers that are in the vocabulary."""
    if not isinstance(sample.target, Mapping):
        return []
    index = vocabulary.answer_index
    return [(index[answer], weight) for answer, weight in sample.target.items() if answer in index]
