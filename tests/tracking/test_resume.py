"""A run that was stopped anywhere resumes with bitwise the same losses, figures and files as an uninterrupted run."""

import hashlib
import os
import shutil
import signal
import subprocess

import pytest
import torch
from helpers import faults
from helpers.command_line import ROOT, velm
from helpers.resuming import WORDS, fault, only_run, same, wait_for_the_mark

from velm_lightning.tracking.run import Run

STEPS = 18  # six per epoch, each of which leaves out two of the 26 samples


@pytest.fixture(scope="module")
def whole(tmp_path_factory, here_in):
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    assert here_in(folder, *WORDS) == 0
    return only_run(folder)


@pytest.mark.parametrize(
    "step", [7, *(pytest.param(step, marks=pytest.mark.slow) for step in (1, 12, 17))], ids="after {} steps".format
)
def test_a_failed_run_resumes_with_the_same_losses(whole, here, tmp_path, step):
    with pytest.raises(ArithmeticError):
        here(*WORDS, *fault("Crash", step=step), "--save_every_n_steps=1" if step % 2 else "--save_every_n_steps=0")
    broken = only_run(tmp_path)
    assert broken.record["status"] == "failed"
    config = broken.folder / "config.yaml"
    assert here("fit", "--config", config, "--trainer.callbacks=null", "--allow=helpers", "--ckpt_path=last") == 0
    same(only_run(tmp_path), whole)
    assert broken.record["status"] == "finished"


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine with one core
@pytest.mark.slow
def test_loader_processes_resume_within_an_epoch(whole, here, tmp_path):
    with pytest.raises(ArithmeticError):
        here(*WORDS, "--data.num_workers=2", *fault("Crash", step=9), "--save_every_n_steps=4")
    (config,) = (tmp_path / "runs" / "vqa").glob("*/config.yaml")
    assert here("fit", "--config", config, "--trainer.callbacks=null", "--allow=helpers", "--ckpt_path=last") == 0
    same(only_run(tmp_path), whole)


# Signals: the fault sends a real signal to this process.


def going_on(left):
    """The command line that repeats a run from its config without the fault that stopped it."""
    return "fit", "--config", left.folder / "config.yaml", "--trainer.callbacks=null", "--allow=helpers"


@pytest.mark.parametrize(
    ("place", "step", "stopped_at"),
    [
        pytest.param("train", 3, 4, id="after a batch"),
        pytest.param("train", 5, 6, id="before an evaluation", marks=pytest.mark.slow),
        pytest.param("validation", 6, 6, id="within one"),
        pytest.param("train", 17, 18, id="before the last one", marks=pytest.mark.slow),
        pytest.param("validation", 18, 18, id="within the last one", marks=pytest.mark.slow),
    ],
)
def test_a_run_stopped_by_a_signal_resumes_at_the_next_batch(whole, here, capsys, tmp_path, place, step, stopped_at):
    words = fault("Signal", step=step, name="TERM", place=place)
    assert here(*WORDS, *words) == 128 + 15
    assert "stopped by SIGTERM; the same command with --resume auto continues it" in capsys.readouterr().err
    left = only_run(tmp_path)
    assert (left.record["status"], left.record["steps"]) == ("interrupted", stopped_at)
    assert torch.load(left.folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == stopped_at
    assert here(*going_on(left), "--ckpt_path=last") == 0
    assert f"continuing after step {stopped_at}" in capsys.readouterr().out
    same(left, whole)


@pytest.mark.parametrize("name", ["HUP", pytest.param("XCPU", marks=pytest.mark.slow)])
def test_a_closed_terminal_and_used_up_time_interrupt_a_run(here, monkeypatch, tmp_path, name):
    signum = signal.Signals[f"SIG{name}"]
    assert here(*WORDS, *fault("Signal", step=3, name=name)) == 128 + signum
    assert (only_run(tmp_path).record["status"], only_run(tmp_path).record["steps"]) == ("interrupted", 4)
    monkeypatch.setattr(faults, "HAPPENING", lambda: os.kill(os.getpid(), signum))
    before = signal.signal(signum, signal.SIG_IGN)  # as nohup does
    try:
        assert here(*WORDS, "--trainer.max_steps=4", *fault("Happening", step=3)) == 0
    finally:
        signal.signal(signum, before)


def test_a_signal_at_the_end_of_an_epoch_loses_no_work(whole, here, monkeypatch, tmp_path):
    """The signal arrives while an epoch writes its best checkpoint, which is its last action."""
    for step in (6, STEPS):
        monkeypatch.setattr(faults, "HAPPENING", lambda: os.kill(os.getpid(), signal.SIGTERM))
        words = fault("Happening", step=step, place="validation end")
        folder = tmp_path / str(step)
        folder.mkdir()
        assert here(*WORDS, *words, f"--tracking.runs={folder}/runs") == 128 + 15
        left = only_run(folder)
        assert (left.record["status"], left.record["steps"]) == ("interrupted", step)
        assert here(*going_on(left), "--resume=auto") == 0
        same(left, whole)


def test_resuming_a_finished_run_keeps_every_figure(whole, here):
    before = whole.metrics()
    assert here("fit", "--config", whole.folder / "config.yaml", "--ckpt_path=last") == 0
    assert whole.metrics() == before
    assert whole.record["status"] == "finished"


def test_signal_handlers_are_restored_after_a_run(whole):
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


# Killed and resumed from a shell


@pytest.mark.slow
@pytest.mark.parametrize(("step", "workers"), [(5, 0), (12, 2)])
def test_a_killed_run_resumes_with_the_same_command(whole, tmp_path, step, workers):
    words = [*WORDS, "--save_every_n_steps=2", f"--data.num_workers={workers}", "--resume=auto"]
    words += fault("Signal", step=step, once="happened")
    here = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    assert velm(*words, cwd=tmp_path, **here).returncode == -signal.SIGKILL
    left = only_run(tmp_path)
    wait_for_the_mark(tmp_path)
    done = velm(*words, cwd=tmp_path, **here)
    assert done.returncode == 0, done.stderr
    assert f"continuing after step {step // 2 * 2}" in done.stdout
    same(only_run(tmp_path), whole)
    assert only_run(tmp_path).record["id"] == left.record["id"]


@pytest.mark.slow
def test_a_killed_run_with_max_steps_resumes_after_an_epoch(here_in, tmp_path):
    words = [*WORDS, "--trainer.max_epochs=-1", "--trainer.max_steps=8", "--resume=auto"]
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    assert here_in(tmp_path / "whole", *words) == 0
    words += fault("Signal", step=7, once="happened")
    here = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    assert velm(*words, cwd=tmp_path / "killed", **here).returncode == -signal.SIGKILL
    done = velm(*words, cwd=tmp_path / "killed", **here)
    assert "continuing after step 6" in done.stdout, done.stderr
    same(only_run(tmp_path / "killed"), only_run(tmp_path / "whole"))


# --resume auto


@pytest.mark.slow
def test_auto_starts_a_run_or_resumes_an_unfinished_one(whole, here, capsys, tmp_path):
    words = [*WORDS, "--resume=auto", "--save_every_n_steps=4", *fault("Signal", step=9, name="INT")]
    assert here(*words) == 128 + 2
    left = only_run(tmp_path)
    for keep in ("best", "last"):  # the newest checkpoint is damaged, the next one is usable
        path = left.folder / "checkpoints" / f"{keep}.ckpt"
        path.with_name(f"older-{keep}.ckpt").write_bytes(path.read_bytes())
    newest = left.folder / "checkpoints" / "last.ckpt"
    newest.write_bytes(newest.read_bytes()[:1000])
    capsys.readouterr()
    assert here(*words) == 0
    assert f"continuing after step 10 from {left.folder.relative_to(tmp_path)}/checkpoints/older-last.ckpt" in (
        capsys.readouterr().out
    )
    same(left, whole)
    assert here(*words, "--trainer.max_epochs=1") == 0
    assert len(list((tmp_path / "runs" / "vqa").iterdir())) == 2, "another config is another run"


def test_a_requeued_job_resumes_automatically(whole, here, monkeypatch, tmp_path):
    with pytest.raises(ArithmeticError):
        here(*WORDS, *fault("Crash", step=7))
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    config = only_run(tmp_path).folder / "config.yaml"
    assert here("fit", "--config", config, "--trainer.callbacks=null", "--allow=helpers") == 0
    same(only_run(tmp_path), whole)


def test_a_preempted_job_stops_is_requeued_and_resumes(whole, here, capfd, monkeypatch, tmp_path):
    """Lightning's SLURM plugin and a ``scontrol`` that records its arguments."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    (tmp_path / "bin" / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    job = {"JOB_ID": 77, "JOB_NAME": "velm", "NTASKS": 1, "PROCID": 0, "LOCALID": 0, "NODEID": 0, "RESTART_COUNT": 0}
    for name, value in job.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    words = [*WORDS, *fault("Signal", step=7, name="USR1")]
    assert here(*words) == 128 + signal.SIGUSR1
    left = only_run(tmp_path)
    assert (left.record["status"], left.record["steps"]) == ("interrupted", 8)
    assert (tmp_path / "asked").read_text() == "requeue 77\n"
    assert "velm: job 77 is back in the queue" in capfd.readouterr().err
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert here(*words) == 0
    same(only_run(tmp_path), whole)


def test_a_damaged_record_is_named_and_ignored_by_auto(here, capsys, tmp_path):
    spoilt = tmp_path / "runs" / "vqa" / "old"
    spoilt.mkdir(parents=True)
    (spoilt / "run.json").write_text('{"id": "ol')
    assert Run.unfinished(tmp_path / "runs", "vqa", "") is None
    assert here("verify", spoilt) == 2
    assert "run.json:1: not JSON" in capsys.readouterr().err


def test_a_run_in_use_cannot_be_resumed(here, capsys, tmp_path):
    with pytest.raises(ArithmeticError):
        here(*WORDS, *fault("Crash", step=7))
    left = only_run(tmp_path)
    other = Run(left.folder)
    assert other.claim()
    assert here("fit", "--config", left.folder / "config.yaml", "--allow=helpers", "--ckpt_path=last") == 2
    assert f"another process uses {left.folder}: wait until it ends" in capsys.readouterr().err
    assert Run.unfinished(tmp_path / "runs", "vqa", (left.folder / "config.yaml").read_text()) is None
    other.release()
    assert Run.unfinished(tmp_path / "runs", "vqa", (left.folder / "config.yaml").read_text()) is not None


def test_last_needs_a_run(here, capsys):
    assert here(*WORDS, "--ckpt_path=last") == 2
    assert (
        "last.ckpt does not exist: name a file, or `last` together with `--config` of a run's own"
        in capsys.readouterr().err
    )


def test_another_batch_size_cannot_resume_within_an_epoch(here, capsys, tmp_path):
    with pytest.raises(ArithmeticError):
        here(*WORDS, *fault("Crash", step=3), "--save_every_n_steps=2")
    words = [
        "fit",
        "--config",
        only_run(tmp_path).folder / "config.yaml",
        "--trainer.callbacks=null",
        "--allow=helpers",
    ]
    assert here(*words, "--ckpt_path=last", "--data.batch_size=5") == 2
    assert "within an epoch with 4 samples per step, but a step now has 5" in capsys.readouterr().err


# Disks


@pytest.fixture
def disk(tmp_path):
    """Mount a small disk or a read-only disk."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            pytest.skip(f"nothing can be mounted here: {error}")
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    mounted = []
    yield mount
    for one in mounted:
        subprocess.run(["umount", one], check=True)


def test_a_run_on_a_full_disk_names_the_file_and_resumes(whole, disk, here, capfd, tmp_path):
    folder = disk("size=4m")
    words = [*WORDS, f"--tracking.runs={folder}/runs", "--save_every_n_steps=2"]
    assert here(*words, *fault("FullDisk", step=7, file=folder / "filler")) == 2
    told = capfd.readouterr().err
    assert f"velm: error: {folder}/runs/vqa/" in told
    assert "cannot be written: No space left on device; the previous file is intact: free some space" in told
    assert "Traceback" not in told
    left = only_run(folder)
    assert torch.load(left.folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 6
    assert not list(folder.glob("**/.*.part"))
    (folder / "filler").unlink()
    config = left.folder / "config.yaml"
    assert here("fit", "--config", config, "--trainer.callbacks=null", "--allow=helpers", "--resume=auto") == 0
    same(only_run(folder), whole)


def test_a_folder_without_write_permission_is_named(disk, here, capsys):
    folder = disk("ro")
    for wandb in ("off", "offline"):
        assert here(*WORDS, f"--tracking.runs={folder}/runs", f"--tracking.wandb={wandb}") == 2
        told = capsys.readouterr().err
        assert f"velm: error: {folder}/runs/vqa/" in told
        assert "cannot be written: Read-only file system: free some space, check the permissions" in told


# Losses that are not finite


def test_a_nan_loss_stops_the_run(here, capsys, tmp_path):
    assert here(*WORDS, *fault("Poison", step=2)) == 2
    left = only_run(tmp_path)
    assert left.record["status"] == "failed"
    message = capsys.readouterr().err
    assert "the loss of step 2 is not finite: nan of train-" in message
    assert "learning rate 0.0009" in message
    assert not (left.folder / "checkpoints").exists(), "no checkpoint was written after the step"


def test_a_step_with_a_nan_loss_can_be_skipped(here, capsys, tmp_path):
    assert here(*WORDS, *fault("Poison", step=2), "--on_nan=skip") == 0
    left = only_run(tmp_path)
    assert (left.record["status"], left.record["steps"]) == ("finished", STEPS)
    assert capsys.readouterr().out.count("skipped: the loss of step 2 is not finite") == 1
    assert [row["train/skipped_steps"] for row in left.metrics() if row["train/skipped_steps"]] == ["1"]
    assert all(weight.isfinite().all() for weight in left.weights().values())


# Samples left out, and other starts


def test_the_samples_that_an_epoch_leaves_out_are_reported(here, capsys, tmp_path):
    assert here(*WORDS, "--trainer.max_epochs=1", "--test_after_fit=false") == 0
    assert "6 steps of 4 samples per epoch; 2 of the 26 samples are left out, others in each" in capsys.readouterr().out
    assert only_run(tmp_path).record["left_out"] == 2


@pytest.mark.slow
def test_a_run_resumes_without_the_run_it_started_from(whole, here, tmp_path, capsys):
    """Its checkpoint is complete; the source of its first weights is recorded and read only once."""
    source = tmp_path / "source.ckpt"
    shutil.copy(whole.folder / "checkpoints" / "best.ckpt", source)
    assert here(*WORDS, f"--model.init_from={source}", "--trainer.max_epochs=1") == 0
    first = only_run(tmp_path)
    assert first.record["init_from"] == {
        "path": str(source), "sha256": hashlib.sha256(source.read_bytes()).hexdigest(), "left": []
    }  # fmt: skip
    assert first.metrics()[0] != whole.metrics()[0]
    minutes = first.record["minutes"]
    source.unlink()
    more = ["--trainer.max_epochs=2", "--resume_schedule=stretch", "--ckpt_path=last"]
    assert here("fit", "--config", first.folder / "config.yaml", *more) == 0
    assert first.record["steps"] == 2 * STEPS // 3
    assert first.record["minutes"] > minutes
    assert here(*WORDS, f"--model.init_from={source}") == 2
    assert "source.ckpt does not exist" in capsys.readouterr().err


def test_a_run_without_evaluation_is_evaluated_at_its_end(here, tmp_path):
    assert here(*WORDS, "--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=5") == 0
    assert only_run(tmp_path).record["scores"].keys() == {"val", "test"}
