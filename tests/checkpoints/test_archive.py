"""A checkpoint whose bytes changed on a disk or on the way is refused; torch itself compares no checksum."""

import random
import struct
import zipfile

import pytest
import torch

from velm_lightning.checkpoints import checkpoint
from velm_lightning.checkpoints.archive import check_archive
from velm_lightning.tracking.checkpoint_files import AtomicCheckpointIO, newest_usable
from velm_lightning.types import InputError


def content(step=1):
    weights = {name: torch.randn(64, 64, generator=torch.Generator().manual_seed(step)) for name in "ab"}
    header = {"format": checkpoint.FORMAT, "model": {}}
    return {"velm": header, "state_dict": weights, "optimizer_states": [], "global_step": step}


def saved(path, step=1):
    AtomicCheckpointIO().save_checkpoint(content(step), path)
    return path


def zero(path, length=4096):
    """Zero some bytes that lie within the first weight."""
    whole = bytearray(path.read_bytes())
    start = len(whole) // 4
    assert any(whole[start : start + length])
    whole[start : start + length] = bytes(length)
    path.write_bytes(whole)


def test_zeroed_bytes_within_a_weight_are_found(tmp_path):
    path = saved(tmp_path / "model.ckpt")
    assert checkpoint.read(path)["global_step"] == 1
    zero(path)
    assert torch.load(path, weights_only=True)["global_step"] == 1  # torch does not notice
    with pytest.raises(InputError, match=r"model\.ckpt is damaged \(Bad CRC-32.*use another checkpoint"):
        checkpoint.read(path)


def test_metadata_are_read_without_reading_the_weights(tmp_path):
    path = saved(tmp_path / "model.ckpt")
    zero(path)
    assert checkpoint.read(path, mmap=True)["global_step"] == 1


def test_resuming_skips_a_checkpoint_with_a_damaged_weight(tmp_path):
    older = saved(tmp_path / "checkpoints" / "older.ckpt", 1)
    newer = saved(tmp_path / "checkpoints" / "newer.ckpt", 2)
    zero(newer)
    assert newest_usable(tmp_path) == older


def test_a_small_change_never_leads_to_other_weights(tmp_path):
    """300 changes of 1 to 8 bytes at random places: refused, or in bytes that have no effect."""
    path, rng = saved(tmp_path / "model.ckpt"), random.Random(0)
    whole, expected, refused = path.read_bytes(), content()["state_dict"], 0
    for _ in range(300):
        changed = bytearray(whole)
        at = rng.randrange(len(whole) - 8)
        for place in range(at, at + rng.randint(1, 8)):
            changed[place] = rng.randrange(256)
        path.write_bytes(changed)
        try:
            weights = checkpoint.read(path)["state_dict"]
            assert all(torch.equal(weights[name], weight) for name, weight in expected.items())
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017
            refused += 1
    assert refused > 250


def with_a_hole(path, size=2**42):
    """An archive with a part of zeros that take no space."""
    name, sizes = b"model/data/0", struct.pack("<HHQQ", 1, 16, size, size)
    entry = struct.pack("<HHHHHIIIHH", 45, 0, 0, 0, 0, 0, 2**32 - 1, 2**32 - 1, len(name), len(sizes))
    with path.open("wb") as file:
        file.write(b"PK\3\4" + entry + name + sizes)
        start = file.seek(size, 1)
        file.write(b"PK\1\2" + struct.pack("<H", 45) + entry + bytes(14) + name + sizes)
        length = file.tell() - start
        file.write(b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 1, 1, length, start))
        file.write(b"PK\6\7" + struct.pack("<IQI", 0, start + length, 1))
        file.write(b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, length, 2**32 - 1, 0))
    return path


def test_a_checkpoint_larger_than_the_memory_is_not_read(tmp_path):
    path = with_a_hole(tmp_path / "model.ckpt")
    with pytest.raises(InputError, match=r"model\.ckpt holds 4,398,046,511,104 bytes, more than three quarters"):
        checkpoint.read(path)
    assert newest_usable(tmp_path) is None


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path):
    path, small = saved(tmp_path / "model.ckpt"), tmp_path / "small.ckpt"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(small, "w", zipfile.ZIP_DEFLATED) as target:
        for part in source.infolist():
            target.writestr(part.filename, bytes(2**24) if "/data/" in part.filename else source.read(part))
    assert small.stat().st_size < 10**6
    with pytest.raises(InputError, match=r"small\.ckpt is a compressed archive, .* bytes that hold 33,"):
        check_archive(small)
