"""README and docs: the Python of the quick start runs, and every command and file that they name exists."""

import ast
import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from helpers.command_line import prepared
from PIL import Image

import velm_lightning as velm
from velm_lightning.bench import result
from velm_lightning.cli.commands import COMMANDS
from velm_lightning.cli.start.completion import declared
from velm_lightning.cli.start.words import FIT_COMMANDS, complete
from velm_lightning.errors import InputError
from velm_lightning.sweep.spec_file import read_spec

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
SHELL = {  # the other commands of the pages, and what runs them
    r"pip install \.": ".ci/run",
    r'pip install (-e )?"\.\[dev\]"': ".ci/run",
    r"pip install torch torchvision --index-url \S+": "by hand: the index is not reachable from CI",
    r"python -m venv \S+|\. \.venv/bin/activate": ".ci/run",
    r"pytest( -n 2| -m \w+| -o \S+)*|mkdocs build --strict|\.ci/run": ".ci/run",
    r"pytest test_my_fusion\.py": "tests/cli/test_new.py",
    r"pip install pytest": ".ci/run",
    r"pre-commit install": "by hand",
    r"cut -d, .*metrics\.csv": "by hand, with the rule of identical losses",
    r'eval "\$\(velm completion bash\)"': "tests/cli/test_completion.py",
    r"torchrun .* -m velm_lightning fit .*": "by hand: it needs two machines",
}
OTHERS = {  # blocks in other languages, and what runs or reads them
    ("README.md", "python"): "test_the_python_of_the_readme_runs",
    ("README.md", "text"): "a drawing",
    ("fusions.md", "text"): "a drawing",
    ("quickstart.md", "python"): "test_the_quick_start_in_python_runs",
    ("compare.md", "text"): "output of the command above it",
    ("compare.md", "yaml"): "test_yaml_of_the_docs_is_read",
    ("configs.md", "yaml"): "test_yaml_of_the_docs_is_read",
    ("data.md", "yaml"): "test_yaml_of_the_docs_is_read",
    ("data.md", "json"): "test_an_example_row_passes_the_check_of_data, test_conversations_of_the_docs_are_read",
}


def fenced(page):
    """The language and the text of every code block, without those that are included from files."""
    found = re.findall(r"^```([^\n]*)\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [(language.split()[0] if language else "bash", text) for language, text in found if "--8<--" not in text]


def blocks(page, language):
    """The code blocks of a language; a block without one holds commands."""
    return [text for named, text in fenced(page) if named == language]


def lines(page):
    """Every command of the shell blocks of a page."""
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            for command in re.sub(r"\s+#.*|^#.*", "", line).split(" && "):
                if words := command.strip().removeprefix("time "):
                    yield re.sub(r"^([A-Z_]+=\S* )+", "", words)


def commands():
    """Every command that starts velm, as words."""
    for page in PAGES:
        for line in lines(page):
            words = shlex.split(line)
            if words[0] in ("velm", "LightningCLI"):
                yield pytest.param(words[1:], id=f"{page.name}: {' '.join(words)[:40]}")


def test_every_block_of_the_pages_is_run_by_something():
    """A new kind of command or block gets a line above, with what runs it."""
    for page in PAGES:
        for line in lines(page):
            known = line.startswith(("velm ", "LightningCLI ")) or any(re.fullmatch(each, line) for each in SHELL)
            assert known, f"{page.name}: {line}"
        others = {(page.name, language) for language, _ in fenced(page)} - {(page.name, "bash")}
        assert others <= set(OTHERS)
        included = re.findall(r"^--8.*", page.read_text("utf-8"), re.MULTILINE)
        files = [re.fullmatch(r'--8<-- "([^"]+)"', line) for line in included]
        assert all(file and (ROOT / file[1]).is_file() for file in files), (page.name, included)
    for place in (word for text in SHELL.values() for word in re.findall(r"tests/\S+\.py|\.ci/run", text)):
        assert (ROOT / place).is_file(), place
    source = Path(__file__).read_text("utf-8")
    tests = [name for text in OTHERS.values() for name in re.findall(r"test_\w+", text)]
    assert [name for name in tests if f"def {name}(" not in source] == []


@pytest.mark.parametrize("words", list(commands()))
def test_commands_and_configs_exist(words):
    assert words[0] in COMMANDS
    for word in words[1:]:
        if re.fullmatch(r"(conf|sweeps)/[\w/]+\.yaml", word):
            assert (ROOT / word).is_file(), word


@pytest.mark.parametrize("words", list(commands()))
def test_the_parser_accepts_every_command(words, monkeypatch, tmp_path):
    """In a folder without runs, whatever the repository holds."""
    for folder in ("conf", "sweeps"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
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


def overlay(text):
    """Return the config that a block of YAML is a part of."""
    part = yaml.safe_load(text)
    if "dataset" in part:
        part = {"data": part}
    if "image_encoder" in part:
        part = {"model": {"init_args": part}}
    return part


@pytest.mark.parametrize(
    "text",
    [text for page in PAGES for text in blocks(page, "yaml")],
    ids=lambda text: text.partition("\n")[0][:30],
)
def test_yaml_of_the_docs_is_read(text, tmp_path, monkeypatch):
    part = overlay(text)
    if "match" in part:  # of a sweep file
        whole = {"method": "grid", "parameters": {"model": {"values": ["LateFusion", "EarlyFusion"]}}}
        (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(whole | part))
        assert read_spec(tmp_path / "sweep.yaml").match.by == "parameters"
        return
    (tmp_path / "part.yaml").write_text(yaml.safe_dump(part))
    monkeypatch.chdir(ROOT)
    words = ["fit", "--config", "conf/vqa.yaml", "--config", str(tmp_path / "part.yaml")]
    assert prepared(monkeypatch, *words, build=False).config["fit"]


def test_conversations_of_the_docs_are_read(tmp_path):
    _, block = blocks(ROOT / "docs" / "data.md", "json")
    (tmp_path / "train.jsonl").write_text(block.replace(", …]", ', {"role": "assistant", "content": "A cat."}]'))
    Image.new("RGB", (16, 16)).save(tmp_path / "a.jpg")
    samples = velm.Conversations(root=tmp_path, train="train.jsonl", images=".").split("train")
    assert [len(sample.turns) for sample in samples] == [2] * len(block.splitlines())


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
