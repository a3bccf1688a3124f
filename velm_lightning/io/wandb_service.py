"""Whether there is a login to the W&B server, and the end of the service process of W&B's client."""

from __future__ import annotations

import netrc
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from velm_lightning.errors import InputError
from velm_lightning.io.allow.allowlist import how_to_allow, named

if sys.platform != "win32":
    import fcntl

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


def check_settings_file() -> None:
    """Refuse W&B's settings in the working directory, unless the command line allows them.

    W&B sends its key to the server that they name, and they may be a stranger's, as any file of a project.

    Raises:
        InputError: There is such a file.
    """
    for name in ("wandb/settings", ".wandb/settings"):
        if os.path.exists(name) and name not in named():
            raise InputError(
                f"{name} in the working directory can name another server for W&B, and nothing was sent: "
                f"{how_to_allow(name)}; else remove it, or set tracking.wandb to offline"
            )


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


def own_temporary_folders() -> None:
    """Mark W&B's temporary folders as those of this process, and remove those whose process was killed.

    A folder is marked by a file that its process keeps locked, so that folders of other programs stay.
    """
    if sys.platform == "win32":
        return
    for folder in _temporary_folders():
        with suppress(OSError):
            _lock(Path(folder.name))
    for mark in Path(tempfile.gettempdir()).glob(f"tmp*wandb-*/{_MARK}"):
        with suppress(OSError):  # its process lives, or another process removes it
            if mark.parent.lstat().st_uid == os.geteuid():
                _remove_if_left(mark)


def _lock(folder: Path) -> None:
    mark = folder / _MARK
    if not mark.exists():
        new = folder / f"{_MARK}.new"
        descriptor = os.open(new, os.O_RDWR | os.O_CREAT)  # open, and so locked, until the process ends
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        new.rename(mark)  # locked before others can find it


def _remove_if_left(mark: Path) -> None:
    descriptor = os.open(mark, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(mark.parent, ignore_errors=True)
    finally:
        os.close(descriptor)


def _remove_temporary_folders() -> None:
    for folder in _temporary_folders():
        with suppress(OSError):
            folder.cleanup()


def _temporary_folders() -> Iterator[tempfile.TemporaryDirectory[str]]:
    for module, *names in (("wandb.sdk.data_types._private", "MEDIA_TMP"), (_ARTIFACTS, "Artifact", "_TMP_DIR")):
        folder: Any = sys.modules.get(module)
        for name in names:
            folder = getattr(folder, name, None)
        if isinstance(folder, tempfile.TemporaryDirectory):
            yield folder


_ARTIFACTS = "wandb.sdk.artifacts.artifact"
_MARK = "velm.lock"
