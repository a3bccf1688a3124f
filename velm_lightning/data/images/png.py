"""PNG files whose texts or colour profile cannot be read, but whose pixels can."""

from __future__ import annotations

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_REMARKS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")


def without_remarks(content: bytes) -> bytes:
    """Return a PNG file without its texts and colour profile, which do not change the pixels.

    Decoders limit the size of both, because a few bytes can claim gigabytes.
    """
    parts, at = [content[: len(_SIGNATURE)]], len(_SIGNATURE)
    while at + 8 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        if content[at + 4 : at + 8] not in _REMARKS:
            parts.append(content[at:end])
        at = end
    return b"".join(parts)
