"""``velm allow``: allows a module of the user's own, so that configs and checkpoints may name its classes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from velm_lightning.errors import InputError
from velm_lightning.io.allow.user_list import Allowed, add, list_file, read_list, remove
from velm_lightning.io.console import echo


def main(words: Sequence[str]) -> int:
    """Add modules to the user's list, remove them, or print the list; returns exit code 0."""
    parser = argparse.ArgumentParser(
        "velm allow",
        description="Allow a module, package or function: configs, runs and checkpoints may then name its classes. "
        "The entry holds for the files as they are now, in their folder. Nothing is imported. `--allow NAME` on any "
        "command, or VELM_ALLOW=NAME,NAME, allows without remembering.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a module, e.g. my_fusion for ./my_fusion.py")
    parser.add_argument("--remove", action="store_true", help="remove the names from the list")
    options = parser.parse_args(list(words)[1:])
    for name in options.names:
        if name.endswith(".py") or not all(word.isidentifier() for word in name.split(".")):
            raise InputError(f"velm allow {name}: is not the name of a module: write my_fusion for ./my_fusion.py")
        if options.remove:
            gone = remove(name)
            echo(f"{name}: removed" if gone else f"{name}: was not in {list_file()}")
        else:
            echo(f"allowed: {_line(add(name))}")
    if not options.names:
        entries = read_list()
        echo("\n".join(map(_line, entries)) if entries else f"{list_file()} allows nothing yet")
    return 0


def _line(entry: Allowed) -> str:
    return f"{entry.name} in {entry.folder} (SHA-256 {entry.sha256[:12]})"
