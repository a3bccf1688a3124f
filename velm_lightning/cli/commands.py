"""The commands of ``velm``, also installed as ``LightningCLI``; only what a command needs is imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "fit": ("velm_lightning.cli.fit", "train a model, then evaluate its best checkpoint"),
    "validate": ("velm_lightning.cli.fit", "evaluate on the validation split"),
    "test": ("velm_lightning.cli.fit", "evaluate on the test split"),
    "predict": ("velm_lightning.cli.fit", "write predictions"),
    "ask": ("velm_lightning.cli.ask", "ask a checkpoint about a picture"),
    "draw": ("velm_lightning.cli.draw", "draw pictures from a caption"),
    "search": ("velm_lightning.cli.search", "find the pictures of a folder that go with a text"),
    "data": ("velm_lightning.cli.data", "check the data that a config names"),
    "features": ("velm_lightning.cli.features", "run a frozen image encoder once over all pictures"),
    "score": ("velm_lightning.cli.score", "score a file of captions, of any system, as the COCO evaluation does"),
    "sweep": ("velm_lightning.cli.sweep", "search fusions, seeds and settings by a sweep file"),
    "compare": ("velm_lightning.cli.compare", "compare finished runs: statistics, tables, a dashboard"),
    "probe": ("velm_lightning.cli.probe", "measure how much a model owes to the image and to the text"),
    "verify": ("velm_lightning.cli.verify", "compute a run's figures anew from its predictions"),
    "bench": ("velm_lightning.cli.bench", "measure speed"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, or 2 where the input is at fault."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        print(usage())
        return 0 if words else 2
    # Threads that wait spin for some microseconds, then sleep: without spinning, small layers run at half speed on two
    # cores; with the runtime's own spinning, anything else on the machine costs several times the speed.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    module, _ = COMMANDS.get(words[0], COMMANDS["fit"])  # the trainer's own parser names a wrong command
    from velm_lightning.errors import InputError

    try:
        return int(import_module(module).main(words) or 0)
    except InputError as error:
        print(f"velm: error: {error}", file=sys.stderr)
        return 2


def usage() -> str:
    """Return the list of commands."""
    lines = [f"  {name:<10}{what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(["usage: velm COMMAND …", "", *lines, "", "velm COMMAND --help tells more."])
