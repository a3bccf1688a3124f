"""Self-critical training: a captioner's second stage, on the CIDEr-D of what it says rather than on its words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor

from velm_lightning.decoding import Decoding, Greedy, Hypothesis, Sampling
from velm_lightning.metrics.captions import cider_d_rows
from velm_lightning.metrics.ptb import ptb_tokenise_all
from velm_lightning.metrics.references import References
from velm_lightning.tasks.generation import Generation
from velm_lightning.tasks.protocol import FusionProtocol
from velm_lightning.tasks.sentences import SentenceScorer
from velm_lightning.tasks.stepping import prompts
from velm_lightning.types import Batch, InputError, Sample

_END = " </s>"


class SelfCritical(Generation):
    """Generation that learns from its own drawn sentences: REINFORCE on their CIDEr-D (Rennie et al. 2017).

    A sentence's log-probability is raised by how much better it scores than the baseline. The n-grams' weights are
    those of the whole training split, and the end of a sentence counts as a word, so that stopping in the middle does
    not pay. In training the model is as in evaluation, without dropout: what is differentiated is what was drawn from.
    It starts from a captioner that was trained on the words, for at random nothing scores; evaluation is Generation's.

    Args:
        samples: sentences drawn of each sample.
        baseline: ``others``: the mean reward of the sample's other draws (Luo 2020, arXiv:2003.09971); ``greedy``: that
            of the likeliest words, as in the original.
        max_length: most words of a drawn sentence, the end included.
        decoding: how sentences are drawn in evaluation.
        scorer: what they are scored by then.
        head: see ``Generation``; that of the captioner it starts from.

    Raises:
        InputError: there are too few draws for the baseline.
    """

    def __init__(
        self,
        samples: int = 5,
        baseline: Literal["others", "greedy"] = "others",
        max_length: int = 24,
        decoding: Decoding | None = None,
        scorer: SentenceScorer | None = None,
        head: Literal["tied", "pretrained"] = "tied",
    ) -> None:
        super().__init__(decoding=decoding, scorer=scorer, head=head)
        least = 2 if baseline == "others" else 1
        if samples < least:
            raise InputError(f"task.samples={samples} is too few with task.baseline={baseline}: give at least {least}")
        self.baseline, self.draws, self.best = baseline, Sampling(samples, max_length=max_length), Greedy(max_length)
        self._places: dict[tuple[str, ...], int] = {}
        self._index: References | None = None

    def prepare(self, samples: Sequence[Sample]) -> None:
        """See ``Task.prepare``: index the references of the training split."""
        distinct = dict.fromkeys(sample.references for sample in samples if sample.references)
        if not distinct:
            raise InputError("self-critical training needs reference sentences, and the training samples have none")
        self._places = {references: place for place, references in enumerate(distinct)}
        self._index = References(
            [[line + _END for line in ptb_tokenise_all(references)] for references in distinct], tokenise=False
        )

    def loss(self, model: FusionProtocol, batch: Batch) -> Tensor:
        """See ``Task.loss``; outside of training, Generation's."""
        if not self.training:
            return super().loss(model, batch)
        with _as_in_evaluation(model):
            drawn = self.sentences(model, batch, self.draws)
            rewards = self.rewards(batch, drawn, self.draws.max_length)  # (B, K)
            gain = rewards - self._expected(model, batch, rewards)
            return -(gain * self.log_probabilities(model, batch, drawn)).mean()

    def num_items(self, batch: Batch) -> int | Tensor:
        """See ``Task.num_items``: in training the samples, for each has the same number of draws."""
        return batch.size if self.training else super().num_items(batch)

    def _expected(self, model: FusionProtocol, batch: Batch, rewards: Tensor) -> Tensor:
        """Return what each draw is held against, (B, K) or (B, 1)."""
        if self.baseline == "greedy":
            return self.rewards(batch, self.sentences(model, batch, self.best), self.best.max_length)
        return (rewards.sum(1, keepdim=True) - rewards) / (rewards.shape[1] - 1)

    def rewards(self, batch: Batch, drawn: Sequence[Sequence[Hypothesis]], max_length: int) -> Tensor:
        """Return the CIDEr-D (B, K), from 0 to 10, of K sentences a sample; what was cut at ``max_length`` has no end.

        Raises:
            InputError: the training samples were not shown by ``prepare``, or a sample is none of them.
        """
        if self._index is None or not self._places.keys() >= set(batch.references):
            raise InputError("self-critical training knows no references of these samples: call `prepare` with them")
        flat = [one for sample in drawn for one in sample]
        lines = ptb_tokenise_all([self.vocabulary.decode(one.ids) for one in flat])
        ended = [line + _END * (len(one.ids) < max_length) for line, one in zip(lines, flat, strict=True)]
        keys = [self._places[references] for references in batch.references for _ in drawn[0]]
        found = cider_d_rows(ended, keys, self._index, tokenise=False)
        return torch.from_numpy(found).view(batch.size, -1).to(batch.ids.device, torch.float32)

    def log_probabilities(self, model: FusionProtocol, batch: Batch, drawn: Sequence[Sequence[Hypothesis]]) -> Tensor:
        """Return (B, K), with a gradient, of K sentences a sample, their ends included; pictures are read once."""
        told = prompts(batch)
        image, owner = model.encode_image(batch.image), torch.arange(batch.size, device=batch.ids.device)
        owner = owner.repeat_interleave(len(drawn[0]))
        words = self.followed_by(told.rows(owner), [self._written(one) for sample in drawn for one in sample])
        states = model.fuse(image.rows(owner), model.embed_text(words)).embeddings[:, :-1]
        wanted = words.block_ids[:, 1:] > 0
        logits = self.logits(states[wanted])  # (W, V)
        logits = logits.index_fill(1, torch.tensor(sorted(self.banned_ids), device=logits.device), float("-inf"))
        said = logits.log_softmax(1).gather(1, words.ids[:, 1:][wanted][:, None])[:, 0]
        total = said.new_zeros(len(owner)).index_add(0, wanted.nonzero()[:, 0], said)
        return total.view(batch.size, -1)

    def _written(self, one: Hypothesis) -> list[int]:
        return one.ids if len(one.ids) == self.draws.max_length else [*one.ids, self.vocabulary.end]


@contextmanager
def _as_in_evaluation(model: FusionProtocol) -> Iterator[None]:
    """Switch dropout and the like off."""
    model.train(False)
    try:
        yield
    finally:
        model.train(True)
