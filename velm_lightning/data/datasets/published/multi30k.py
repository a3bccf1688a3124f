"""Multi30k (Elliott et al. 2016) from its official files: one sentence per line, and a list of the images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typing_extensions import override

from velm_lightning.data.datasets.located import FileDataset, Located, add
from velm_lightning.io.files import clean_text, fault, read_text
from velm_lightning.io.paths import user_path
from velm_lightning.types import InputError, Sample


class Multi30k(FileDataset):
    """Sentences about photos with their translations, from the official repository.

    The key of a sample is its entry in the list of images.

    Args:
        root: Folder of the repository, to which the other paths are relative.
        source: Language of the prompt: ``en``, ``de``, ``fr`` or ``cs``.
        target: Language of the target.
        train: Name of the training part, or ``null``.
        val: Name of the validation part.
        test: ``test_2016_flickr``, ``test_2017_flickr``, ``test_2017_mscoco`` or ``test_2018_flickr``.
        images: Folder of the photos.
        texts: Files of the sentences, plain or ``.gz``, with the placeholders ``{part}`` and ``{language}``.
        lists: Files of the image names, one per line, with the placeholder ``{part}``; a ``#`` ends the name.
        options: ``links`` and ``absolute_names`` of images; see ``FileDataset``.
    """

    official = True

    def __init__(
        self,
        root: Path = Path("."),
        source: str = "en",
        target: str = "de",
        train: str | None = "train",
        val: str | None = "val",
        test: str | None = "test_2016_flickr",
        images: Path = Path("flickr30k-images"),
        texts: str = "data/task1/raw/{part}.{language}.gz",
        lists: str = "data/task1/image_splits/{part}.txt",
        **options: Any,
    ) -> None:
        super().__init__(user_path(root) / images, **options)
        self.root, self.languages = user_path(root), (source, target)
        self.parts = {"train": train, "val": val, "test": test}
        self.texts, self.lists = texts, lists

    @override
    def read(self, name: str, problems: list[str] | None = None) -> list[Located]:
        part = self.parts[name]
        if part is None:
            return []
        files = [self.root / self.texts.format(part=part, language=language) for language in self.languages]
        files.append(self.root / self.lists.format(part=part))
        columns = [_lines(file) for file in files]
        if len({len(lines) for lines in columns}) > 1:
            counts = ", ".join(f"{file} {len(lines)}" for file, lines in zip(files, columns, strict=True))
            raise InputError(f"these files must have the same number of lines: {counts}: do they belong together?")
        samples: dict[str, Located] = {}
        for number, (source, target, listed) in enumerate(zip(*columns, strict=True), 1):
            try:
                add(samples, self._sample(files, number, source, target, listed))
            except InputError as error:
                fault(error, problems)
        return list(samples.values())

    def _sample(self, files: list[Path], number: int, source: str, target: str, listed: str) -> Located:
        for file, line in zip(files, (source, target, listed), strict=True):
            if not line:
                raise InputError(f"{file}:{number}: the line is empty: every file must have a text on every line")
        where = f"{files[2]}:{number}"
        image = self.image_file(listed.partition("#")[0], where)
        return Located(where, Sample(listed, image, source, target, (target,)))


def _lines(path: Path) -> list[str]:
    r"""Return the lines of a file; only ``\n`` ends a line, and the last may lack it."""
    lines = [clean_text(line) for line in read_text(path).split("\n")]
    return lines if lines[-1] else lines[:-1]
