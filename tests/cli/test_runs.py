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


def test_a_running_run_of_another_version_is_never_removed(runs, capsys):
    """Its record may have fields of other types."""
    run = Run(runs / "vqa" / "lost-2")
    assert run.claim()
    (run.folder / "run.json").write_text('{"status": "running", "groups": []}')
    assert main(["runs", "--prune", "--yes"]) == 0
    run.release()
    assert run.folder.is_dir()
    assert "removed 1 run\n" in capsys.readouterr().out


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


def test_runs_that_links_lead_to_are_never_removed(runs, tmp_path, capsys):
    """Neither through a link to a run, nor through a link to an experiment; the folder of all runs may be a link."""
    for name in ("precious/run", "other/bad"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "run.json").write_text(json.dumps(RECORDS["cap/bad-3"]))
    (runs / "vqa" / "link").symlink_to(tmp_path / "precious" / "run")
    (runs / "linked").symlink_to(tmp_path / "other")
    (tmp_path / "all").symlink_to(runs)
    assert main(["runs", "--runs", "all", "--prune", "--yes"]) == 0
    out = capsys.readouterr().out
    assert "kept all/linked/bad: it is elsewhere, reached by a link" in out
    assert "kept all/vqa/link: it is elsewhere, reached by a link" in out
    assert "removed 2 runs" in out
    assert (tmp_path / "precious" / "run" / "run.json").is_file()
    assert (tmp_path / "other" / "bad" / "run.json").is_file()


@pytest.mark.parametrize("content", ['{"status": "fin', "[]", '{"scores": {}}', '{"status": ["failed"]}'])
def test_a_run_whose_record_does_not_say_how_it_ended_is_kept(runs, capsys, content):
    (runs / "vqa" / "good-1" / "run.json").write_text(content)
    assert main(["runs", "vqa", "--prune", "--yes"]) == 0
    assert "kept runs/vqa/good-1: its run.json does not say how the run ended" in capsys.readouterr().out
    assert (runs / "vqa" / "good-1").is_dir()


def test_a_run_that_cannot_be_removed_is_named(runs, capsys, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", str(folder / "checkpoints"))

    monkeypatch.setattr("velm_lightning.cli.runs.shutil.rmtree", refuse)
    assert main(["runs", "cap", "--prune", "--yes"]) == 2
    assert "runs/cap/bad-3 cannot be removed (Permission denied: runs/cap/bad-3/check" in capsys.readouterr().err


def test_a_run_that_was_resumed_meanwhile_is_not_counted(runs, capsys, monkeypatch):
    monkeypatch.setattr("velm_lightning.cli.runs.in_use", lambda folder: folder.name == "bad-3")
    assert main(["runs", "--prune", "--yes"]) == 0
    assert "removed 1 run\n" in capsys.readouterr().out


def test_a_run_is_one_line_whatever_its_name_and_status(runs, capsys):
    (runs / "vqa" / "good-1").rename(runs / "vqa" / "a\x1b[2J\nforged-1  finished")
    (runs / "vqa" / "lost-2" / "run.json").write_text('{"status": "failed\\nforged-2  finished"}')
    assert main(["runs", "vqa"]) == 0
    assert main(["runs", "vqa", "--prune", "--yes"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert [line for line in out.splitlines() if line.strip().startswith("forged")] == []


def test_an_age_is_given_in_its_largest_unit():
    assert [age(seconds) for seconds in (5, 200, 7300, 200000)] == ["5 s", "3 min", "2 h", "2 d"]


def test_a_record_that_is_larger_than_memory_is_unknown(runs, capsys):
    path = runs / "vqa" / "good-1" / "run.json"
    os.truncate(path, 2**43)  # it has a hole, and takes no space
    assert main(["runs", "vqa"]) == 0
    assert "unknown" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"run\.json has 8,796,093,022,208 bytes"):
        _ = Run(path.parent).record
