"""The example that fits the score to the depth at which image and text meet."""

import json
import runpy
import sys

import pytest
from helpers.command_line import ROOT

SCRIPT = ROOT / "examples" / "depth_trend.py"


def write(folder, kind, depth, seed, score, status="finished"):
    run = folder / f"{kind}-{depth}-{seed}"
    run.mkdir()
    content = {"status": status, "seed": seed, "meeting": {"kind": kind, "depth": depth}}
    (run / "run.json").write_text(json.dumps(content | {"scores": {"test": {"score": score}}}))


@pytest.fixture
def folder(tmp_path):
    for seed, offset in enumerate((0.0, 0.01, 0.02)):
        for layer in (0, 1, 2, 3):
            write(tmp_path, "joined", layer / 4, seed, 0.9 + offset - 0.05 * layer)
            write(tmp_path, "cross", layer / 4, seed, 0.9 - offset * layer)
    write(tmp_path, "joined", 1.0, 0, 0.2)  # on top of the trunk
    write(tmp_path, "cross", 0.6, 0, 0.1)  # without the other seeds
    write(tmp_path, "cross", 0.25, 7, 0.1, status="failed")
    (tmp_path / "control").mkdir()
    (tmp_path / "control" / "run.json").write_text('{"status": "finished", "meeting": null}')
    return tmp_path


def test_slopes_are_of_whole_rows_inside_the_trunk(folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(folder), "--layers", "4"])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    assert sorted(capsys.readouterr().out.splitlines()) == [
        "cross minus joined: +4.0 ± 2.5 points per layer (3 seeds)",
        "cross: -1.0 ± 2.5 points per layer (3 seeds)",
        "joined: -5.0 ± 0.0 points per layer (3 seeds)",
    ]
