"""``velm configs``: lists the experiments that come with the package, and copies one to start from."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from velm_lightning.errors import InputError
from velm_lightning.io.atomic import write_atomic
from velm_lightning.io.config_files import named_files, packaged_config
from velm_lightning.io.console import echo

_ROOT = Path("conf")
_ANY = _ROOT / "vqa.yaml"  # every install has it, so its folder is that of the experiments


def main(words: Sequence[str]) -> int:
    """List the experiments, or copy one with the files that it names; the exit code is 0."""
    parser = argparse.ArgumentParser(
        "velm configs", description="List the experiments that come with the package, or copy one into ./conf."
    )
    actions = parser.add_subparsers(dest="action", metavar="copy")
    copy = actions.add_parser("copy", help="copy an experiment and the files that it names into ./conf")
    copy.add_argument("experiment", metavar="NAME", help="an experiment as `velm configs` lists it, e.g. vqa")
    options = parser.parse_args(list(words)[1:])
    if options.action == "copy":
        copy_experiment(options.experiment)
        return 0
    listed = experiments()
    width = max(map(len, listed)) + 2
    for name, summary in listed.items():
        echo(f"{name:<{width}}{summary}")
    echo("\n`velm fit --config conf/NAME.yaml` runs an experiment; `velm configs copy NAME` copies it to change it.")
    return 0


def experiments() -> dict[str, str]:
    """Return the first comment line of each experiment by its name."""
    files = sorted(_folder().glob("*.yaml"))
    return {path.stem: path.read_text("utf-8").partition("\n")[0].lstrip("# ") for path in files}


def copy_experiment(name: str) -> list[Path]:
    """Copy an experiment and the files that it names into ``./conf``; files that are there already stay as they are.

    Args:
        name: The experiment, ``vqa`` or ``conf/vqa.yaml``.

    Returns:
        The files that were written.

    Raises:
        InputError: If there is no such experiment, or another file stands where one would be written; then nothing
            is written.
    """
    folder = _folder()
    source = packaged_config(_ROOT / f"{Path(name).stem}.yaml")
    if source is None:
        raise InputError(f"there is no experiment {name!r}: `velm configs` lists them")
    copies = {_ROOT / path.resolve().relative_to(folder): path for path in (source, *named_files(source))}
    for target, path in copies.items():
        if target.exists() and (not target.is_file() or target.read_bytes() != path.read_bytes()):
            raise InputError(f"{target} exists and differs from the package's file: rename or remove it first")
    written = [target for target in copies if not target.exists()]
    for target in copies:
        if target in written:
            write_atomic(target, copies[target].read_text("utf-8"))
        echo(f"{'wrote' if target in written else 'kept'} {target}")
    return written


def _folder() -> Path:
    path = packaged_config(_ANY)
    if path is None:
        raise InputError(f"this installation of velm_lightning has no {_ANY}: install it again")
    return path.parent.resolve()
