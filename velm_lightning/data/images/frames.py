"""Frames of a video file, decoded once by PyAV (extra ``video``) and kept as image files."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

from velm_lightning.data.images.decode import MAX_PIXELS
from velm_lightning.io.atomic import new_folder
from velm_lightning.types import InputError

MAX_FRAMES = 216_000
"""Limit on the frames of a video, two hours at 30 per second: all frames before the last one wanted are decoded."""

# Formats that hold the frames themselves. Playlists (HLS, DASH, ffconcat, SDP) would open other files and addresses.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,ogg,flv,asf,gif,ivf,m4v,mpegvideo,h264,hevc,obu,mxf,nut"
)
_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
_SLACK, _SLACK_SHARE = 0.5, 0.05  # of the duration by which the header of a whole file may differ from its frames


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


def images_of(video: Path, wanted: int, max_pixels: int = MAX_PIXELS, max_frames: int = MAX_FRAMES) -> Iterator[Any]:
    """Yield the Pillow images at the middles of ``wanted`` equal parts of a video, upright.

    Args:
        video: The file.
        wanted: The number of images.
        max_pixels: Limit on the pixels of a frame.
        max_frames: Limit on the number of frames.

    Raises:
        InputError: PyAV is missing, or the file is not a video, is truncated, names other files or exceeds a limit.
    """
    try:
        import av
    except ImportError:
        raise InputError(f"{video}: video files need PyAV: pip install velm-lightning[video]") from None
    name = f"file:{video.resolve()}"  # a file called `concat:a|b` is not a command
    try:
        with av.open(name, options=_OPTIONS) as file:
            count = _count(video, file, max_pixels, max_frames)
        places = [(2 * part + 1) * count // (2 * wanted) for part in range(wanted)]
        with av.open(name, options=_OPTIONS) as file:
            for number, frame in enumerate(file.decode(file.streams.video[0])):
                _check_size(video, frame, max_pixels)
                if number in places:
                    image = frame.to_image().rotate(frame.rotation, expand=True)
                    yield from [image] * places.count(number)
                    places = [place for place in places if place != number]
                if not places:
                    return
    except (av.FFmpegError, IndexError) as error:
        raise InputError(
            f"{video}: cannot be read as a video ({error}; playlists are not read): replace the file"
        ) from error
    if places:
        raise InputError(f"{video}: ends before frame {places[0]} of {count}: replace the file")


def _count(video: Path, file: Any, max_pixels: int, max_frames: int) -> int:
    """Return the number of frames of a video, counted without decoding them, after checking its limits and its end."""
    stream = file.streams.video[0]
    _check_size(video, stream.codec_context, max_pixels)
    count, end = 0, 0.0
    for packet in file.demux():
        if packet.stream.index == stream.index and packet.size:
            count += 1
            if count > max_frames:
                raise InputError(f"{video}: has more than {max_frames:,} frames, two hours at 30 per second: cut it")
        if packet.pts is not None:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    if stream.frames > count:
        raise InputError(f"{video}: is cut off after {count} of {stream.frames} frames: replace the file")
    duration = (file.duration or 0) / 1e6 + max(0.0, (file.start_time or 0) / 1e6)
    if end < duration * (1 - _SLACK_SHARE) - _SLACK:
        raise InputError(f"{video}: is cut off after {end:.1f} of {duration:.1f} seconds: replace the file")
    return count


def _check_size(video: Path, sized: Any, max_pixels: int) -> None:
    if sized.width * sized.height > max_pixels:
        raise InputError(
            f"{video}: has frames of {sized.width} x {sized.height} pixels, more than {max_pixels:,}: reduce it"
        )
