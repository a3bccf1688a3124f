"""``velm data``: checks data, shows a sample of it, or writes it as shards."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module

ACTIONS = {
    "check": ("velm_lightning.cli.data.check", "check the data that a config names"),
    "show": ("velm_lightning.cli.data.show", "print the tokens of a sample, their blocks, and which are learned"),
    "import": ("velm_lightning.cli.data.import_", "write any data as shards and an index"),
}


def main(words: Sequence[str]) -> int:
    """Run one of the actions; the exit code is that of the action."""
    action, rest = list(words)[1:2], list(words)[2:]
    if action and action[0] in ACTIONS:
        code: int = import_module(ACTIONS[action[0]][0]).main(rest)
        return code
    parser = argparse.ArgumentParser("velm data", description="Work with the data that a config names, or your own.")
    actions = parser.add_subparsers(dest="action", required=True)
    for name, (_, text) in ACTIONS.items():
        actions.add_parser(name, help=text)
    parser.parse_args(action)  # which prints the help, or that there is no such action, and exits
    return 0
