"""Custom data: a table per split and a folder of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from velm_lightning.data.datasets.data_files import DataFiles


class JSONLines(DataFiles):
    """Samples from one table per split; the columns and formats are those of ``DataFiles``.

    Args:
        root: Folder to which the other paths are relative.
        train: File of the training split; likewise ``val`` and ``test``. None means an empty split.
        images: Folder of the images.
        options: The other arguments of ``DataFiles``, such as ``columns`` and ``holdout``, except ``path``.

    Raises:
        InputError: No file is named, or an argument is out of its range.

    Example:
        >>> import velm_lightning as velm
        >>> from pathlib import Path
        >>> row = '{"image": "cat.jpg", "text": "what is it?", "answers": "a cat"}'
        >>> _ = Path("train.jsonl").write_text(row)
        >>> velm.JSONLines(train="train.jsonl").split("train")[0].target
        {'a cat': 1.0}
    """

    def __init__(
        self,
        root: Path = Path("."),
        train: Path | None = None,
        val: Path | None = None,
        test: Path | None = None,
        images: Path = Path("."),
        **options: Any,
    ) -> None:
        super().__init__(root=root, train=train, val=val, test=test, images=images, **options)
