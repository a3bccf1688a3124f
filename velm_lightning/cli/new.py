"""``velm new``: write a fusion, task, dataset or encoder that runs, with its YAML and its test, to start from."""

from __future__ import annotations

import argparse
import keyword
import re
from collections.abc import Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from velm_lightning.errors import InputError
from velm_lightning.io.atomic import write_atomic
from velm_lightning.io.console import echo

KINDS = ("fusion", "task", "dataset", "encoder")


def names(name: str) -> tuple[str, str]:
    """Return the names of the module and of the class for a name in either spelling.

    Raises:
        InputError: it is not a Python identifier.

    Example:
        >>> names("FiLMFusion"), names("film_fusion")
        (('film_fusion', 'FiLMFusion'), ('film_fusion', 'FilmFusion'))
    """
    if not name.isidentifier() or keyword.iskeyword(name):
        raise InputError(f"{name!r} is not a class name: use letters, digits and _, such as MyFusion")
    if name.islower():
        return name, "".join(part.capitalize() for part in name.split("_"))
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])|(?<=[A-Z]{2})(?=[A-Z][a-z])", "_", name).lower(), name


def write(kind: str, name: str, folder: Path) -> list[Path]:
    """Write the files of a template under a new name.

    Args:
        kind: one of ``KINDS``.
        name: name of the class, such as ``FiLMFusion``, or of the module, such as ``film_fusion``.
        folder: existing folder to write to.

    Raises:
        InputError: the name is not an identifier, or one of the files exists.
    """
    module, class_name = names(name)
    old_module, old_class = f"my_{kind}", f"My{kind.capitalize()}"
    texts = {
        folder / template.name.replace(old_module, module): template.read_text(encoding="utf-8")
        for template in files("velm_lightning.templates").joinpath(kind).iterdir()
        if template.name.endswith((".py", ".yaml"))
    }
    for path in sorted(texts):
        if path.exists():
            raise InputError(f"{path} exists: choose another name, or remove it")
    for path, text in texts.items():
        write_atomic(path, text.replace(old_module, module).replace(old_class, class_name))
    return sorted(texts)


def main(words: Sequence[str]) -> int:
    """Run ``velm new``; ``words`` is the command line from ``new`` on."""
    parser = argparse.ArgumentParser(
        "velm new", description="Write a fusion, task, dataset or encoder that runs, with its YAML and its test."
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("name", help="name of the class, such as FiLMFusion")
    options = parser.parse_args(list(words)[1:])
    paths = write(options.kind, options.name, Path())
    for path in paths:
        echo(f"wrote {path}")
    module, _ = names(options.name)
    data = "--data" if options.kind == "dataset" else "--config"
    install = "" if find_spec("pytest") else "pip install pytest && "
    echo(f"test it: {install}pytest test_{module}.py")
    echo(f"use it:  velm fit --config conf/vqa.yaml {data} {module}.yaml --allow {module}")
    return 0
