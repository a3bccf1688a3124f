"""The commands of ``velm``, also installed as ``LightningCLI``; only the modules that a command needs are imported."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from velm_lightning.io.console import echo

COMMANDS = {
    "init": ("velm_lightning.cli.init", "look at your data file and write a config for it"),
    "fit": ("velm_lightning.cli.fit", "train a model, then evaluate its best checkpoint"),
    "validate": ("velm_lightning.cli.fit", "evaluate on the validation split"),
    "test": ("velm_lightning.cli.fit", "evaluate on the test split"),
    "predict": ("velm_lightning.cli.fit", "write predictions"),
    "runs": ("velm_lightning.cli.runs", "list the runs, or remove unfinished ones"),
    "board": ("velm_lightning.cli.board", "show runs while they train, on a page in your browser"),
    "configs": ("velm_lightning.cli.configs", "list the experiments that come with the package, or copy one"),
    "ask": ("velm_lightning.cli.model.ask", "ask a model a question about an image"),
    "draw": ("velm_lightning.cli.model.draw", "generate images from a caption"),
    "search": ("velm_lightning.cli.model.search", "find the images in a folder that match a text"),
    "data": ("velm_lightning.cli.data", "check your data, show a sample of it, or write it as shards"),
    "features": ("velm_lightning.cli.features", "run a frozen image encoder once over all images"),
    "score": ("velm_lightning.cli.score", "score captions of any system as the COCO evaluation does"),
    "sweep": ("velm_lightning.cli.sweep", "search fusions, seeds and settings with a sweep file"),
    "compare": ("velm_lightning.cli.compare", "compare finished runs: statistics, tables, a dashboard"),
    "power": ("velm_lightning.cli.power", "compute how many seeds and images tell two methods apart"),
    "import": ("velm_lightning.cli.import_", "make a run out of the predictions of any other system"),
    "probe": ("velm_lightning.cli.model.probe", "measure how much a model relies on the image and on the text"),
    "budget": ("velm_lightning.cli.budget", "find widths with which several configs have the same size or cost"),
    "new": ("velm_lightning.cli.new", "write a fusion, task, dataset or encoder to start from"),
    "verify": ("velm_lightning.cli.verify", "recompute a run's metrics from its predictions"),
    "allow": ("velm_lightning.cli.allow", "allow a module of your own, so that configs may name its classes"),
    "bench": ("velm_lightning.cli.bench", "measure speed"),
    "completion": ("velm_lightning.cli.completion", "print the script by which a shell completes velm"),
}
_CLOSED_PIPE = 141  # 128 + SIGPIPE, as other programs end
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")  # set in every process of a distributed run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The command and its arguments; by default those of this process.

    Returns:
        The exit code: 0, 2 if the input is at fault, 141 if the output was closed, or the command's own.
    """
    if "_ARGCOMPLETE" in os.environ:  # set by the shell
        from velm_lightning.cli.start.completion import complete

        complete(COMMANDS, os.environ["COMP_LINE"])
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run(words)
        sys.stdout.flush()  # here, so that a closed pipe is noticed now
    except BrokenPipeError:  # `velm … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it exits
        return _CLOSED_PIPE
    return code


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        echo(usage())
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        from velm_lightning.io.packaged import installed_version

        echo(f"velm_lightning {installed_version('velm_lightning')}")
        return 0
    # Threads that wait spin for some microseconds, then sleep: without spinning, small layers run at half speed on two
    # cores; with the runtime's own spinning, anything else on the machine costs several times the speed.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    from velm_lightning.cli.start.faults import named_by_system
    from velm_lightning.errors import InputError
    from velm_lightning.io.allow.allowlist import permissions
    from velm_lightning.io.console import log_to_console
    from velm_lightning.io.lazy_metrics import postpone_metrics

    log_to_console()
    try:
        with named_by_system(), permissions(words) as rest:
            completed = _started(rest)
            if completed is None:
                return 0
            postpone_metrics()
            module, _ = COMMANDS.get(completed[0], COMMANDS["fit"])  # options may stand before the trainer's command
            return int(import_module(module).main(_with_packaged_configs(completed)) or 0)
    except InputError as error:
        from velm_lightning.cli.start.faults import DEBUG
        from velm_lightning.cli.start.hints import readable

        if os.environ.get(DEBUG):
            echo("".join(traceback.format_exception(error)), file=sys.stderr)
        echo(f"velm: error: {readable(str(error))}", file=sys.stderr)
        return 2


def _started(words: list[str]) -> list[str] | None:
    """Return the completed words of a command, or None if its help was printed; imports nothing heavy.

    Raises:
        InputError: There is no such command, file or run.
    """
    command = words[0]
    if command not in COMMANDS and not command.startswith("-"):
        from velm_lightning.cli.start.hints import similar
        from velm_lightning.errors import InputError

        raise InputError(f"there is no command {command!r}{similar(command, COMMANDS)}; `velm --help` lists them")
    from velm_lightning.cli.start.words import FIT_COMMANDS, complete

    if command not in FIT_COMMANDS:
        return words
    if "-h" in words or "--help" in words:
        from velm_lightning.cli.start.screens import SCREENS

        echo(SCREENS[command].text(command))
        return None
    if "--help-all" in words:
        return [command, "--help"]
    return complete(words)


def _with_packaged_configs(words: Sequence[str]) -> list[str]:
    """Replace config files that only the installed package has by their paths there, and print those paths."""
    from velm_lightning.io.config_files import find_in_word

    replaced = [find_in_word(word) for word in words]
    if all(os.environ.get(name, "0") == "0" for name in _RANKS):
        for path in dict.fromkeys(path for _, path in replaced if path):
            echo(f"using {path}, which comes with velm_lightning")
    return [word for word, _ in replaced]


def usage() -> str:
    """Return the list of commands."""
    lines = [f"  {name:<12}{description}" for name, (_, description) in COMMANDS.items()]
    notes = [
        "Run `velm COMMAND --help` for the options. Every command takes --allow NAME, a",
        "module whose classes its files may name, and --allow-network.",
    ]
    return "\n".join(["usage: velm COMMAND …", "", *lines, "", *notes])
