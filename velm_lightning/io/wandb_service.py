"""Whether there is a login to the W&B server, and the end of the service process of W&B's client."""

from __future__ import annotations

import netrc
import os
import sys
import tempfile
import threading
from contextlib import suppress
from typing import Any
from urllib.parse import urlparse

SECONDS = 5
"""Default time limit in seconds, if nothing remains to be sent."""


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


def end_service(seconds: float = SECONDS, code: int | None = None) -> None:
    """End W&B's service; if it does not end in time, it ends with this process.

    The client waits for its service without a limit. A service (wandb 0.31) that answers an abandoned request while
    the client closes the connection never reads the request to end.

    Args:
        seconds: Time limit.
        code: Exit code of this process if it is about to end by ``os._exit``; then W&B's temporary folders are
            removed, too, which a normal exit does. None if the process goes on.
    """
    wandb = sys.modules.get("wandb")
    if wandb is None:
        return

    def end() -> None:
        with suppress(SystemExit):  # with the service's own exit code
            wandb.teardown(exit_code=code or 0)

    ending = threading.Thread(target=end, daemon=True)
    ending.start()
    ending.join(seconds)
    if code is not None:
        _remove_temporary_folders()


def _remove_temporary_folders() -> None:
    for module, *names in (("wandb.sdk.data_types._private", "MEDIA_TMP"), (_ARTIFACTS, "Artifact", "_TMP_DIR")):
        folder: Any = sys.modules.get(module)
        for name in names:
            folder = getattr(folder, name, None)
        if isinstance(folder, tempfile.TemporaryDirectory):
            with suppress(OSError):
                folder.cleanup()


_ARTIFACTS = "wandb.sdk.artifacts.artifact"
