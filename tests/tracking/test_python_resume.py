"""`velm.fit` stops cleanly on Ctrl-C and continues a run, with the losses of a run without a break."""

import json
import os
import signal

import pytest
import torch
from helpers import python_runs
from lightning.pytorch.callbacks import Callback

import velm_lightning as velm

pytestmark = pytest.mark.slow


class Press(Callback):
    """Sends this process Ctrl-C, as often as asked, at the start of a batch."""

    def __init__(self, step, times=1):
        self.step, self.times = step, times

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            self.step = None
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGINT)


def trained(folder, epochs=2, **arguments):
    torch.manual_seed(0)
    data = python_runs.data(batch_size=16)  # 4 steps per epoch
    given = {"runs": folder, "max_epochs": epochs, "log_every_n_steps": 1, "pictures": 0} | python_runs.SILENT
    return python_runs.quietly(velm.fit, python_runs.model(data), data, **given | arguments)


def interrupted(folder, step=5, times=1):
    """The folder of a run that Ctrl-C has stopped, and the words for the user."""
    with pytest.raises(KeyboardInterrupt) as stopped:
        trained(folder, callbacks=[Press(step, times)])
    (record,) = folder.glob("*/*/run.json")
    return record.parent, str(stopped.value)


def losses(folder):
    return [line.split(",")[:2] for line in (folder / "metrics.csv").read_text().splitlines()[1:]]


def status(folder):
    return json.loads((folder / "run.json").read_text())["status"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("name", ["auto", "latest", "folder", "checkpoint"])
def test_a_stopped_run_continues_with_the_same_losses(tmp_path, whole, name):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    folder, words = interrupted(tmp_path)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert status(folder) == "interrupted"
    assert words == f"velm.fit(…, resume={str(folder)!r}) continues the run"
    last = folder / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=False)["global_step"] == 6, "the step that was running is complete"
    run = trained(tmp_path, resume={"folder": folder, "checkpoint": str(last)}.get(name, name))
    assert (run.folder, status(folder)) == (folder, "finished")
    assert losses(folder) == losses(whole.folder)
    assert run.scores == whole.scores


def test_a_second_interrupt_stops_at_once_and_keeps_the_process(tmp_path):
    folder, _ = interrupted(tmp_path, step=6, times=2)
    assert status(folder) == "interrupted"
    last = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=False)
    assert last["global_step"] == 4, "that of the last epoch"


def test_auto_starts_a_run_if_no_unfinished_one_has_its_settings(tmp_path):
    folder, _ = interrupted(tmp_path)
    other = trained(tmp_path, epochs=1, resume="auto")
    assert other.folder != folder
    assert status(folder) == "interrupted"


def test_another_number_of_steps_needs_a_schedule(tmp_path):
    folder, _ = interrupted(tmp_path)
    with pytest.raises(velm.InputError, match="--resume_schedule=stretch"):
        trained(tmp_path, epochs=3, resume=folder)
    run = trained(tmp_path, epochs=3, resume=folder, resume_schedule="stretch")
    assert losses(run.folder)[-1][0] == "12"


def test_a_run_without_a_checkpoint_cannot_be_resumed(tmp_path):
    (tmp_path / "python" / "empty").mkdir(parents=True)
    (tmp_path / "python" / "empty" / "run.json").write_text('{"status": "failed"}')
    with pytest.raises(velm.InputError, match="empty has no checkpoint to resume from"):
        trained(tmp_path, resume="latest")
