"""Copies of files on the network, which are made once, and only if the command line allows the network."""

from __future__ import annotations

import re
import shutil
from hashlib import blake2b
from pathlib import Path

from filelock import FileLock

from velm_lightning.data.datasets.readers.reading import counted
from velm_lightning.io.allow.allowlist import require_network
from velm_lightning.io.atomic import make_folder, replacing
from velm_lightning.io.files import show
from velm_lightning.types import InputError

_ADDRESS = re.compile(r"(https?|s3|gs)://[^/\s]+/\S+")


def is_address(name: object) -> bool:
    """Return whether a name is the address of a file: ``https://``, ``s3://`` or ``gs://``."""
    return isinstance(name, str) and "::" not in name and _ADDRESS.fullmatch(name) is not None


def local_copies(address: str, folder: Path) -> list[Path]:
    """Return the local copies of the files of an address, which may have a range such as ``{000..009}``.

    A file is copied once; the copy is named by its address. Remove it to copy the file again.

    Args:
        address: The address.
        folder: Folder of the copies.

    Raises:
        InputError: The network is not allowed, or a file cannot be copied.
    """
    return [_local_copy(one, folder / "remote") for one in counted(address)]


def _local_copy(address: str, folder: Path) -> Path:
    digest = blake2b(address.encode(), digest_size=8).hexdigest()
    name = re.sub(r"[^\w.-]", "_", address.rpartition("/")[2].partition("?")[0])
    copy = folder / digest / name
    if not copy.is_file():
        require_network(f"{address} is a network address")
        make_folder(copy.parent)
        with FileLock(copy.with_name(f"{name}.lock")):
            if not copy.is_file():
                _copy(address, copy)
    return copy


def _copy(address: str, copy: Path) -> None:
    import fsspec

    try:
        with fsspec.open(address, "rb") as source, replacing(copy) as target:
            shutil.copyfileobj(source, target, 2**20)
    except ImportError as error:
        raise InputError(f"{address}: needs another package: pip install velm-lightning[remote]") from error
    except InputError:
        raise
    except Exception as error:  # each protocol has its own
        raise InputError(
            f"{address}: cannot be copied ({show(str(error) or type(error).__name__)}): check it"
        ) from error
