"""Ending the service process of the W&B client."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress

SECONDS = 5
"""Default time limit in seconds, if nothing remains to be sent."""


def end_service(seconds: float = SECONDS, code: int = 0) -> None:
    """End W&B's service; if it does not end in time, it ends with this process.

    The client waits for its service without a limit. A service (wandb 0.31) that answers an abandoned request while
    the client closes the connection never reads the request to end.

    Args:
        seconds: Time limit.
        code: Exit code of this process.
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
