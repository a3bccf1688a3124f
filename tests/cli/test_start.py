"""Help, versions and refusals come before anything heavy is imported."""

import inspect
import subprocess
import sys
from contextlib import suppress

import pytest
from PIL import Image

from velm_lightning.bench.options import OPTIONS
from velm_lightning.cli.commands import COMMANDS, main
from velm_lightning.cli.start.screens import SCREENS
from velm_lightning.training import Optimization

HEAVY = ("torch", "lightning", "transformers", "torchvision", "wandb", "matplotlib", "pandas")
GUARD = """
import builtins, sys
real = builtins.__import__
def guarded(name, *rest, **named):
    if name.split(".")[0] in HEAVY:
        raise AssertionError(f"{name} is imported")
    return real(name, *rest, **named)
builtins.__import__ = guarded
from velm_lightning.cli.commands import main
for words in LINES:
    try:
        code = main(words)
    except SystemExit as stop:
        code = stop.code
    print("exit", code, *words)
"""
LINES = [
    ["--help"],
    ["--version"],
    *([name, "--help"] for name in COMMANDS),
    *(["bench", name, "--help"] for name in OPTIONS),
    ["fitt"],
    ["fit", "conf/vqa.yml"],
    ["fit", "--config", "nowhere.yaml"],
    ["test", "nowhere.ckpt"],
    ["ask", "latest", "--random"],
    ["verify", "nowhere"],
    ["probe", "nowhere"],
    ["predict", "nowhere"],
    ["runs"],
    ["features", "nowhere.yaml"],
    ["data", "check", "nowhere.yaml"],
    ["score", "nowhere.json"],
    ["init", "data.csv"],
]


def test_help_refusals_and_init_import_nothing_heavy(tmp_path):
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    (tmp_path / "data.csv").write_text("image,label\na.png,red\na.png,blue\na.png,red\n")
    script = f"HEAVY, LINES = {HEAVY!r}, {LINES!r}\n{GUARD}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    codes = {line.partition(" ")[2] for line in done.stdout.splitlines() if line.startswith("exit ")}
    good = {f"0 {' '.join(words)}" for words in LINES if words[-1] in ("--help", "--version", "runs", "data.csv")}
    assert {code for code in codes if code.startswith("0 ")} == good
    assert len(codes) == len(LINES)
    assert all(code.startswith(("0 ", "2 ")) for code in codes)


def test_every_trainer_command_has_one_screen(capsys):
    for name, screen in SCREENS.items():
        assert main([name, "--help"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) <= 45
        assert max(map(len, lines)) <= 80
        assert len(screen.examples) == 3
    assert len(SCREENS["fit"].options) >= 20


@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS), *(["bench", name] for name in OPTIONS)])
def test_help_reads_at_80_columns(capsys, monkeypatch, words):
    monkeypatch.setenv("COLUMNS", "80")
    with suppress(SystemExit):  # of argparse
        main([*words, "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert [line for line in lines if len(line) > 80] == []


def test_the_defaults_of_the_screens_are_the_parsers(monkeypatch):
    from helpers.command_line import CONF, prepared

    optimization = inspect.signature(Optimization).parameters
    for name, screen in SCREENS.items():
        parser = prepared(monkeypatch, name, "--config", CONF / "vqa.yaml", build=False)._parser(name)
        for key, default, _ in screen.options:
            _, _, rest = key.partition(".init_args.")
            if rest:  # of a class, which has no default of its own in the parser
                value = optimization[rest.rpartition(".")[2]].default
            elif key == "data":
                continue
            else:
                value = parser.get_default(key) if key != "model" else None
            assert value == default, f"velm {name} --help: {key} is {value!r}, not {default!r}"


def test_the_version_is_that_of_the_package(capsys):
    from importlib.metadata import version

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"velm_lightning {version('velm_lightning')}\n"


def test_a_closed_pipe_ends_a_command_without_a_traceback():
    script = "from velm_lightning.cli.commands import main\nimport sys\nsys.exit(main(['configs']))"
    shell = f'"{sys.executable}" -c "{script}" | true; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 141)  # 0 if it was written before the pipe was closed
    assert done.stderr == ""


@pytest.mark.parametrize(("word", "meant"), [("fitt", "fit"), ("cmpare", "compare"), ("verfy", "verify")])
def test_a_misspelt_command_is_named_with_the_right_one(capsys, word, meant):
    assert main([word]) == 2
    assert f"there is no command {word!r}; did you mean {meant!r}?" in capsys.readouterr().err
