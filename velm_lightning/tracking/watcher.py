"""A little process beside a run, which marks it as failed when the run's own process is gone without a word.

It runs as a script, with the standard library alone: ``python watcher.py run.json``, its input the pipe that the run
holds open. Whatever ends the run, ``kill -9`` too, closes the pipe.
"""

import json
import os
import sys
from contextlib import suppress


def main(path: str) -> None:
    """Wait for the end of the run; then put ``failed`` into its record where that still says ``running``."""
    sys.stdin.buffer.read()
    if not os.path.isfile(path):
        return  # somebody has thrown the run away
    with open(path, encoding="utf-8") as file:
        record = json.load(file)
    if record.get("status") == "running":
        part = f"{os.path.dirname(path)}/.run.json.{os.getpid()}.part"
        try:
            with open(part, "w", encoding="utf-8") as file:
                file.write(json.dumps(record | {"status": "failed"}, indent=2) + "\n")
            os.replace(part, path)
        except OSError:  # a disk that is full, or gone: a record that nobody is at work on says enough
            with suppress(OSError):
                os.unlink(part)


if __name__ == "__main__":
    main(sys.argv[1])
