"""A script that marks a run as failed if its process dies without setting a status.

It uses only the standard library and is called as ``python watcher.py run.json``. Its stdin is a pipe that the run
holds open and that closes when the run ends, also by ``kill -9``.
"""

import json
import os
import sys
from contextlib import suppress


def main(path: str) -> None:
    """Wait for the end of the run, then set its status to ``failed`` if it is still ``running``."""
    sys.stdin.buffer.read()
    if not os.path.isfile(path):
        return  # the run was deleted
    with open(path, encoding="utf-8") as file:
        record = json.load(file)
    if record.get("status") == "running":
        part = f"{os.path.dirname(path)}/.run.json.{os.getpid()}.part"
        try:
            with open(part, "w", encoding="utf-8") as file:
                file.write(json.dumps(record | {"status": "failed"}, indent=2) + "\n")
            os.replace(part, path)
        except OSError:  # a full or unmounted disk: the status stays ``running``
            with suppress(OSError):
                os.unlink(part)


if __name__ == "__main__":
    main(sys.argv[1])
