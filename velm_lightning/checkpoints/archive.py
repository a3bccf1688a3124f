"""Checks the archive of a checkpoint before torch reads it, because torch verifies no checksum of a weight."""

from __future__ import annotations

import zipfile
from pathlib import Path

from velm_lightning.nn.size_limit import machine_memory
from velm_lightning.types import InputError

_BLOCK = 2**20


def check_archive(path: Path, weights: bool = True) -> None:
    """Check that a file is an intact archive of ``torch.save``: uncompressed, and every part has its CRC-32.

    This finds accidental changes (disks, transfers); it does not authenticate the author of a file.

    Args:
        path: the file.
        weights: whether the weights are checked as well, which reads the whole file; else only the metadata.

    Raises:
        InputError: the file is missing, truncated, damaged, compressed or of another type.
    """
    if not path.is_file():
        raise InputError(f"checkpoint {path} does not exist")
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            _check_sizes(path, parts, weights)
            for part in parts:
                if weights or "/data/" not in part.filename:
                    _read(archive, part)
    except InputError:
        raise
    except zipfile.BadZipFile as error:
        if "CRC" not in str(error):
            raise InputError(f"checkpoint {path} is cut off or not a checkpoint: {error}") from error
        raise InputError(f"checkpoint {path} is damaged ({error}): use another checkpoint or copy it again") from error
    except Exception as error:  # a damaged table of contents raises many types
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"checkpoint {path} is cut off or not a checkpoint: {reason}") from error


def _check_sizes(path: Path, parts: list[zipfile.ZipInfo], weights: bool) -> None:
    """Refuse an archive whose contents are larger than the file, so that reading it needs no more memory than that.

    A file with holes can claim more than any memory, and take no space.
    """
    total, size = sum(part.file_size for part in parts), path.stat().st_size
    if total > size or any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise InputError(
            f"checkpoint {path} is a compressed archive, {size:,} bytes that hold {total:,}: save it with torch.save, "
            "which does not compress"
        )
    if weights and total > (most := machine_memory()):
        raise InputError(
            f"checkpoint {path} holds {total:,} bytes, more than three quarters of this machine's memory ({most:,}): "
            "use a smaller model, or a machine with more memory"
        )


def _read(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> None:
    with archive.open(part) as file:
        while file.read(_BLOCK):  # compares the checksum at the end
            pass
