"""Settings that change when a run resumes take effect or are refused with numbers; none is reset silently."""

import csv
import math
import shutil
from itertools import pairwise

import pytest
import torch
import yaml
from helpers.project import FIT, Project

from velm_lightning.training import Cosine

RATE = "--model.init_args.optimization.init_args.learning_rate"


class Unfinished(Project):
    """A run of four epochs with two steps each that failed within the third; restored for every test."""

    def rates(self):
        """The learning rate of each step; the logged rate is that of the next step."""
        with (self.run / "metrics.csv").open(newline="") as file:
            found = {int(row["step"]) + 1: row["train/learning_rate"] for row in csv.DictReader(file)}
        return {step: float(rate) for step, rate in found.items() if rate}

    def go_on(self, *words):
        return self.here("fit", *self.config, "--trainer.callbacks=null", "--allow=helpers", "--ckpt_path=last", *words)


@pytest.fixture(scope="module")
def broken(tmp_path_factory, here_in):
    made = Unfinished(tmp_path_factory.mktemp("broken"), here_in)
    words = ["--trainer.max_epochs=4", "--trainer.log_every_n_steps=1", "--model.optimization=Optimization"]
    fault = ["--trainer.callbacks+=helpers.faults.Crash", "--trainer.callbacks.step=5", "--save_every_n_steps=1"]
    with pytest.raises(ArithmeticError):
        made.here(*FIT, *words, *fault)
    return made.folder


@pytest.fixture
def left(broken, tmp_path, here_in):
    shutil.copytree(broken, tmp_path / "copy")
    made = Unfinished.__new__(Unfinished)
    made.folder, made.here = tmp_path / "copy", lambda *words: here_in(tmp_path / "copy", *words)
    return made


def peak(step, steps=8, rate=1e-3):
    return rate * Cosine().plan(steps)(step)


def test_a_changed_rate_and_decay_take_effect_and_are_printed(left, capsys):
    words = [f"{RATE}=0.01", "--model.init_args.optimization.init_args.weight_decay=0.5"]
    before = left.rates()
    assert left.go_on(*words) == 0
    rates = left.rates()
    assert [rates[step] for step in range(1, 5)] == [before[step] for step in range(1, 5)]
    assert rates[6] == pytest.approx(peak(6, rate=0.01))
    state = torch.load(left.run / "checkpoints" / "last.ckpt", weights_only=True)["optimizer_states"][0]
    assert {group["weight_decay"] for group in state["param_groups"]} == {0.5, 0.0}
    told = capsys.readouterr().out
    assert "learning_rate was 0.001, is 0.01" in told
    starts = left.record["starts"]
    assert [start["step"] for start in starts] == [0, 5]
    assert starts[0]["changed"] == []
    assert any("weight_decay was 0.05, is 0.5" in one for one in starts[1]["changed"])
    assert "learning_rate: 0.01" in (left.run / "config.yaml").read_text()


def test_another_length_is_refused_with_numbers(left, capsys):
    record, config = left.record, (left.run / "config.yaml").read_text()
    assert left.go_on("--trainer.max_epochs=8") == 2
    told = capsys.readouterr().err
    assert (
        "was Cosine(warmup_ratio=0.05) over 8 steps, 1 of them warm-up, now Cosine(warmup_ratio=0.05) over 16" in told
    )
    assert f"from {peak(5):.3g} to {peak(5, 16):.3g} at step 5, --resume_schedule=continue" in told
    assert (left.record, (left.run / "config.yaml").read_text()) == (record, config)


def test_a_stretched_schedule_follows_the_new_length(left):
    assert left.go_on("--trainer.max_epochs=8", "--resume_schedule=stretch") == 0
    rates = left.rates()
    assert {step: rates[step] for step in (6, 10, 15)} == pytest.approx({s: peak(s, 16) for s in (6, 10, 15)})
    assert any("learning rate was" in one for one in left.record["starts"][-1]["changed"])
    assert "resume_schedule: null" in (left.run / "config.yaml").read_text()


def test_a_continued_schedule_has_no_jump_and_resumes_again(left):
    with pytest.raises(ArithmeticError):
        left.go_on(
            *("--trainer.max_epochs=8", "--resume_schedule=continue"),
            *("--trainer.callbacks+=helpers.faults.Crash", "--trainer.callbacks.step=9"),
        )
    assert left.go_on() == 0, "unchanged settings need no choice"
    rates = left.rates()
    expected = {step: peak(5) * 0.5 * (1 + math.cos(math.pi * (step - 5) / 11)) for step in (6, 10, 16)}
    assert {step: rates[step] for step in expected} == pytest.approx(expected)


def test_another_class_of_schedule_is_refused_or_continues(left, capsys):
    schedule = "--model.init_args.optimization.schedule=LinearDecay"
    assert left.go_on(schedule) == 2
    assert "was Cosine(warmup_ratio=0.05) over 8 steps" in (told := capsys.readouterr().err)
    assert "now LinearDecay(warmup_ratio=0.05) over 8 steps" in told
    assert left.go_on(schedule, "--resume_schedule=continue") == 0
    assert left.rates()[7] == pytest.approx(peak(5) / 3)


def test_a_schedule_that_has_ended_cannot_be_continued(left, capsys):
    assert left.go_on() == 0
    record = left.record
    assert left.go_on("--trainer.max_epochs=8", "--resume_schedule=continue") == 2
    assert "the schedule has ended at step 8 with a learning rate of 0" in capsys.readouterr().err
    assert left.record == record


def test_a_renamed_run_keeps_its_best_checkpoint(left):
    last, best = (left.run / "checkpoints" / f"{name}.ckpt" for name in ("last", "best"))
    content = torch.load(last, weights_only=True)
    (state,) = (one for one in content["callbacks"].values() if "best_k_models" in one)
    state["best_model_score"] = torch.tensor(2.0)
    state["kth_value"] = torch.tensor(2.0)
    state["best_k_models"] = dict.fromkeys(state["best_k_models"], torch.tensor(2.0))
    torch.save(content, last)
    kept = best.read_bytes()
    left.run.rename(left.run.with_name("renamed"))
    assert left.go_on() == 0
    assert (left.run / "checkpoints" / "best.ckpt").read_bytes() == kept
    assert left.record["status"] == "finished"


def test_a_changed_patience_takes_effect(left):
    assert left.go_on("--early_stopping.patience=77") == 0
    state = torch.load(left.run / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]
    assert [one["patience"] for one in state.values() if "patience" in one] == [77]


def test_settings_of_the_first_start_keep_their_values(left, capsys):
    source = left.run / "checkpoints" / "best.ckpt"
    assert left.go_on(f"--model.init_from={source}", "--tracking.experiment=other") == 0
    told = capsys.readouterr().out
    assert f"model.init_args.init_from was None, is {source} (without effect)" in told
    config = yaml.safe_load((left.run / "config.yaml").read_text())
    assert config["model"]["init_args"]["init_from"] is None
    assert config["tracking"]["experiment"] == "vqa"


def test_unchanged_settings_are_not_reported(left, capsys):
    assert left.go_on() == 0
    (told,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("changed since the last start"))
    (changed,) = left.record["starts"][-1]["changed"]
    assert changed.startswith("trainer.callbacks was")
    assert told.endswith(changed)


# The schedule


@pytest.mark.parametrize("step", [0, 1, 4, 30, 99])
@pytest.mark.parametrize("steps", [40, 100, 400])
def test_a_continued_schedule_meets_the_old_and_ends_at_0(step, steps):
    old, planned = Cosine().plan(100), Cosine(warmup_ratio=0.5).plan(steps)
    new = old.continued(step, planned)
    assert new(step) == old(step)
    assert all(a >= b for a, b in pairwise(map(new, range(max(step, 5), steps))))
    assert new(max(steps, step)) == pytest.approx(0, abs=1e-12) or step > steps
    assert new.plan == planned.plan


def test_a_checkpoint_restores_its_schedule():
    def scheduler(steps):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
        return torch.optim.lr_scheduler.LambdaLR(optimizer, Cosine().plan(steps))

    short, long = scheduler(10), scheduler(1000)
    long.load_state_dict(short.state_dict())
    assert long.lr_lambdas[0](5) == short.lr_lambdas[0](5) != Cosine().plan(1000)(5)
