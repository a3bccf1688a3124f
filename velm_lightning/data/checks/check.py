"""Finding what is wrong with a dataset before hours are spent on it: every fault at once, with file and line."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track
from torch import Tensor

from velm_lightning.data.checks.report import Figures, Problem, Report
from velm_lightning.data.datasets.located import FileDataset, Located
from velm_lightning.data.images.decode import MAX_PIXELS, read_image
from velm_lightning.io.threads import threads
from velm_lightning.types import SPLITS, Dataset, ImageTransform, InputError, Sample

__all__ = ["Problem", "Report", "check_dataset"]

_PARTED = "keep a picture in one split, or put both files into `train` and set `holdout`, which parts them by content"
_SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".ppm"}


def check_dataset(
    dataset: Dataset,
    answers: int | None = None,
    size: int = 32,
    progress: bool = True,
    max_pixels: int = MAX_PIXELS,
    examples: int = 2,
) -> Report:
    """Read every row and every picture of a dataset and report what is wrong.

    Args:
        dataset: of those read from files, each fault is named with its line; of others with split and key.
        answers: how many of the most frequent training answers can be chosen; all by default.
        size: side to which pictures are decoded; a small one is faster.
        progress: show a bar while the pictures are read.
        max_pixels: a picture whose header claims more is at fault.
        examples: how many of the pictures that two splits share are named.
    """
    problems: list[Problem] = []
    read = {name: _read(dataset, name, problems) for name in SPLITS}
    if not any(read.values()):
        problems.append(Problem("splits", f"{type(dataset).__name__} has no samples in any split: see its arguments"))
    for found in read.values():
        problems.extend(_keys(found))
        problems.extend(_texts(found))
    users = _users(read)
    contents = _contents(users, lambda image: read_image(image, ImageTransform(size), max_pixels), problems, progress)
    shared = _shared(users, contents, examples)
    official = isinstance(dataset, FileDataset) and dataset.official
    problems.extend(Problem("splits", f"{told}: {_PARTED}") for told in shared if not official)
    weights = Counter[str]()
    for _, sample in read["train"]:
        weights.update(dict.fromkeys(_answers(sample), 1))
    known = {answer for answer, _ in weights.most_common(answers)}
    report = Report({name: _figures(found, known) for name, found in read.items()})
    report.problems = list(dict.fromkeys(problems))  # a file that two splits share is read twice
    report.notes = [f"{told}: the published splits have it so" for told in shared if official]
    report.notes += [*_without_references(read), *_unknown(read, known), *_unused(dataset, users)]
    return report


def _read(dataset: Dataset, name: str, problems: list[Problem]) -> list[Located]:
    told: list[str] = []
    try:
        if isinstance(dataset, FileDataset):
            return dataset.read(name, told)
        return [Located(f"{name}, key {sample.key}", sample) for sample in dataset.split(name)]
    except InputError as error:
        told.append(str(error))
        return []
    finally:
        problems.extend(Problem("rows", message) for message in told)


def _keys(found: Iterable[Located]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for where, sample in found:
        if first.setdefault(sample.key, where) is not where:
            yield Problem("keys", f"{where}: key {sample.key!r} stands in {first[sample.key]} too: make keys unique")


def _texts(found: list[Located]) -> Iterator[Problem]:
    """Tell of empty sentences; prompts may be empty, if all are."""
    prompted = any(sample.text.strip() for _, sample in found)
    for where, sample in found:
        if prompted and not sample.text.strip():
            yield Problem("texts", f"{where}: the prompt is empty, and others are not: write it or remove the row")
        empty = [
            text for text in (sample.target, *(sample.references or ())) if isinstance(text, str) and not text.strip()
        ]
        if empty or (isinstance(sample.target, Mapping) and not sample.target):
            yield Problem("texts", f"{where}: a target or reference is empty: write it or remove the row")


class _User(NamedTuple):
    """The first row of a split that shows a picture, and how many there are."""

    image: Path | Tensor
    where: str
    split: str
    rows: int


def _users(read: Mapping[str, list[Located]]) -> dict[tuple[str, object], _User]:
    users: dict[tuple[str, object], _User] = {}
    for split, found in read.items():
        for where, sample in found:
            for image in sample.image if isinstance(sample.image, tuple) else (sample.image,):
                key = split, image if isinstance(image, Path) else image.data_ptr()
                user = users.get(key, _User(image, where, split, 0))
                users[key] = user._replace(rows=user.rows + 1)
    return users


def _contents(
    users: Mapping[tuple[str, object], _User],
    read: Callable[[Path | Tensor], Tensor],
    problems: list[Problem],
    progress: bool,
) -> list[str | None]:
    """Return a digest of each picture's content; nothing for one that cannot be read."""

    def digest(user: _User) -> str | InputError:
        try:
            read(user.image)
            content = user.image.read_bytes() if isinstance(user.image, Path) else user.image.numpy().tobytes()
            return hashlib.blake2b(content, digest_size=16).hexdigest()
        except InputError as error:
            return InputError(f"{user.where}: {error} ({user.rows} rows of {user.split})")

    console = Console(stderr=True)
    hidden = not progress or not console.is_terminal
    contents: list[str | None] = []
    every = list(users.values())
    with threads() as pool:
        starts = range(0, len(every), 256)
        for start in track(starts, "Reading images", console=console, transient=True, disable=hidden):
            for found in pool.map(digest, every[start : start + 256]):
                contents.append(found if isinstance(found, str) else None)
                if isinstance(found, InputError):
                    problems.append(Problem("images", str(found)))
    return contents


def _shared(users: Mapping[tuple[str, object], _User], contents: Iterable[str | None], examples: int) -> list[str]:
    """Return a sentence for each two splits that have pictures in common, whatever their names."""
    first: dict[str, dict[str, _User]] = {}  # by content, then by split
    for user, content in zip(users.values(), contents, strict=True):
        if content is not None:
            first.setdefault(content, {}).setdefault(user.split, user)
    told = []
    for a, b in combinations(SPLITS, 2):
        both = [found for found in first.values() if a in found and b in found]
        if both:
            named = "; ".join(f"{_named(found[b])} is {_named(found[a])}" for found in both[:examples])
            more = f"; and {len(both) - examples} more" if len(both) > examples else ""
            told.append(f"{len(both)} pictures of {b} are also in {a}, by content: {named}{more}")
    return told


def _named(user: _User) -> str:
    return f"{user.image} ({user.where})" if isinstance(user.image, Path) else f"the picture of {user.where}"


def _answers(sample: Sample) -> tuple[str, ...]:
    return tuple(sample.target) if isinstance(sample.target, Mapping) else ()


def _figures(found: list[Located], known: set[str]) -> Figures:
    samples = [sample for _, sample in found]
    images = {
        image if isinstance(image, Path) else image.data_ptr()
        for sample in samples
        for image in (sample.image if isinstance(sample.image, tuple) else (sample.image,))
    }
    labelled = [answers for sample in samples if (answers := _answers(sample))]
    return Figures(
        len(samples),
        len(images),
        Counter(sample.group for sample in samples),
        len({answer for answers in labelled for answer in answers}),
        sum(known.isdisjoint(answers) for answers in labelled) / max(1, len(labelled)),
        _lengths(sample.text for sample in samples),
        _lengths(sample.target for sample in samples if isinstance(sample.target, str)),
    )


def _lengths(texts: Iterable[str]) -> tuple[int, ...]:
    words = [len(text.split()) for text in texts] or [0]
    return tuple(int(length) for length in np.percentile(words, (50, 90, 99, 100), method="higher"))


def _without_references(read: Mapping[str, list[Located]]) -> Iterator[str]:
    """Name evaluation splits in which some samples, but not all, have nothing to be scored against."""
    for split in ("val", "test"):
        missing = [one for one in read[split] if not one.sample.references]
        if 0 < len(missing) < len(read[split]):
            told = f"{len(missing)} of {len(read[split])} samples in {split} have no references and get no score"
            yield f"{told}; the first is {missing[0].where}"


def _unknown(read: Mapping[str, list[Located]], known: set[str]) -> Iterator[str]:
    """Tell of evaluation samples that cannot be answered from the training answers."""
    for split in ("val", "test") if known else ():
        lost = [one for one in read[split] if _answers(one.sample) and known.isdisjoint(_answers(one.sample))]
        if lost:
            where, sample = lost[0]
            told = f"{len(lost)} of {len(read[split])} in {split} have no answer among the {len(known)} of train"
            yield f"{told}; the first is {where}: {_answers(sample)[0]!r}"


def _unused(dataset: Dataset, users: Iterable[tuple[str, object]]) -> Iterator[str]:
    """Tell of pictures in the folder that no row names."""
    if not isinstance(dataset, FileDataset) or not dataset.images.is_dir():
        return
    used = {image for _, image in users}
    unused = sorted(p for p in dataset.images.rglob("*") if p.suffix.lower() in _SUFFIXES and p not in used)
    if unused:
        yield f"{len(unused)} images below {dataset.images} are in no row that can be used; the first is {unused[0]}"
