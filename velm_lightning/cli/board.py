"""``velm board``: a live page over all runs; imports no torch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from velm_lightning.errors import InputError
from velm_lightning.io.console import echo
from velm_lightning.io.paths import user_path

PORT = 6007  # that of TensorBoard is 6006


def main(words: Sequence[str]) -> int:
    """Serve the board until Ctrl-C; the exit code is 0.

    Raises:
        InputError: A folder does not exist, or no port can be used.
    """
    options = _options(words)
    for place in options.runs:
        if not place.is_dir():
            raise InputError(f"{place} is not a folder: name the folder of your runs, or start a run first")
    from velm_lightning.board.server import serve
    from velm_lightning.board.state import Board

    server = serve(Board(options.runs), options.port)
    echo(f"board of {', '.join(map(str, options.runs))}: {server.address} (Ctrl-C ends it)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        echo("")
    finally:
        server.server_close()
    return 0


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "velm board",
        description="Show runs while they train, on a page that only this machine can open: curves with bands over "
        "seeds, status, time left, and the predictions of the runs that were evaluated last.",
        epilog="From another machine: ssh -L 6007:127.0.0.1:6007 HOST, then open http://127.0.0.1:6007/ there.",
    )
    parser.add_argument(
        "runs", nargs="*", type=user_path, default=[Path("runs")], help="folders of runs or experiments (runs)"
    )
    parser.add_argument("--port", type=int, default=PORT, help=f"first port that is tried ({PORT}); 0: any free one")
    return parser.parse_args(list(words)[1:])
