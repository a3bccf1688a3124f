"""The user's own clips: JSON lines or a table whose images are folders of frames, or video files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from velm_lightning.data.datasets.columns import Columns
from velm_lightning.data.datasets.jsonlines import JSONLines
from velm_lightning.data.datasets.located import Located
from velm_lightning.data.images.cache import default_folder
from velm_lightning.data.images.video import keep_frames
from velm_lightning.io.files import fault
from velm_lightning.types import Image, InputError, Sample

PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


class Clips(JSONLines):
    """`JSONLines` whose column ``image`` names a folder of frames or a video file (extra ``video``), or lists frames.

    A clip is cut into ``frames`` equal parts, and the frame in the middle of each is taken (Wang et al. 2016); of a
    clip with fewer frames some are taken more than once. The frames of a folder follow each other by the numbers in
    their names: ``frame_2.jpg`` comes before ``frame_10.jpg``. Those of a video file are written once, as PNG files,
    into ``cache_dir``. Targets and answers are as in `JSONLines`: questions about clips or captions of them.

    Args:
        root: folder that the other names are relative to.
        train: file of the training split, and so on; a split without a file is empty.
        images: folder of the clips.
        columns: names of columns that differ.
        holdout: share of the training *clips*, chosen by their name, that become the validation split.
        frames: frames taken of each clip.
        cache_dir: where the frames of video files are kept; by default in the user's cache folder.
    """

    def __init__(
        self,
        root: Path = Path("."),
        train: Path | None = None,
        val: Path | None = None,
        test: Path | None = None,
        images: Path = Path("."),
        columns: Columns | None = None,
        holdout: float = 0.0,
        frames: int = 8,
        cache_dir: Path | None = None,
    ) -> None:
        super().__init__(root, train, val, test, images, columns, holdout)
        if frames < 1:
            raise InputError(f"frames: {frames} is too small, give 1 or more")
        self.frames, self.cache_dir = frames, cache_dir or default_folder() / "frames"
        self._clips: dict[Image, tuple[Path, ...]] = {}

    def read(self, name: str, problems: list[str] | None = None) -> list[Located]:
        """See ``FileDataset.read``; a clip's frames are found once, however many samples show it."""
        found = []
        for one in super().read(name, problems):
            try:
                found.append(one._replace(sample=self._with_frames(one.sample)))
            except InputError as error:
                fault(InputError(f"{one.where}: image {error}"), problems)
        return found

    def shown(self, sample: Sample) -> Sequence[Path]:
        """See ``JSONLines.shown``: the frames that are taken of a clip."""
        try:
            return self._with_frames(sample).image  # type: ignore[return-value]
        except InputError:  # a problem of this row, which `read` names
            return super().shown(sample)

    def _with_frames(self, sample: Sample) -> Sample:
        image = sample.image
        if image not in self._clips:
            self._clips[image] = self._frames_of(image)
        return sample._replace(image=self._clips[image])

    def _frames_of(self, image: Image) -> tuple[Path, ...]:
        if isinstance(image, tuple):
            listed = [frame for frame in image if isinstance(frame, Path)]
            return tuple(listed[place] for place in spread(len(listed), self.frames))
        assert isinstance(image, Path)
        if image.is_dir():
            there = frames_in(image)
            return tuple(there[place] for place in spread(len(there), self.frames))
        return keep_frames(image, self.frames, self.cache_dir)


def spread(count: int, wanted: int) -> list[int]:
    """Return the middles of ``wanted`` equal parts of ``count`` frames, as numbers from 0."""
    return [(2 * part + 1) * count // (2 * wanted) for part in range(wanted)]


def frames_in(folder: Path) -> list[Path]:
    """Return the pictures of a folder, ordered by the numbers in their names.

    Raises:
        InputError: there is none.
    """
    there = [path for path in folder.iterdir() if path.suffix.lower() in PICTURES]
    if not there:
        raise InputError(f"{folder} is a folder without frames: put {', '.join(PICTURES)} files into it")
    return sorted(there, key=lambda path: [(word, int(digits or 0)) for word, digits in _PARTS.findall(path.name)])


_PARTS = re.compile(r"(\D*)(\d*)")
