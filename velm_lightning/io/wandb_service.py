"""The process through which W&B's client speaks to its server, and its end."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress

SECONDS = 5
"""How long its end is waited for, where nothing is left to be sent."""


def end_service(seconds: float = SECONDS, code: int = 0) -> None:
    """Let W&B's service end; one that does not is left behind, and ends with this process.

    The client waits for its service without a limit, and a service (wandb 0.31) that writes the answer to a request
    which was given up, as one is whose server is silent, just when the client closes the connection never reads that
    it should end.

    Args:
        seconds: how long it is waited for.
        code: exit code of this process.
    """
    wandb = sys.modules.get("wandb")
    if wandb is None:
        return

    def end() -> None:
        with suppress(SystemExit):  # with the service's own exit code
            wandb.teardown(exit_code=code)

    ending = threading.Thread(target=end, daemon=True)
    ending.start()
    ending.join(seconds)
