"""A sweep file from elsewhere runs no program, and allows no code by itself."""

import subprocess

import pytest
import yaml

from velm_lightning.cli.commands import main
from velm_lightning.errors import InputError
from velm_lightning.sweep.program import check_program
from velm_lightning.sweep.spec_file import read_spec

PARAMETERS = {"seed_everything": {"values": [0]}}


def sweep(folder, command, parameters=PARAMETERS, **more):
    path = folder / "theirs.yaml"
    path.write_text(yaml.safe_dump({"method": "grid", "parameters": parameters, "command": command, **more}))
    return path


@pytest.mark.parametrize(
    "command",
    [
        ["sh", "-c", "touch mark"],
        ["${interpreter}", "-c", "open('mark', 'w')"],
        ["${env}", "${interpreter}", "${program}", "${args}"],
        ["${program}"],
        ["velm", "allow", "harmful"],
        ["velm"],
        [],
    ],
)
def test_other_programs_are_refused(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    path = sweep(tmp_path, command, program="theirs.py")
    assert main(["sweep", str(path), "--engine", "optuna"]) == 2
    assert "instead of `velm fit`, and nothing was run: if you trust it, run `velm sweep" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["theirs.yaml"]


@pytest.mark.parametrize(
    ("command", "parameters"),
    [
        (["velm", "fit", "--allow", "harmful"], PARAMETERS),
        (["velm", "fit", "--allow-network"], PARAMETERS),
        (["velm", "fit", "${args}"], {"allow": {"values": ["harmful"]}}),
        (["velm", "fit", "${args_no_hyphens}"], {"--allow": {"values": ["harmful"]}}),
    ],
)
def test_a_sweep_file_allows_nothing(tmp_path, command, parameters):
    with pytest.raises(InputError, match="--allow.* has no effect in a sweep file: remove it"):
        check_program(read_spec(sweep(tmp_path, command, parameters)))


@pytest.mark.parametrize(
    "command", [["velm", "fit", "${args}"], ["${interpreter}", "-m", "velm_lightning", "fit", "${args}"]]
)
def test_trainings_need_no_word(tmp_path, command):
    check_program(read_spec(sweep(tmp_path, command)))


def test_a_program_is_allowed_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("VELM_ALLOW", "theirs.py")
    check_program(read_spec(sweep(tmp_path, ["${interpreter}", "theirs.py"])))


def test_an_alias_bomb_is_refused(tmp_path, capsys):
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join([f'*{chr(ord(name) - 1)}'] * 10)}]\n" for name in "bcdefgh"
    )
    (tmp_path / "bomb.yaml").write_text(bomb)
    assert main(["sweep", str(tmp_path / "bomb.yaml")]) == 2
    assert "bomb.yaml:5: holds more than 100,000 values" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "more"),
    [
        (["velm", "fit", "${program}", "${args}"], {"program": "--allow=harmful"}),
        (["${interpreter}", "-m", "velm_lightning", "fit", "${program}"], {"program": "--allow-network"}),
        (["velm", "fit", "${args}"], {"tune": {"allow": {"values": ["harmful"]}}}),
        (["velm", "fit", "${args_no_hyphens}"], {"tune": {"--allow-network": {"values": [1]}}}),
    ],
)
def test_macros_and_tuned_settings_allow_nothing(tmp_path, command, more):
    with pytest.raises(InputError, match="--allow.* has no effect in a sweep file: remove it"):
        check_program(read_spec(sweep(tmp_path, command, **more)))


@pytest.mark.parametrize("command", [["velm", "fit"], ["${interpreter}", "-m", "velm_lightning", "fit"]])
def test_no_file_in_the_working_directory_hides_a_library(tmp_path, command):
    """The process of a trial imports nothing of a stranger's folder, also before the package is imported."""
    for name in ("pkgutil.py", "runpy.py", "json.py", "velm_lightning/__init__.py", "velm_lightning/__main__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"open({str(tmp_path / 'mark')!r}, 'w')\n")
    words = read_spec(sweep(tmp_path, command)).words({}, tmp_path / "args.json")
    done = subprocess.run([*words[:-1], "--version"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith("velm_lightning ")
    assert not (tmp_path / "mark").exists()
