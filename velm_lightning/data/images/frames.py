"""Frames of a video file, decoded once by PyAV (extra ``video``) and kept as image files."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

from velm_lightning.io.atomic import new_folder
from velm_lightning.types import InputError


def frame_files(video: Path, wanted: int, folder: Path) -> tuple[Path, ...]:
    """Return ``wanted`` frames of a video as PNG files, spread over its length and written on first use.

    They are in a subfolder of ``folder`` whose name depends on the path, size and time of the video. The subfolder
    appears only once it is complete.

    Raises:
        InputError: PyAV or the file is missing, the file is not a video, or the frames cannot be written.
    """
    try:
        state = video.stat()
    except OSError:
        raise InputError(f"{video}: no such clip: correct the name or remove its rows") from None
    name = blake2b(repr((str(video.resolve()), state.st_size, state.st_mtime_ns, wanted)).encode(), digest_size=12)
    frames = folder / name.hexdigest()
    paths = tuple(frames / f"{part:04d}.png" for part in range(wanted))
    if not frames.is_dir():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write(video, paths)
        except OSError as error:
            reason = error.strerror or error
            raise InputError(
                f"{frames}: frames cannot be written ({reason}): set cache_dir to another folder"
            ) from error
    return paths


def _write(video: Path, paths: tuple[Path, ...]) -> None:
    with new_folder(paths[0].parent) as folder:
        for path, image in zip(paths, images_of(video, len(paths)), strict=True):
            image.save(folder / path.name)


def images_of(video: Path, wanted: int) -> Iterator[Any]:
    """Yield the Pillow images at the middles of ``wanted`` equal parts of a video, upright.

    Raises:
        InputError: PyAV is missing, or the file is not a video or is truncated.
    """
    try:
        import av
    except ImportError:
        raise InputError(f"{video}: video files need PyAV: pip install velm-lightning[video]") from None
    try:
        with av.open(str(video)) as file:
            count = sum(1 for packet in file.demux(file.streams.video[0]) if packet.size)
        places = [(2 * part + 1) * count // (2 * wanted) for part in range(wanted)]
        with av.open(str(video)) as file:
            for number, frame in enumerate(file.decode(file.streams.video[0])):
                if number in places:
                    image = frame.to_image().rotate(frame.rotation, expand=True)
                    yield from [image] * places.count(number)
                    places = [place for place in places if place != number]
    except (av.FFmpegError, IndexError) as error:
        raise InputError(f"{video}: cannot be read as a video ({error}): replace the file") from error
    if places:
        raise InputError(f"{video}: ends before frame {places[0]} of {count}: replace the file")
