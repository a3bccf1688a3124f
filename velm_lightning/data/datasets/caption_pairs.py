"""Captioned pictures as pairs: what retrieval and pretraining learn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from velm_lightning.types import Dataset, Sample


class CaptionPairs(Dataset):
    """Every caption of another dataset as a sample of its own: the caption is the text, and nothing is to be produced.

    Args:
        dataset: its targets are captions; of the samples of an evaluation, which show a picture once, every reference
            becomes a sample.
        captions: how many captions of a picture an evaluation takes at most, as 5 of COCO; none takes all.
    """

    def __init__(self, dataset: Dataset, captions: int | None = None) -> None:
        self.dataset, self.captions = dataset, captions
        self._splits: dict[str, Sequence[Sample]] = {}

    def split(self, name: str) -> Sequence[Sample]:
        """See ``Dataset.split``."""
        if name not in self._splits:
            self._splits[name] = list(self._pairs(name))
        return self._splits[name]

    def _pairs(self, name: str) -> Iterator[Sample]:
        for sample in self.dataset.split(name):
            if name == "train":
                if isinstance(sample.target, str):
                    yield sample._replace(text=sample.target, target=None, references=())
                continue
            for place, caption in enumerate((sample.references or ())[: self.captions]):
                key = f"{sample.key}#{place}"
                yield sample._replace(key=key, text=caption, target=None, references=())
