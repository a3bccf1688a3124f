"""Whether there is a login to the W&B server, and the end of the service process of W&B's client."""

from __future__ import annotations

import netrc
import os
import sys
import threading
from contextlib import suppress
from urllib.parse import urlparse

SECONDS = 5
"""How long its end is waited for, where nothing is left to be sent."""


def logged_in() -> bool:
    """Return whether runs can be sent to the W&B server.

    There must be a key in ``WANDB_API_KEY`` or, for the host of ``WANDB_BASE_URL`` (by default ``api.wandb.ai``), in
    the netrc file; and ``WANDB_MODE`` must not be ``offline``, ``dryrun`` or ``disabled``.
    """
    if os.environ.get("WANDB_MODE") in ("offline", "dryrun", "disabled"):
        return False
    return bool(os.environ.get("WANDB_API_KEY")) or _has_key_in_netrc()


def _has_key_in_netrc() -> bool:
    host = urlparse(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


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
