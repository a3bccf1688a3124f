"""A language model in the form of a random table, and simple reference searches over it."""

import itertools
import math

import torch

END = 0


class Tables:
    """Logits per sample, place and last two words, with assertions for the contract of ``Steps``."""

    def __init__(self, samples=3, words=4, places=5, seed=0, scale=2.0):
        generator = torch.Generator().manual_seed(seed)
        self.table = scale * torch.randn(samples, places + 1, words, words, words, generator=generator)
        self.prefixes = [[i] for i in range(samples)]  # sample index, then words
        self.count, self.rows_seen, self.expanded = 1, [], False

    def only(self, sample):
        tables = Tables(1)
        tables.table = self.table[sample : sample + 1]
        return tables

    def logits(self, sample, words):
        before, last = ([END, END, *words])[-2:]
        return self.table[sample, min(len(words), self.table.shape[1] - 1), before, last]

    def _all(self):
        return torch.stack([self.logits(sample, words) for sample, *words in self.prefixes])

    def start(self):
        return self._all()

    def expand(self, count):
        assert not self.expanded
        assert not self.rows_seen
        self.expanded, self.count = True, count
        self.prefixes = [list(prefix) for prefix in self.prefixes for _ in range(count)]

    def step(self, ids):
        self.rows_seen.append(len(ids))
        for prefix, word in zip(self.prefixes, ids.tolist(), strict=True):
            prefix.append(word)
        return self._all()

    def reorder(self, rows):
        assert len(rows) == len(self.prefixes)
        moved = [list(self.prefixes[row]) for row in rows.tolist()]
        assert [prefix[0] for prefix in moved] == [prefix[0] for prefix in self.prefixes]
        self.prefixes = moved

    def select(self, rows):
        prefixes = [self.prefixes[row] for row in rows.tolist()]
        assert 0 < len(prefixes) < len(self.prefixes)
        assert all(
            len(list(same)) == self.count for _, same in itertools.groupby(prefixes, key=lambda prefix: prefix[0])
        )
        self.prefixes = prefixes


def log_probability(tables, sample, words):
    """Return the log-probability of words, including the end token if present."""
    steps = (tables.logits(sample, words[:place]).log_softmax(0)[word] for place, word in enumerate(words))
    return math.fsum(float(step) for step in steps)


def every_sentence(words, max_length):
    """Yield all sentences with the end token, and all sentences cut at ``max_length``."""
    inner = range(1, words)
    for length in range(max_length):
        yield from ([*sentence, END] for sentence in itertools.product(inner, repeat=length))
    yield from (list(sentence) for sentence in itertools.product(inner, repeat=max_length))


def exhaustive(tables, sample, max_length, penalty, allowed=lambda sentence: True):
    """Return every sentence with its score and log-probability, best first."""
    scored = []
    for sentence in every_sentence(tables.table.shape[-1], max_length):
        if allowed(sentence):
            total = log_probability(tables, sample, sentence)
            scored.append(([word for word in sentence if word != END], total / len(sentence) ** penalty, total))
    return sorted(scored, key=lambda row: -row[1])


def plain_beam(tables, sample, beams, max_length, penalty):
    """Return the beam-search results of one sample, computed with lists and without early stopping."""
    live, finished = [(0.0, [])], []
    for length in range(1, max_length + 1):
        grown = [
            (total + float(gain), [*words, word])
            for total, words in live
            for word, gain in enumerate(tables.logits(sample, words).log_softmax(0))
        ]
        grown = sorted(grown, key=lambda row: -row[0])[: 2 * beams]
        ends = [row[1][-1] == END or length == max_length for row in grown]
        top = zip(grown[:beams], ends[:beams], strict=True)
        finished += [(total / length**penalty, words) for (total, words), is_over in top if is_over]
        live = [row for row, is_over in zip(grown, ends, strict=True) if not is_over][:beams]
    finished.sort(key=lambda row: -row[0])
    return [([word for word in words if word != END], score) for score, words in finished[:beams]]
