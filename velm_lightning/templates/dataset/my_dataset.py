"""MyDataset: a folder of images per class, with one question for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from velm_lightning.errors import InputError
from velm_lightning.types import Dataset, Sample

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


class MyDataset(Dataset):
    """Reads ``ROOT/SPLIT/CLASS/*.jpg``, for the splits train, val and test.

    Args:
        root: folder that holds one folder per split.
        question: the text of every sample.
    """

    def __init__(self, root: Path, question: str = "what is it?") -> None:
        self.root, self.question = Path(root), question

    def split(self, name: str) -> Sequence[Sample]:
        """Return the samples of ``train``, ``val`` or ``test``; empty if there is no such folder.

        Raises:
            InputError: ``root`` has no folder ``train``.
        """
        if not (self.root / "train").is_dir():
            raise InputError(f"{self.root} has no folder train: expected {self.root}/train/CLASS/*.jpg")
        files = sorted(file for file in (self.root / name).glob("*/*") if file.suffix.lower() in SUFFIXES)
        return [
            Sample(
                key=f"{file.parent.name}/{file.name}",  # unique within the split, and stable
                image=file,
                text=self.question,
                target={file.parent.name: 1.0},  # answers with weights; a str is a sentence to produce
                references=(file.parent.name,),  # the texts that a prediction is scored against
                group=file.parent.name,  # scores are also reported per group
            )
            for file in files
        ]
