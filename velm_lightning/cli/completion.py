"""``velm completion``: prints the script by which a shell completes ``velm``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from velm_lightning.io.console import echo

LINES = {
    "bash": 'eval "$(velm completion bash)"    # in ~/.bashrc',
    "zsh": 'eval "$(velm completion zsh)"     # in ~/.zshrc, after compinit',
    "fish": "velm completion fish | source     # in ~/.config/fish/config.fish",
}
"""The line that loads the script, by the name of the shell."""


def main(words: Sequence[str]) -> int:
    """Print the script for a shell; the exit code is 0."""
    parser = argparse.ArgumentParser(
        "velm completion",
        description="Print the script by which a shell completes commands, options, configs and runs.",
        epilog="To load it:\n" + "\n".join(f"  {line}" for line in LINES.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=list(LINES))
    options = parser.parse_args(list(words)[1:])
    from argcomplete.shell_integration import shellcode

    echo(shellcode(["velm", "LightningCLI"], shell=options.shell))
    return 0
