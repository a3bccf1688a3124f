"""Imports run one way, and a command loads only what it needs."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import velm_lightning
from velm_lightning.__main__ import COMMANDS

ROOT = Path(velm_lightning.__file__).parent
BASE = {"types", "stable", "recipe", "vocabulary", "hub"}
MODEL = {*BASE, "kv_cache", "attention", "checkpoint", "metrics", "decoding", "encoders", "tasks"}
EVERYTHING = {*MODEL, "fusion", "data", "explain", "cost", "tracking", "trusted", "cli", "sweep", "compare", "ceiling"}

# What each part of the package may import besides itself. A new part gets a line here.
MAY_IMPORT = {
    "": set(),
    "errors": set(),
    "wandb_service": set(),
    "types": {"errors"},
    "stable": set(),
    "trusted": {"types", "data"},
    "recipe": {"types"},
    "vocabulary": {"types", "recipe"},
    "hub": {"types"},
    "checkpoint": {"types", "recipe"},
    "transfer": {*BASE, "checkpoint"},
    "kv_cache": {"types"},
    "attention": {"types", "kv_cache"},
    "metrics": {"types", "hub"},
    "decoding": {"types", "stable", "recipe"},
    "encoders": {*BASE, "kv_cache", "attention"},
    "tasks": {*BASE, "kv_cache", "attention", "checkpoint", "metrics", "decoding", "encoders"},
    "cost": {"types", "tasks"},
    "ceiling": {*BASE, "tasks"},
    "fusion": {*MODEL, "transfer"},
    "scene_judge": {*BASE, "data", "tasks"},
    "explain": {*MODEL, "fusion"},
    "data": BASE,
    "tracking": {*MODEL, "fusion", "explain", "cost", "ceiling", "wandb_service"},
    # What a user starts.
    "parser": {*BASE, "data"},
    "cli": {*EVERYTHING, "parser", "scene_judge"},
    "ask": EVERYTHING,
    "draw": EVERYTHING,
    "nearest": {*BASE, "data", "tracking"},
    "search": {*EVERYTHING, "nearest"},
    "bench": {*EVERYTHING, "results"},
    "features": EVERYTHING,
    "results": {"types", "data"},
    "score": {"types", "data", "metrics", "results"},
    "data_check": {*EVERYTHING, "parser"},
    "probe": {*EVERYTHING, "data_check"},
    "verify": EVERYTHING,
    "sweep": {"errors"},
    "compare": {"errors", "wandb_service"},
    "__main__": {"errors"},
}
FILES = sorted(ROOT.rglob("*.py"))


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
        yield from (
            name.removeprefix("velm_lightning").lstrip(".") for name in names if name.split(".")[0] == "velm_lightning"
        )


@pytest.mark.parametrize("path", FILES, ids=lambda path: dotted(path) or "velm_lightning")
def test_imports_run_one_way(path):
    part = part_of(dotted(path))
    assert part in MAY_IMPORT, f"{part} has no line in the table: say what it may import"
    for name in imports(path):
        target = part_of(name)
        assert target == part or target in MAY_IMPORT[part], f"{dotted(path)} imports {name}"


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
    assert "data" not in MAY_IMPORT["fusion"] | MAY_IMPORT["tasks"] | MAY_IMPORT["encoders"]
    assert MAY_IMPORT["data"] == BASE


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
    loaded = loaded_by("from velm_lightning.__main__ import main\nassert main(['--help']) == 0")
    assert not HEAVY & loaded
    assert "velm_lightning.__main__" in loaded


@pytest.mark.parametrize("part", ["sweep", "compare"])
def test_what_reads_finished_runs_loads_no_torch(part):
    if importlib.util.find_spec(f"velm_lightning.{part}") is None:
        pytest.skip(f"there is no {part} yet")
    assert not {"torch", "lightning", "transformers"} & loaded_by(f"import velm_lightning.{part}")
