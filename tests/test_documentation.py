"""README and docs: the Python of the quick start runs, and every command and file that they name exists."""

import ast
import json
import re
import shlex
from pathlib import Path

import pytest

import velm_lightning as velm
from velm_lightning.bench import result
from velm_lightning.cli.commands import COMMANDS

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


@pytest.mark.slow
def test_the_quick_start_in_python_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (block,) = blocks(ROOT / "docs" / "quickstart.md", "python")
    exec(compile(block, "quickstart.md", "exec"), {})
    assert "LateFusion" in capsys.readouterr().out


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
