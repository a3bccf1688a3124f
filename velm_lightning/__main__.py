"""``python -m velm_lightning`` and the console scripts ``velm`` and ``LightningCLI``."""

import os
import sys

if __name__ == "__main__" and not sys.flags.safe_path and sys.path[0] == os.getcwd():
    sys.path.pop(0)  # `python -m` puts the working directory first, where a file yaml.py would hide the library

from velm_lightning.cli.commands import main  # noqa: E402

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
