"""``velm runs`` lists the runs, and removes unfinished ones after a confirmation."""

import json
import os

import pytest

from velm_lightning.cli.commands import main
from velm_lightning.cli.runs import age
from velm_lightning.errors import InputError
from velm_lightning.tracking.run import Run

RECORDS = {
    "vqa/good-1": {"status": "finished", "scores": {"val": {"score": 0.5}, "test": {"score": 0.25}}},
    "vqa/lost-2": {"status": "running"},
    "cap/bad-3": {"status": "failed", "scores": {"val": {"score": 0.125}}},
}


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, record in RECORDS.items():
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "run.json").write_text(json.dumps(record))
    return tmp_path / "runs"


def test_every_run_is_listed_with_status_score_and_age(runs, capsys):
    assert main(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "runs/cap/"
    assert lines[1].split() == ["bad-3", "failed", "val", "0.1250", "0", "s"]
    assert sorted(line.split()[:4] for line in lines[3:]) == [
        ["good-1", "finished", "test", "0.2500"],
        ["lost-2", "died", "0", "s"],
    ]
    assert max(map(len, lines)) <= 80
    assert main(["runs", "cap"]) == 0
    assert "good" not in capsys.readouterr().out


def test_a_run_that_a_process_uses_is_running_and_never_removed(runs, capsys):
    run = Run(runs / "vqa" / "lost-2")
    assert run.claim()
    assert main(["runs", "vqa"]) == 0
    assert "running" in capsys.readouterr().out
    assert main(["runs", "--prune", "--yes"]) == 0
    run.release()
    assert sorted(path.name for path in runs.glob("*/*")) == ["good-1", "lost-2"]


def test_unfinished_runs_are_removed_only_after_a_confirmation(runs, capsys, monkeypatch):
    assert main(["runs", "--prune"]) == 2
    assert "2 runs would be removed: add --yes to confirm" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert main(["runs", "--prune"]) == 0
    assert len(list(runs.glob("*/*"))) == 3
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert main(["runs", "--prune"]) == 0
    assert [path.name for path in runs.glob("*/*")] == ["good-1"]


def test_an_age_is_given_in_its_largest_unit():
    assert [age(seconds) for seconds in (5, 200, 7300, 200000)] == ["5 s", "3 min", "2 h", "2 d"]


def test_a_record_that_is_larger_than_memory_is_unknown(runs, capsys):
    path = runs / "vqa" / "good-1" / "run.json"
    os.truncate(path, 2**43)  # it has a hole, and takes no space
    assert main(["runs", "vqa"]) == 0
    assert "unknown" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"run\.json has 8,796,093,022,208 bytes"):
        _ = Run(path.parent).record
