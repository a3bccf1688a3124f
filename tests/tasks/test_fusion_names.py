"""Tasks name no fusion, so that every fusion works with every task without a special case."""

import ast
from pathlib import Path

from velm_lightning import fusion, tasks
from velm_lightning.fusion import Fusion

KINDS = [
    kind for kind in vars(fusion).values() if isinstance(kind, type) and issubclass(kind, Fusion) and kind is not Fusion
]
NAMES = {kind.__name__ for kind in KINDS}
OWN = {name for kind in KINDS for name in vars(kind) if name[0] != "_"} - {*dir(Fusion)}


def names_in_code(path):
    """Every name, attribute, imported name and string that is no docstring."""
    tree = ast.parse(path.read_text("utf-8"))
    statements = (node.value for node in ast.walk(tree) if isinstance(node, ast.Expr))
    documentation = {id(value) for value in statements if isinstance(value, ast.Constant)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name.rpartition(".")[2]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield from node.value.split()


def test_no_file_of_tasks_names_a_fusion():
    assert {"EarlyFusion", "InterleavedFusion", "InteractiveFusion", "LateFusion", "TextOnly"} <= NAMES
    files = sorted(Path(tasks.__file__).parent.rglob("*.py"))
    assert {path.name: NAMES & set(names_in_code(path)) for path in files} == {path.name: set() for path in files}


def test_no_file_of_tasks_uses_what_only_some_fusions_have():
    assert "fuse_states" in OWN
    files = sorted(Path(tasks.__file__).parent.rglob("*.py"))
    assert {path.name: OWN & set(names_in_code(path)) for path in files} == {path.name: set() for path in files}
