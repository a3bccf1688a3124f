"""A method that overrides one of the package is marked ``@override``, so that a reader and mypy know."""

import ast
from pathlib import Path

import velm_lightning

ROOT = Path(velm_lightning.__file__).parent
TEMPLATES = ROOT / "templates"  # which are written as the code of a user


def classes():
    """The file and the definition of every class by its name; names that occur twice are left out."""
    definitions = {}
    for path in (path for path in ROOT.rglob("*.py") if TEMPLATES not in path.parents):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                definitions.setdefault(node.name, []).append((path, node))
    return {name: found[0] for name, found in definitions.items() if len(found) == 1}


def methods(node):
    return {part.name: part for part in node.body if isinstance(part, ast.FunctionDef)}


def inherited(node, known):
    """The names of the methods of all base classes in the package."""
    names = set()
    for base in (base.value if isinstance(base, ast.Subscript) else base for base in node.bases):
        if isinstance(base, ast.Name) and base.id in known:
            parent = known[base.id][1]
            names |= {*methods(parent), *inherited(parent, known)}
    return names


def test_every_override_is_marked():
    known = classes()
    assert len(known) > 200
    unmarked = [
        f"{path.relative_to(ROOT)}: {node.name}.{name}"
        for path, node in known.values()
        for name, method in methods(node).items()
        if name in inherited(node, known)
        and not name.startswith("__")
        and "override" not in map(ast.unparse, method.decorator_list)
    ]
    assert not unmarked
