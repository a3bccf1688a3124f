"""Clips from folders of frames and from video files: the chosen frames, and the errors for clips without frames."""

import base64
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.formats import png
from PIL import Image

from velm_lightning.data import Clips, MultimodalData
from velm_lightning.data.datasets.clips import frames_in, middle_indices
from velm_lightning.data.images.frames import images_of
from velm_lightning.types import ImageTransform, InputError

SIDE = 32


def grey(level):
    return Image.fromarray(np.full((SIDE, SIDE, 3), level, dtype=np.uint8))


def levels(paths):
    """The grey level of each frame, which in these tests is its number."""
    return [round(float(np.asarray(Image.open(path)).mean())) for path in paths]


def folder_of_frames(path, count):
    path.mkdir()
    for number in range(count):
        grey(number).save(path / f"frame_{number}.png")


def video_of(path, count):
    """A lossless video; the grey level of a frame is its number."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=10, width=SIDE, height=SIDE, pix_fmt="bgr0")
        for number in range(count):
            file.mux(stream.encode(av.VideoFrame.from_image(grey(number))))
        file.mux(stream.encode())


def clips(folder, *rows, **options):
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Clips(folder, train="train.jsonl", cache_dir=folder / "cache", **options)


def row(image, **more):
    return {"image": image, "text": "what moves?", "answers": "a ball", **more}


@pytest.mark.parametrize(
    ("count", "wanted", "places"), [(12, 3, [2, 6, 10]), (3, 3, [0, 1, 2]), (1, 2, [0, 0]), (5, 1, [2])]
)
def test_frames_are_the_middles_of_equal_parts(count, wanted, places):
    assert middle_indices(count, wanted) == places


def test_frames_follow_each_other_by_their_numbers(tmp_path):
    for name in ("a10.png", "a2.png", "a2b1.png", "b1.png", "1.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in frames_in(tmp_path)] == ["1.png", "a2.png", "a2b1.png", "a10.png", "b1.png"]


def test_a_folder_is_a_clip(tmp_path):
    folder_of_frames(tmp_path / "ball", 12)
    (sample,) = clips(tmp_path, row("ball"), frames=3).split("train")
    assert levels(sample.image) == [2, 6, 10]
    assert (sample.text, sample.target) == ("what moves?", {"a ball": 1.0})


def test_a_video_file_is_a_clip(tmp_path):
    video_of(tmp_path / "ball.mkv", 12)
    (sample,) = clips(tmp_path, row("ball.mkv"), frames=3).split("train")
    assert levels(sample.image) == [2, 6, 10]


def test_a_short_video_repeats_frames(tmp_path):
    video_of(tmp_path / "ball.mkv", 2)
    (sample,) = clips(tmp_path, row("ball.mkv"), frames=4).split("train")
    assert levels(sample.image) == [0, 0, 1, 1]


def test_a_list_of_frames_is_a_clip(tmp_path):
    folder_of_frames(tmp_path / "ball", 4)
    (sample,) = clips(tmp_path, row([f"ball/frame_{number}.png" for number in range(4)]), frames=2).split("train")
    assert levels(sample.image) == [1, 3]


def test_frames_within_a_table_are_a_clip(tmp_path):
    content = [f"data:image/png;base64,{base64.b64encode(png(colour)).decode()}" for colour in ("red", "blue")]
    lines = [{"image": image, "text": "what?", "answers": "a"} for image in (content, content[0])]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    problems = []
    ((_, sample),) = Clips(tmp_path, train="a.jsonl", frames=4).read("train", problems)
    assert [frame.numpy().tobytes() for frame in sample.image] == [png("red")] * 2 + [png("blue")] * 2
    assert "a.jsonl:2: image is one image within the table" in problems[0]


def test_the_frames_of_a_video_are_made_once_until_it_changes(tmp_path):
    video_of(tmp_path / "ball.mkv", 3)
    (before,) = clips(tmp_path, row("ball.mkv"), frames=3).split("train")
    before.image[0].write_bytes(b"kept")
    first, second = clips(tmp_path, row("ball.mkv"), row("ball.mkv"), frames=3).split("train")
    assert first.image is second.image
    assert first.image == before.image
    assert first.image[0].read_bytes() == b"kept"
    video_of(tmp_path / "ball.mkv", 4)
    (after,) = clips(tmp_path, row("ball.mkv"), frames=3).split("train")
    assert levels(after.image) == [0, 2, 3]
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_clips_of_all_kinds_make_one_batch(tmp_path):
    folder_of_frames(tmp_path / "ball", 5)
    video_of(tmp_path / "car.mkv", 9)
    data = MultimodalData(clips(tmp_path, row("ball"), row("car.mkv"), frames=4), batch_size=2)
    data.transform = ImageTransform(16)
    (batch,) = data.train_dataloader()
    assert batch.image.shape == (2, 4, 3, 16, 16)
    assert sorted(batch.image.float().mean((2, 3, 4)).tolist()) == [[0, 1, 3, 4], [1, 3, 5, 7]]


def refused(folder, *rows, **options):
    with pytest.raises(InputError) as caught:
        clips(folder, *rows, **options).split("train")
    return str(caught.value)


def test_faults_name_the_line_and_the_clip(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "words.mp4").write_text("no video at all")
    pytest.importorskip("av")
    message = refused(tmp_path, row("empty"))
    assert message.startswith(f"{tmp_path / 'train.jsonl'}:1: image {tmp_path / 'empty'} is a folder without frames")
    assert "words.mp4: cannot be read as a video" in refused(tmp_path, row("words.mp4"))
    assert "gone.mp4: no such clip" in refused(tmp_path, row("gone.mp4"))
    assert "frames must be at least 1, got 0" in refused(tmp_path, row("empty"), frames=0)
    assert not list((tmp_path / "cache").iterdir())


def test_a_cut_video_is_refused(tmp_path):
    video_of(tmp_path / "ball.mkv", 12)
    whole = (tmp_path / "ball.mkv").read_bytes()
    (tmp_path / "ball.mkv").write_bytes(whole[:200])
    assert "ball.mkv" in refused(tmp_path, row("ball.mkv"))


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_video_without_its_last_part_is_refused(tmp_path, share):
    video_of(tmp_path / "ball.mkv", 60)
    whole = (tmp_path / "ball.mkv").read_bytes()
    (tmp_path / "ball.mkv").write_bytes(whole[: int(share * len(whole))])
    assert "ball.mkv: is cut off after " in refused(tmp_path, row("ball.mkv"))


@pytest.mark.parametrize("name", ["list.ffconcat", "list.mp4", "list.m3u8"])
def test_a_playlist_opens_no_other_file(tmp_path, name):
    video_of(tmp_path / "ball.mkv", 3)
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nball.mkv\n#EXT-X-ENDLIST\n"
    (tmp_path / name).write_text(playlist if name.endswith("m3u8") else "ffconcat version 1.0\nfile ball.mkv\n")
    assert f"{name}: cannot be read as a video (" in refused(tmp_path, row(name))


def test_a_name_is_not_a_command_of_ffmpeg(tmp_path, monkeypatch):
    video_of(tmp_path / "ball.mkv", 3)
    (tmp_path / "concat:ball.mkv").write_text("no video")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"concat:ball\.mkv: cannot be read as a video"):
        list(images_of(Path("concat:ball.mkv"), 1))


def test_the_size_and_the_length_of_a_video_are_bounded(tmp_path):
    path = tmp_path / "ball.mkv"
    video_of(path, 12)
    with pytest.raises(InputError, match=rf"ball\.mkv: has frames of {SIDE} x {SIDE} pixels, more than 100: reduce it"):
        list(images_of(path, 1, max_pixels=100))
    with pytest.raises(InputError, match=r"ball\.mkv: has more than 10 frames"):
        list(images_of(path, 1, max_frames=10))
    assert len(list(images_of(path, 2, max_frames=12))) == 2


def test_a_video_is_never_skipped(tmp_path):
    """Its frames are made when the table is read, before any batch."""
    folder_of_frames(tmp_path / "ball", 3)
    pytest.importorskip("av")
    (tmp_path / "words.mp4").write_text("no video at all")
    data = MultimodalData(clips(tmp_path, row("words.mp4"), row("ball"), frames=3), on_bad_image="skip")
    with pytest.raises(InputError, match=r"train\.jsonl:1: image .*words\.mp4: cannot be read as a video"):
        data.samples("train")


def test_a_check_goes_on_after_a_fault(tmp_path):
    folder_of_frames(tmp_path / "ball", 3)
    problems = []
    samples = clips(tmp_path, row("gone.mp4"), row("ball"), frames=3).read("train", problems)
    assert [located.where for located in samples] == [f"{tmp_path / 'train.jsonl'}:2"]
    assert len(problems) == 1


def test_without_pyav_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "ball.mp4").write_bytes(b"video")
    monkeypatch.setitem(sys.modules, "av", None)
    assert "pip install velm-lightning[video]" in refused(tmp_path, row("ball.mp4"))
