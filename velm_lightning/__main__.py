"""``python -m velm_lightning`` and the console scripts ``velm`` and ``LightningCLI``."""

import sys

from velm_lightning.cli.commands import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
