"""Atomic writes: after any fault while writing, a file is complete or absent; this includes checkpoints."""

import os
import resource
import signal
import subprocess
import sys
import time

import pytest
import torch

from velm_lightning.io.atomic import remove_parts, replacing, write_atomic, write_output
from velm_lightning.tracking.checkpoint_files import (
    AtomicCheckpointIO,
    newest_usable,
    random_state,
    restore_random_state,
)
from velm_lightning.types import InputError


def test_an_output_is_written_where_a_link_leads(tmp_path):
    (tmp_path / "paper").mkdir()
    (tmp_path / "table.csv").symlink_to("paper/table.csv")
    for text in ("new", "again"):
        write_output(tmp_path / "table.csv", text)
        assert (tmp_path / "table.csv").is_symlink()
        assert (tmp_path / "paper" / "table.csv").read_text() == text


def test_an_output_goes_into_a_pipe_without_replacing_it(tmp_path):
    """As root, replacing ``/dev/stdout`` by a file would last until the next start of the machine."""
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_output(tmp_path / "pipe", "a,b\n")
    assert os.read(reader, 100) == b"a,b\n"
    assert (tmp_path / "pipe").is_fifo()
    os.close(reader)
    with pytest.raises(InputError, match="cannot be written: Is a directory"):
        write_output(tmp_path, "a,b\n")


def test_a_fault_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    write_atomic(path, "old")
    with pytest.raises(ArithmeticError), replacing(path) as file:  # noqa: PT012
        file.write(b"half of the new")
        raise ArithmeticError
    assert path.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


@pytest.mark.slow
def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    write_atomic(path, "old")
    code = (
        "import os, signal, sys; from pathlib import Path; from velm_lightning.io.atomic import replacing\n"
        "with replacing(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2, "the old file and a part of the new one"
    remove_parts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


# A disk that is full


@pytest.fixture
def little_space(tmp_path):
    """A folder with space for one mebibyte: a mounted disk or, without the right to mount, a limit on file sizes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    if not mounted:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
    yield folder
    if mounted:
        subprocess.run(["umount", folder], check=True)
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def content(size):
    return {"velm": {"format": 2, "model": {}}, "state_dict": {"weight": torch.zeros(size)}, "optimizer_states": []}


def test_a_full_disk_is_named_and_the_old_checkpoint_intact(little_space):
    path = little_space / "last.ckpt"
    files = AtomicCheckpointIO()
    files.save_checkpoint(content(1000), path)
    with pytest.raises(
        InputError, match=r"last\.ckpt cannot be written: (No space|File too large).*previous file is intact"
    ):
        files.save_checkpoint(content(1_000_000), path)
    assert len(files.load_checkpoint(path)["state_dict"]["weight"]) == 1000
    assert [path.name for path in little_space.iterdir()] == ["last.ckpt"]


def test_a_full_disk_is_named_for_other_files_too(little_space):
    with pytest.raises(InputError, match=r"test\.jsonl cannot be written: .*: free some space"):
        write_atomic(little_space / "predictions" / "test.jsonl", "x" * 2**21)
    assert not list(little_space.glob("predictions/*"))


@pytest.mark.skipif(os.name != "posix", reason="users are switched")
def test_a_folder_without_the_right_to_write_is_named(tmp_path):
    if os.geteuid() == 0:
        os.seteuid(65534)  # root can write everywhere
        try:
            with pytest.raises(InputError, match=r"last\.ckpt cannot be written: Permission denied"):
                AtomicCheckpointIO().save_checkpoint(content(1), tmp_path / "last.ckpt")
        finally:
            os.seteuid(0)
    else:
        tmp_path.chmod(0o500)
        with pytest.raises(InputError, match=r"last\.ckpt cannot be written: Permission denied"):
            AtomicCheckpointIO().save_checkpoint(content(1), tmp_path / "last.ckpt")


def test_only_checkpoints_of_the_own_folder_are_removed(tmp_path):
    """Lightning reads from a checkpoint, maybe a stranger's, which older file a better one replaces."""
    files, folder = AtomicCheckpointIO(), tmp_path / "checkpoints"
    for name in ("first.ckpt", "second.ckpt"):
        files.save_checkpoint(content(1), folder / name)
    precious = [tmp_path / "precious" / "file.txt", folder / "notes.txt", tmp_path / "other" / "best.ckpt"]
    for path in precious:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (folder / "link.ckpt").symlink_to(precious[2])
    paths = ["../precious", "../precious/file.txt", "notes.txt", "../other/best.ckpt", "link.ckpt", "none.ckpt"]
    for path in [*(f"{folder}/{path}" for path in paths), "memory://x.ckpt"]:
        files.remove_checkpoint(path)
    assert all(path.is_file() for path in precious)
    files.remove_checkpoint(folder / "first.ckpt")
    assert sorted(path.name for path in folder.glob("*.ckpt")) == ["link.ckpt", "second.ckpt"]


# The choice of a checkpoint


def at(step, epochs=0, batches=0, pending=0):
    """The part of a checkpoint that says how far the run has come."""
    evaluation = {"total": {"started": pending, "processed": 0}}
    loops = {
        "epoch_progress": {"current": {"processed": epochs}},
        "epoch_loop.batch_progress": {"current": {"processed": batches}},
        "epoch_loop.val_loop.batch_progress": evaluation,
    }
    return {"global_step": step, "loops": {"fit_loop": loops}}


def test_the_furthest_checkpoint_that_can_be_read_is_taken(tmp_path):
    """Whatever the times of the files are, which copying changes."""
    files, folder = AtomicCheckpointIO(), tmp_path / "checkpoints"
    names = ("oldest.ckpt", "older.ckpt", "weights_only.ckpt", "cut.ckpt")
    for age, name in zip((1, 2, 3, 4), names, strict=True):
        newest = content(10) | at(step=9 + age)
        if name == "weights_only.ckpt":
            del newest["optimizer_states"]
        files.save_checkpoint(newest, folder / name)
        if name == "cut.ckpt":
            (folder / name).write_bytes((folder / name).read_bytes()[:-100])
        os.utime(folder / name, (time.time() - age, time.time() - age))
    assert newest_usable(tmp_path) == folder / "older.ckpt"
    assert newest_usable(tmp_path / "nowhere") is None


def test_at_the_same_step_an_evaluated_checkpoint_is_taken(tmp_path):
    files, folder = AtomicCheckpointIO(), tmp_path / "checkpoints"
    order = {"last": at(6, 0, 6, pending=1), "best": at(6, 0, 6), "ended": at(6, 1)}
    for name, position in order.items():
        files.save_checkpoint(content(1) | position, folder / f"{name}.ckpt")
        os.utime(folder / f"{name}.ckpt", (0, 0) if name != "last" else None)
        assert newest_usable(tmp_path) == folder / f"{name}.ckpt"


def test_random_states_survive_a_checkpoint(tmp_path):
    import random

    import numpy as np

    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    files = AtomicCheckpointIO()
    files.save_checkpoint(content(1) | {"velm_random": [random_state()]}, tmp_path / "last.ckpt")
    expected = draw()
    draw()
    restore_random_state(files.load_checkpoint(tmp_path / "last.ckpt")["velm_random"][0])
    assert draw() == expected
