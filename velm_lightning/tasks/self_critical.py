"""Self-critical training: the second stage of captioning, on the CIDEr-D of sampled sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from velm_lightning.decoding import Decoding, Greedy, Hypothesis, Sampling
from velm_lightning.metrics.captions import cider_d_rows
from velm_lightning.metrics.ptb import ptb_tokenise_all
from velm_lightning.metrics.references import References
from velm_lightning.tasks.generation import Generation
from velm_lightning.tasks.protocol import FusionProtocol
from velm_lightning.tasks.sentences import SentenceScorer
from velm_lightning.tasks.stepping import last_block, prompts
from velm_lightning.types import Batch, InputError, Sample

_END = " </s>"


class SelfCritical(Generation):
    """Generation trained by REINFORCE on the CIDEr-D of sampled sentences (Rennie et al. 2017).

    The gradient of a sentence's log-probability is weighted by the difference of its reward to a baseline. The n-gram
    weights are those of the whole training split, and the end of a sentence counts as a token, so that truncated
    sentences score less. Training uses evaluation mode, without dropout, so that the gradient is that of the sampled
    distribution. Start from a trained captioner, because random sentences score 0. Evaluation is that of Generation.

    Args:
        samples: number of sampled sentences per sample.
        baseline: ``others``: the mean reward of the sample's other draws (Luo 2020, arXiv:2003.09971); ``greedy``: that
            of the likeliest words, as in the original.
        max_length: maximum number of tokens of a sampled sentence, the end included.
        decoding: the search for sentences in evaluation.
        scorer: scores the sentences in evaluation.
        head: see ``Generation``; must be that of the captioner that training starts from.

    Raises:
        InputError: ``samples`` is too small for the baseline.
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

    @override
    def prepare(self, samples: Sequence[Sample]) -> None:
        """Index the references of the training split."""
        distinct = dict.fromkeys(sample.references for sample in samples if sample.references)
        if not distinct:
            raise InputError("self-critical training needs reference sentences, and the training samples have none")
        self._places = {references: place for place, references in enumerate(distinct)}
        self._index = References(
            [[line + _END for line in ptb_tokenise_all(references)] for references in distinct], tokenise=False
        )

    @override
    def loss(self, model: FusionProtocol, batch: Batch) -> Tensor:
        """Return the REINFORCE loss; outside of training, the loss of Generation."""
        if not self.training:
            return super().loss(model, batch)
        with _as_in_evaluation(model):
            drawn = self.sentences(model, batch, self.draws)
            rewards = self.rewards(batch, drawn, self.draws.max_length)  # (B, K)
            gain = rewards - self._expected(model, batch, rewards)
            return -(gain * self.log_probabilities(model, batch, drawn)).mean()

    @override
    def num_items(self, batch: Batch) -> int | Tensor:
        """Return the number of samples in training, since each has equally many sentences."""
        return batch.size if self.training else super().num_items(batch)

    def _expected(self, model: FusionProtocol, batch: Batch, rewards: Tensor) -> Tensor:
        """Return the baseline of each sentence, (B, K) or (B, 1)."""
        if self.baseline == "greedy":
            return self.rewards(batch, self.sentences(model, batch, self.best), self.best.max_length)
        return (rewards.sum(1, keepdim=True) - rewards) / (rewards.shape[1] - 1)

    def rewards(self, batch: Batch, drawn: Sequence[Sequence[Hypothesis]], max_length: int) -> Tensor:
        """Return the CIDEr-D (B, K), from 0 to 10, of K sentences per sample; truncated sentences have no end.

        Raises:
            InputError: ``prepare`` was not called, or not with these samples.
        """
        if self._index is None or not self._places.keys() >= set(batch.references):
            raise InputError("self-critical training has no references of these samples: call `prepare` with them")
        flat = [sentence for sample in drawn for sentence in sample]
        lines = ptb_tokenise_all([self.vocabulary.decode(sentence.ids) for sentence in flat])
        ended = [line + _END * (len(row.ids) < max_length) for line, row in zip(lines, flat, strict=True)]
        keys = [self._places[references] for references in batch.references for _ in drawn[0]]
        scores = cider_d_rows(ended, keys, self._index, tokenise=False)
        return torch.from_numpy(scores).view(batch.size, -1).to(batch.ids.device, torch.float32)

    def log_probabilities(self, model: FusionProtocol, batch: Batch, drawn: Sequence[Sequence[Hypothesis]]) -> Tensor:
        """Return the log-probabilities (B, K) of K sentences per sample, their ends included, with a gradient."""
        prompt = prompts(batch)
        image, owner = model.encode_images(batch), torch.arange(batch.size, device=batch.ids.device)
        owner = owner.repeat_interleave(len(drawn[0]))
        words = self.followed_by(prompt.rows(owner), [self._with_end(row) for sample in drawn for row in sample])
        states = model.fuse(image.rows(owner), model.embed_text(words)).embeddings[:, :-1]
        targets = words.block_ids[:, 1:] > last_block(prompt)[owner]
        logits = self.logits(states[targets])  # (W, V)
        logits = logits.index_fill(1, torch.tensor(sorted(self.banned_ids), device=logits.device), float("-inf"))
        log_likely = logits.log_softmax(1).gather(1, words.ids[:, 1:][targets][:, None])[:, 0]
        total = log_likely.new_zeros(len(owner)).index_add(0, targets.nonzero()[:, 0], log_likely)
        return total.view(batch.size, -1)

    def _with_end(self, row: Hypothesis) -> list[int]:
        return row.ids if len(row.ids) == self.draws.max_length else [*row.ids, self.vocabulary.end]


@contextmanager
def _as_in_evaluation(model: FusionProtocol) -> Iterator[None]:
    """Set evaluation mode inside, and training mode afterwards."""
    model.train(False)
    try:
        yield
    finally:
        model.train(True)
