"""README and docs: the Python of the quick start runs, and every command and file that they name exists."""

import ast
import json
import re
import shlex
from pathlib import Path

import pytest
from helpers.command_line import prepared
from PIL import Image

import velm_lightning as velm
from velm_lightning.bench import result
from velm_lightning.cli.commands import COMMANDS
from velm_lightning.cli.start.completion import declared
from velm_lightning.cli.start.words import FIT_COMMANDS, complete
from velm_lightning.errors import InputError

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page, language):
    """The code blocks of a language, without those that are included from files."""
    found = re.findall(rf"```{language}[^\n]*\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    return [block for block in found if "--8<--" not in block]


def commands():
    """Every line of a shell block that starts velm, as words."""
    for page in PAGES:
        for block in blocks(page, "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                while words and ("=" in words[0] or words[0] == "&&"):
                    words = words[1:]
                if words and words[0] in ("velm", "LightningCLI"):
                    yield pytest.param(words[1:], id=f"{page.name}: {' '.join(words)[:40]}")


@pytest.mark.parametrize("words", list(commands()))
def test_commands_and_configs_exist(words):
    assert words[0] in COMMANDS
    for word in words[1:]:
        if re.fullmatch(r"(conf|sweeps)/[\w/]+\.yaml", word):
            assert (ROOT / word).is_file(), word


@pytest.mark.parametrize("words", list(commands()))
def test_the_parser_accepts_every_command(words, monkeypatch):
    monkeypatch.chdir(ROOT)
    command, *rest = [word for word in words if word != "…"]
    if command not in FIT_COMMANDS:
        declared(command, COMMANDS[command][0], rest).parse_known_args(rest)
        return
    try:
        completed = complete([command, *rest])
    except InputError as error:  # it names a file or a run that a user has
        if not re.search("no such file|holds no runs|no run, folder|no config file", str(error)):
            raise
        return
    prepared(monkeypatch, *completed, build=False)


def rows():
    """The example rows of JSON lines in the docs and in conf/data/custom.yaml."""
    block, *_ = blocks(ROOT / "docs" / "data.md", "json")
    (comment,) = re.findall(r"\{.*\}", (ROOT / "conf" / "data" / "custom.yaml").read_text("utf-8"))
    return [json.loads(line) for line in [*block.splitlines(), comment]]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["image"] + (" target" if "target" in row else ""))
def test_an_example_row_passes_the_check_of_data(row, here, tmp_path, capsys):
    lines = []
    for number in range(4):  # other images, for an image may be in one split only
        Image.new("RGB", (16, 16), (60 * number, 0, 0)).save(tmp_path / f"{number}.jpg")
        lines.append(json.dumps(row | {"image": f"{number}.jpg"}) + "\n")
    (tmp_path / "train.jsonl").write_text("".join(lines[:3]))
    (tmp_path / "val.jsonl").write_text(lines[3])
    files = "{train: train.jsonl, val: val.jsonl, images: .}"
    (tmp_path / "data.yaml").write_text(f"dataset:\n  class_path: JSONLines\n  init_args: {files}\n")
    assert here("data", "check", "data.yaml") == 0
    assert "no problems" in capsys.readouterr().out


@pytest.mark.slow
def test_the_quick_start_in_python_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (block,) = blocks(ROOT / "docs" / "quickstart.md", "python")
    exec(compile(block, "quickstart.md", "exec"), {})
    assert "LateFusion" in capsys.readouterr().out


@pytest.mark.slow
def test_the_python_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    """On fewer images, with a photo next to it."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 48), "red").save("a.png")
    (block,) = blocks(ROOT / "README.md", "python")
    block = block.replace("ShapeScenes(size=48)", "ShapeScenes(size=48, train=10, val=4, test=4)")
    assert "train=10" in block
    names = {}
    exec(compile(block, "README.md", "exec"), names)
    assert names["run"].best.is_file()
    assert "'score'" in capsys.readouterr().out


def test_the_readme_uses_public_names():
    (block,) = blocks(ROOT / "README.md", "python")
    used = {
        node.attr for node in ast.walk(ast.parse(block)) if getattr(getattr(node, "value", None), "id", "") == "velm"
    }
    assert len(used) >= 7
    assert used <= set(velm.__all__)


def test_the_readme_has_at_most_900_words():
    assert len((ROOT / "README.md").read_text("utf-8").split()) <= 900


@pytest.mark.parametrize("file", sorted((ROOT / "docs" / "figures").glob("*.json")), ids=lambda file: file.stem)
def test_figures_of_benchmarks_are_those_of_their_json(file):
    assert file.with_suffix(".md").read_text("utf-8") == result.page(json.loads(file.read_text("utf-8")))
    assert f'--8<-- "docs/figures/{file.stem}.md"' in (ROOT / "docs" / "performance.md").read_text("utf-8")
