"""Shell completion: the words that may come next on the command line; imports no torch."""

from __future__ import annotations

import re
from argparse import Action, ArgumentParser, _SubParsersAction
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import argcomplete
from argcomplete.completers import FilesCompleter

import velm_lightning
from velm_lightning.cli.start.hints import packaged
from velm_lightning.cli.start.screens import SCREENS
from velm_lightning.cli.start.words import FIT_COMMANDS
from velm_lightning.tracking.run_names import LATEST, run_folders

Commands = Mapping[str, tuple[str, str]]


class _Declared(Exception):  # noqa: N818 - it carries a parser, and is no error
    """Raised instead of parsing, with the parser."""


def complete(commands: Commands, line: str, **named: Any) -> None:
    """Print the completions of a command line for the shell, and exit.

    Args:
        commands: The module and the summary of each command.
        line: The command line so far; argcomplete reads it again from ``COMP_LINE``.
        named: Arguments of ``argcomplete.autocomplete``.
    """
    words = line.split()[1:]
    argcomplete.autocomplete(parser_of_all(commands, words), always_complete_options="long", **named)


def parser_of_all(commands: Commands, words: Sequence[str]) -> ArgumentParser:
    """Return a parser of all commands, with the options only of the one that ``words`` start with."""
    parser = ArgumentParser("velm")
    parser.add_argument("--version", action="store_true")
    subparsers = parser.add_subparsers()
    for name, (module, summary) in commands.items():
        parents = [_parser_of(name, module, words[1:])] if name in words[:1] else []
        subparsers.add_parser(name, help=summary, parents=parents, add_help=not parents)
    return parser


def _parser_of(command: str, module: str, words: Sequence[str]) -> ArgumentParser:
    parser = _of_screen(command) if command in FIT_COMMANDS else declared(command, module, words)
    for action in _actions(parser):
        if completer := COMPLETERS.get(action.dest):
            vars(action)["completer"] = completer
    return parser


def declared(command: str, module: str, words: Sequence[str]) -> ArgumentParser:
    """Return the parser that a command declares: its ``main`` is called up to the moment at which it parses."""

    def stop(parser: ArgumentParser, *_: Any, **__: Any) -> None:
        raise _Declared(parser)

    parse, ArgumentParser.parse_known_args = ArgumentParser.parse_known_args, stop  # type: ignore[assignment,method-assign]
    try:
        import_module(module).main([command, *words])
    except _Declared as stopped:
        parser: ArgumentParser = stopped.args[0]
        return parser
    finally:
        ArgumentParser.parse_known_args = parse  # type: ignore[method-assign]
    raise AssertionError(f"velm {command} parses no arguments")


def _actions(parser: ArgumentParser) -> Iterable[Action]:
    """Yield the arguments of a parser and of its subcommands."""
    for action in parser._actions:
        yield action
        for inner in action.choices.values() if isinstance(action, _SubParsersAction) else ():
            yield from _actions(inner)


def _of_screen(command: str) -> ArgumentParser:
    """Return a parser with the options on the help screen of a trainer's command."""
    screen = SCREENS[command]
    parser = ArgumentParser(f"velm {command}")
    parser.add_argument("config" if command == "fit" else "run", nargs="*")
    if command == "fit":
        parser.add_argument("--config")
    for option in re.findall(r"--[a-z]+", screen.usage):
        parser.add_argument(option)
    for key, default, text in screen.options:
        choices = ("true", "false") if isinstance(default, bool) else None
        parser.add_argument(f"--{key}", choices=choices, help=text.replace("%", "%%"))
    return parser


def _runs(prefix: str, **_: Any) -> list[str]:
    return [LATEST, *(folder.name for folder in run_folders()), *_files(prefix)]


def _configs(prefix: str, **_: Any) -> list[str]:
    return [*_experiments(), *_files(prefix)]


def _experiments(**_: Any) -> list[str]:
    return [Path(file).stem for file in packaged()]


def _data(prefix: str, **_: Any) -> list[str]:
    return [*packaged("conf/data"), *_files(prefix)]


def _sweeps(prefix: str, **_: Any) -> list[str]:
    return [*packaged("sweeps"), *_files(prefix)]


def _fusions(**_: Any) -> list[str]:
    modules = velm_lightning._MODULES.items()
    return [name for name, module in modules if module.startswith("fusion.") and module != "fusion.base"]


def _files(prefix: str) -> list[str]:
    return list(FilesCompleter()(prefix))


COMPLETERS: dict[str, Callable[..., list[str]]] = {
    "run": _runs,
    "runs": _runs,
    "config": _configs,
    "experiment": _experiments,
    "sweep": _sweeps,
    "model": _fusions,
    "data": _data,
}
"""What completes an argument, by the argument's name; choices and files complete the others."""
