"""Checking a dataset: all errors at once, each with file and line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from rich.progress import track
from torch import Tensor

from velm_lightning.data.checks.images import dark_images, deep_images, unused_files
from velm_lightning.data.checks.report import Problem, Report, SplitStatistics
from velm_lightning.data.datasets.located import FileDataset, Located
from velm_lightning.data.images.decode import MAX_PIXELS, read_image
from velm_lightning.io.digests import digest_of, image_key
from velm_lightning.io.terminal import Console
from velm_lightning.io.threads import threads
from velm_lightning.types import SPLITS, Dataset, ImageTransform, InputError, Sample, Source, frames_of

__all__ = ["Problem", "Report", "check_dataset"]

_DARK = 4.0  # mean of 255 below which little is visible
_PARTED = "keep an image in one split, or put both files into `train` and set `holdout`, which splits by content"


def check_dataset(
    dataset: Dataset,
    answers: int | None = None,
    size: int = 32,
    progress: bool = True,
    max_pixels: int = MAX_PIXELS,
    examples: int = 2,
) -> Report:
    """Read every row and every image of a dataset and report the problems.

    Args:
        dataset: The dataset. Problems of datasets read from files have a line, those of others a split and a key.
        answers: Size of the answer vocabulary, the most frequent training answers. None means all.
        size: Side to which images are decoded; a small one is faster.
        progress: Whether to show a progress bar.
        max_pixels: Limit on the pixels that an image header claims.
        examples: Number of examples of images that two splits share.
    """
    problems: list[Problem] = []
    read = {name: _read(dataset, name, problems) for name in SPLITS}
    if not any(read.values()) and not problems:
        problems.append(Problem("splits", f"{type(dataset).__name__} has no samples in any split: see its arguments"))
    for rows in read.values():
        problems.extend(_keys(rows))
        problems.extend(_texts(rows))
    problems.extend(_silent(read["train"]))
    users = _users(read)
    contents, dark = _contents(users, ImageTransform(size), max_pixels, problems, progress)
    shared = _shared(users, contents, examples)
    official = isinstance(dataset, FileDataset) and dataset.official
    problems.extend(Problem("splits", f"{sentence}: {_PARTED}") for sentence in shared if not official)
    known = _frequent_answers(read["train"], answers)
    return Report(
        {name: _statistics(rows, known) for name, rows in read.items()},
        problems=list(dict.fromkeys(problems)),  # a file shared by two splits is read twice
        notes=[
            *(f"{sentence}: as in the published splits" for sentence in shared if official),
            *_without_references(read),
            *_unknown(read, known),
            *unused_files(dataset, (image for _, image in users)),
            *getattr(dataset, "remarks", ()),
            *_unlabelled(read),
            *deep_images(dict.fromkeys(user.image for user in users.values())),
            *dark_images(list(dict.fromkeys(map(_named, dark)))),
        ],
    )


def _frequent_answers(rows: Iterable[Located], most: int | None) -> set[str]:
    """Return the answers of most samples, at most ``most`` of them."""
    counts = Counter(answer for _, sample in rows for answer in dict.fromkeys(_answers(sample)))
    return {answer for answer, _ in counts.most_common(most)}


def _read(dataset: Dataset, name: str, problems: list[Problem]) -> Sequence[Located]:
    messages: list[str] = []
    try:
        if isinstance(dataset, FileDataset):
            return dataset.read(name, messages)
        return [Located(f"{name}, key {sample.key}", sample) for sample in dataset.split(name)]
    except InputError as error:
        messages.append(str(error))
        return []
    finally:
        problems.extend(Problem("rows", message) for message in messages)


def _keys(rows: Iterable[Located]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for where, sample in rows:
        if first.setdefault(sample.key, where) is not where:
            yield Problem("keys", f"{where}: key {sample.key!r} is also in {first[sample.key]}: make keys unique")


def _texts(rows: Sequence[Located]) -> Iterator[Problem]:
    """Yield the problems of empty texts; prompts may be empty if all are."""
    prompted = any(sample.text.strip() for _, sample in rows)
    for where, sample in rows:
        if prompted and not sample.turns and not sample.text.strip():
            yield Problem("texts", f"{where}: the prompt is empty, but others are not: write it or remove the row")
        empty = [
            text for text in (sample.target, *(sample.references or ())) if isinstance(text, str) and not text.strip()
        ]
        if empty or (isinstance(sample.target, Mapping) and not sample.target):
            yield Problem("texts", f"{where}: a target or reference is empty: write it or remove the row")


def _silent(rows: Iterable[Located]) -> Iterator[Problem]:
    """Yield the training conversations of which nothing is learned."""
    for where, sample in rows:
        if sample.turns and not sample.sentences:
            yield Problem("texts", f"{where}: the conversation has no reply that is learned: add one or remove the row")


class _User(NamedTuple):
    """The first row of a split with an image, and the number of such rows."""

    image: Source
    where: str
    split: str
    rows: int


def _users(read: Mapping[str, Sequence[Located]]) -> dict[tuple[str, object], _User]:
    users: dict[tuple[str, object], _User] = {}
    for split, rows in read.items():
        for where, sample in rows:
            for image in frames_of(sample.image):
                key = split, image_key(image)
                user = users.get(key, _User(image, where, split, 0))
                users[key] = user._replace(rows=user.rows + 1)
    return users


def _contents(
    users: Mapping[tuple[str, object], _User],
    transform: ImageTransform,
    max_pixels: int,
    problems: list[Problem],
    progress: bool,
) -> tuple[list[str | None], list[_User]]:
    """Return the digest of each image's content, None for an unreadable one, and the images that are black."""

    def digest(user: _User) -> tuple[str, bool] | InputError:
        try:
            dark = float(read_image(user.image, transform, max_pixels).float().mean()) < _DARK
            return digest_of(user.image).hex(), dark
        except InputError as error:
            return InputError(f"{user.where}: {error} ({user.rows} rows of {user.split})")

    console = Console(stderr=True)
    hidden = not progress or not console.is_terminal
    contents, dark = list[str | None](), list[_User]()
    every = list(users.values())
    with threads() as pool:
        starts = range(0, len(every), 256)
        for start in track(starts, "Reading images", console=console, transient=True, disable=hidden):
            part = every[start : start + 256]
            for user, result in zip(part, pool.map(digest, part), strict=True):
                if isinstance(result, InputError):
                    problems.append(Problem("images", str(result)))
                    contents.append(None)
                else:
                    contents.append(result[0])
                    dark += [user] * result[1]
    return contents, dark


def _shared(users: Mapping[tuple[str, object], _User], contents: Iterable[str | None], examples: int) -> list[str]:
    """Return a sentence per pair of splits that share images, compared by content."""
    first: dict[str, dict[str, _User]] = {}  # by content, then by split
    for user, content in zip(users.values(), contents, strict=True):
        if content is not None:
            first.setdefault(content, {}).setdefault(user.split, user)
    sentences = []
    for a, b in combinations(SPLITS, 2):
        both = [splits for splits in first.values() if a in splits and b in splits]
        if both:
            named = "; ".join(f"{_named(splits[b])} is {_named(splits[a])}" for splits in both[:examples])
            more = f"; and {len(both) - examples} more" if len(both) > examples else ""
            sentences.append(f"{len(both)} images of {b} are also in {a}, by content: {named}{more}")
    return sentences


def _named(user: _User) -> str:
    return f"{user.image} ({user.where})" if not isinstance(user.image, Tensor) else f"the image of {user.where}"


def _answers(sample: Sample) -> tuple[str, ...]:
    return tuple(sample.target) if isinstance(sample.target, Mapping) else ()


def _statistics(rows: Sequence[Located], known: set[str]) -> SplitStatistics:
    samples = [sample for _, sample in rows]
    images = {image_key(image) for sample in samples for image in frames_of(sample.image)}
    labelled = [answers for sample in samples if (answers := _answers(sample))]
    return SplitStatistics(
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


def _without_references(read: Mapping[str, Sequence[Located]]) -> Iterator[str]:
    """Yield a note per evaluation split in which some samples, but not all, have no references."""
    for split in ("val", "test"):
        missing = [located for located in read[split] if not located.sample.references]
        if 0 < len(missing) < len(read[split]):
            note = f"{len(missing)} of {len(read[split])} samples in {split} have no references and get no score"
            yield f"{note}; the first is {missing[0].where}"


def _unlabelled(read: Mapping[str, Sequence[Located]]) -> Iterator[str]:
    """Yield a note if no training sample has a target."""
    if read["train"] and not any(located.sample.target for located in read["train"]):
        yield (
            "train has neither answers nor targets, as for retrieval; if the texts are captions to produce, set "
            "columns: {target: text, text: null}"
        )


def _unknown(read: Mapping[str, Sequence[Located]], known: set[str]) -> Iterator[str]:
    """Yield a note per evaluation split with samples whose answers are not in the answer vocabulary."""
    for split in ("val", "test") if known else ():
        lost = [item for item in read[split] if _answers(item.sample) and known.isdisjoint(_answers(item.sample))]
        if lost:
            where, sample = lost[0]
            note = f"{len(lost)} of {len(read[split])} in {split} have no answer among the {len(known)} of train"
            yield f"{note}; the first is {where}: {_answers(sample)[0]!r}"
