"""Multi30k (Elliott et al. 2016) from its official files: a sentence a line, and a list of the images."""

from __future__ import annotations

from pathlib import Path

from velm_lightning.data.datasets.located import FileDataset, Located, add
from velm_lightning.io.files import clean_text, fault, inside, read_text
from velm_lightning.types import InputError, Sample


class Multi30k(FileDataset):
    """Sentences about photos with their translations, as the official repository holds them.

    The key of a sample is its line in the list of images.

    Args:
        root: folder of the repository; the other names are relative to it.
        source: language of the prompt: ``en``, ``de``, ``fr`` or ``cs``.
        target: language of the sentence to produce.
        train: name of the training part, or ``null``; and so on.
        val: name of the validation part.
        test: ``test_2016_flickr``, ``test_2017_flickr``, ``test_2017_mscoco`` or ``test_2018_flickr``.
        images: folder of the photos.
        texts: where the sentences are; ``{part}`` and ``{language}`` stand for theirs. Plain files or ``.gz``.
        lists: where the names of the images are, one a line; what follows a ``#`` in them is not of the file's name.
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
    ) -> None:
        super().__init__(Path(root) / images)
        self.root, self.languages = Path(root), (source, target)
        self.parts = {"train": train, "val": val, "test": test}
        self.texts, self.lists = texts, lists

    def read(self, name: str, problems: list[str] | None = None) -> list[Located]:
        """See ``FileDataset.read``."""
        part = self.parts[name]
        if part is None:
            return []
        files = [self.root / self.texts.format(part=part, language=language) for language in self.languages]
        files.append(self.root / self.lists.format(part=part))
        columns = [_lines(file) for file in files]
        if len({len(lines) for lines in columns}) > 1:
            told = ", ".join(f"{file} {len(lines)}" for file, lines in zip(files, columns, strict=True))
            raise InputError(f"these files must have as many lines as each other: {told}: do they belong together?")
        found: dict[str, Located] = {}
        for number, (said, meant, listed) in enumerate(zip(*columns, strict=True), 1):
            try:
                add(found, self._sample(files, number, said, meant, listed))
            except InputError as error:
                fault(error, problems)
        return list(found.values())

    def _sample(self, files: list[Path], number: int, said: str, meant: str, listed: str) -> Located:
        for file, line in zip(files, (said, meant, listed), strict=True):
            if not line:
                raise InputError(f"{file}:{number}: the line is empty: the files would no longer run in parallel")
        where = f"{files[2]}:{number}"
        try:
            image = inside(self.images, listed.partition("#")[0])
        except InputError as error:
            raise InputError(f"{where}: image {error}") from error
        return Located(where, Sample(listed, image, said, meant, (meant,)))


def _lines(path: Path) -> list[str]:
    r"""Return the lines of a file; only ``\n`` ends one, and the last may lack it."""
    lines = [clean_text(line) for line in read_text(path).split("\n")]
    return lines if lines[-1] else lines[:-1]
