"""Imports run one way, and a command loads only what it needs."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import velm_lightning
from velm_lightning.cli.commands import COMMANDS

ROOT = Path(velm_lightning.__file__).parent
# The other parts that each part of the package may import; a new part gets a line here.
PLAIN_IO = {"io.argument_types", "io.allow.resolve", "io.allow.user_list", "io.allow.allowlist", "io.atomic"}
LEAVES = {"errors", "types", "io", "io.configurable", *PLAIN_IO}
IMAGES = {"data.images", "data.collate"}  # what a model needs to read an image and a text
MODEL = {*LEAVES, "text", "nn", "decoding", "metrics", "checkpoints", "encoders", "tasks", "training"}
WITHOUT_COMMANDS = {*MODEL, *IMAGES, "data", "fusion", "inspection", "tracking", "tracking.run_names"}
MAY_IMPORT = {
    "": {"errors", "types", "io", "data", "decoding", "encoders", "fusion", "tasks", "training", "compare", "tracking"},
    "errors": set(),
    "io.argument_types": {"errors"},
    "io.configurable": {"errors", "io.allow.resolve", "io.argument_types"},
    "io.allow.resolve": {"errors", "io.allow.allowlist", "io.allow.user_list"},
    "io.allow.user_list": {"errors", "io.allow.allowlist", "io.atomic"},
    "io.allow.allowlist": {"errors"},
    "io.atomic": {"errors"},
    "types": {"errors", "io.configurable"},
    "io": {"errors", "types", "io.configurable", *PLAIN_IO},
    "text": LEAVES,
    "nn": {"errors", "types"},
    "decoding": LEAVES,
    "metrics": LEAVES,
    "checkpoints": {*LEAVES, "text", "nn"},
    "encoders": {*LEAVES, "text", "nn"},
    "data.images": LEAVES,
    "data.collate": {*LEAVES, "text"},
    "data": {*LEAVES, *IMAGES, "text", "checkpoints"},
    "tasks": {*LEAVES, "text", "nn", "decoding", "metrics", "checkpoints", "encoders"},
    "tasks.scene_judge": {*LEAVES, *IMAGES, "data", "tasks"},
    "training": {*LEAVES, "text", "nn", "checkpoints", "encoders", "tasks"},
    "fusion": {*MODEL, *IMAGES},
    "inspection": {*MODEL, *IMAGES, "data", "fusion"},
    "tracking": {*MODEL, *IMAGES, "data", "fusion", "inspection", "tracking.run_names"},
    "sweep": {*LEAVES, "tracking.run_names"} - {"types"},
    "compare": {"errors", "io", "io.argument_types", "tracking.run_names"},
    "tracking.run_names": {"errors", "io"},
    "board": {"errors", "io", "compare", "tracking", "tracking.run_names"},
    "importing": {*WITHOUT_COMMANDS} - {"fusion"},
    "bench": {*WITHOUT_COMMANDS, "compare"},
    "cli": {"", *WITHOUT_COMMANDS, "tasks.scene_judge", "sweep", "compare", "board", "bench", "importing"},
    "__main__": {"cli"},
}
TEMPLATES = ROOT / "templates"  # which are written as the code of a user, outside of the package
FILES = sorted(path for path in ROOT.rglob("*.py") if TEMPLATES not in path.parents)


def dotted(path):
    """The module's name below the package; a package's ``__init__`` has the package's name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module):
    """The part of the package that a module belongs to: the longest entry of the table that it lies in."""
    words = module.split(".") if module else []
    names = [".".join(words[:length]) for length in range(len(words), 0, -1)]
    return next((name for name in names if name in MAY_IMPORT), module)


def imports(path):
    """Every module of this package that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        inside = [name.partition(".")[2] for name in names if name.split(".")[0] == "velm_lightning"]
        yield from (name if importlib.util.find_spec(f"velm_lightning.{name.split('.')[0]}") else "" for name in inside)


@pytest.mark.parametrize("path", FILES, ids=lambda path: dotted(path) or "velm_lightning")
def test_imports_run_one_way(path):
    part = part_of(dotted(path))
    assert part in MAY_IMPORT, f"{part} has no line in the table: list the parts that it may import"
    for name in imports(path):
        target = part_of(name)
        assert target == part or target in MAY_IMPORT[part], f"{dotted(path)} imports {name}"


def test_no_test_module_imports_another():
    """What several need lies in helpers or conftest."""
    tests = Path(__file__).parent
    assert not [
        path for path in tests.rglob("*.py") if re.search(r"^(from|import) .*\btest_", path.read_text("utf-8"), re.M)
    ]


def test_the_table_itself_has_no_circle():
    order = []
    waiting = dict(MAY_IMPORT)
    while waiting:
        ready = [part for part, below in waiting.items() if below <= {*order, part}]
        assert ready, f"these import each other: {sorted(waiting)}"
        order += ready
        for part in ready:
            del waiting[part]


def test_models_never_ask_for_the_data_nor_data_for_models():
    assert "data" not in MAY_IMPORT["fusion"] | MAY_IMPORT["tasks"] | MAY_IMPORT["encoders"] | MAY_IMPORT["training"]
    assert MAY_IMPORT["data"] == {*LEAVES, *IMAGES, "text", "checkpoints"}


def test_the_top_of_the_package_holds_folders_and_little_else():
    loose = {path.name for path in ROOT.iterdir() if path.is_file()}
    assert loose == {"__init__.py", "__main__.py", "errors.py", "types.py", "py.typed"}
    installed = {"configs", "sweep_files", "__pycache__"}  # data of the wheel
    folders = [path for path in ROOT.rglob("*") if path.is_dir() and not installed & {*path.relative_to(ROOT).parts}]
    assert all(len([1 for child in folder.iterdir() if child.name != "__pycache__"]) <= 23 for folder in folders)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_module(command):
    module, about = COMMANDS[command]
    assert importlib.util.find_spec(module) is not None
    assert about


def loaded_by(code):
    """The modules that are loaded after ``code`` ran in a fresh interpreter."""
    script = f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


HEAVY = {"torch", "lightning", "transformers", "wandb", "jsonargparse", "numpy"}


def test_the_help_of_the_command_line_loads_nothing_heavy():
    loaded = loaded_by("from velm_lightning.cli.commands import main\nassert main(['--help']) == 0")
    assert not HEAVY & loaded
    assert "velm_lightning.cli.commands" in loaded


@pytest.mark.parametrize("part", ["sweep", "compare", "board.server"])
def test_what_reads_finished_runs_loads_no_torch(part):
    if importlib.util.find_spec(f"velm_lightning.{part}") is None:
        pytest.skip(f"there is no {part} yet")
    assert not {"torch", "lightning", "transformers"} & loaded_by(f"import velm_lightning.{part}")


@pytest.mark.slow
def test_training_loads_no_libraries_of_unused_parts():
    loaded = loaded_by("import velm_lightning\nvelm_lightning.fit\nimport velm_lightning.cli.fit")
    assert "torchmetrics.metric" in loaded
    assert not {"transformers", "torchvision", "scipy", "torchmetrics.functional", "wandb"} & loaded
