"""Image-caption pairs from a captioning dataset, for retrieval and pretraining."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from typing_extensions import override

from velm_lightning.errors import at_least
from velm_lightning.types import Dataset, Sample


class CaptionPairs(Dataset):
    """One sample per caption of another dataset, with the caption as text and without a target.

    Args:
        dataset: Captioning dataset. In evaluation, which has one sample per image, every reference becomes a sample.
        captions: Maximum number of captions per image in evaluation, e.g. 5 for COCO. None means all.

    Raises:
        InputError: ``captions`` is less than 1.
    """

    def __init__(self, dataset: Dataset, captions: int | None = None) -> None:
        at_least(1, captions=captions)
        self.dataset, self.captions = dataset, captions
        self._splits: dict[str, Sequence[Sample]] = {}

    @override
    def split(self, name: str) -> Sequence[Sample]:
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
