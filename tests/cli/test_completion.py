"""The shell completes commands, options, experiments, runs, fusions and files."""

import io
import os
import subprocess
import sys

import pytest

from velm_lightning.bench.options import OPTIONS
from velm_lightning.cli.commands import COMMANDS, main
from velm_lightning.cli.start.completion import complete
from velm_lightning.fusion import Fusion


@pytest.fixture
def completed(tmp_path, monkeypatch):
    """A function that returns the completions of a command line whose cursor is at its end."""
    monkeypatch.chdir(tmp_path)
    for experiment, name in (("vqa", "late-s0-1a2b3c"), ("vqa", "early-s0-4d5e6f")):
        (tmp_path / "runs" / experiment / name).mkdir(parents=True)
        (tmp_path / "runs" / experiment / name / "run.json").write_text("{}")
    (tmp_path / "mine.yaml").touch()

    def of(line):
        for name, value in {"": "1", "_IFS": "\n", "_SUPPRESS_SPACE": "1", "_SHELL": "bash"}.items():
            monkeypatch.setenv(f"_ARGCOMPLETE{name}", value)
        monkeypatch.setenv("COMP_LINE", line)
        monkeypatch.setenv("COMP_POINT", str(len(line)))
        output = io.StringIO()

        def leave(code):
            raise SystemExit(code)

        def closed(*_):
            raise OSError

        monkeypatch.setattr(os, "fdopen", closed)  # argcomplete would take descriptor 9, which may be pytest's
        with pytest.raises(SystemExit):
            complete(COMMANDS, line, exit_method=leave, output_stream=output)
        return set(output.getvalue().split("\n"))

    return of


def test_commands_are_completed(completed):
    assert completed("velm co") == {"configs", "compare", "completion"}
    assert completed("velm ") >= set(COMMANDS)


def test_a_config_is_an_experiment_or_a_file(completed):
    assert completed("velm fit vq") == {"vqa"}
    assert completed("velm fit mi") == {"mine.yaml"}
    assert {"vqa", "mine.yaml"} <= completed("velm fit --config ")


@pytest.mark.parametrize("command", ["ask", "test", "predict", "verify", "probe", "compare", "search"])
def test_a_run_is_latest_an_id_or_a_file(completed, command):
    assert {"latest", "late-s0-1a2b3c", "early-s0-4d5e6f", "runs/"} <= completed(f"velm {command} ")
    assert completed(f"velm {command} late-") == {"late-s0-1a2b3c"}


def test_options_and_their_values_are_completed(completed):
    assert completed("velm fit vqa --trainer.max_e") == {"--trainer.max_epochs"}
    assert completed("velm fit vqa --test_after_fit ") == {"true", "false"}
    assert completed("velm predict latest --im") == {"--images"}
    assert completed("velm sweep sweeps/vqa_d") == {"sweeps/vqa_depth.yaml"}
    assert completed("velm sweep x.yaml --engine ") == {"auto", "optuna", "wandb"}
    assert completed("velm bench st") == {"start", "step", "statistics"}
    assert completed("velm bench step --tu") == {"--turns"}
    assert completed("velm configs copy vq") == {"vqa"}


def test_fusions_are_completed_by_their_classes(completed):
    names = completed("velm fit vqa --model ")
    assert {"LateFusion", "EarlyFusion", "InteractiveFusion", "TextOnly"} <= names
    import velm_lightning

    assert all(issubclass(getattr(velm_lightning, name), Fusion) for name in names)


@pytest.mark.parametrize("command", [*COMMANDS, *(f"bench {name}" for name in OPTIONS)])
def test_every_command_is_completed(completed, command):
    assert any(word.startswith("--") for word in completed(f"velm {command} --"))


def test_bash_completes_by_the_printed_script_without_torch(tmp_path):
    for name in ("torch", "lightning", "transformers"):
        (tmp_path / f"{name}.py").write_text("raise AssertionError")
    (tmp_path / "velm").write_text(f'#!/bin/sh\nexec {sys.executable} -m velm_lightning "$@"\n')
    (tmp_path / "velm").chmod(0o755)
    script = (
        'eval "$(velm completion bash)"; COMP_LINE="velm fit vq"; COMP_POINT=${#COMP_LINE}; '
        'COMP_TYPE=9; COMP_WORDS=(velm fit vq); COMP_CWORD=2; _python_argcomplete velm; echo "${COMPREPLY[@]}"'
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": path}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["vqa"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_every_shell(shell, capsys):
    assert main(["completion", shell]) == 0
    assert "velm" in capsys.readouterr().out
