"""Images, and files with only an image header, for tests of image loading."""

import struct
import zlib

import numpy as np
from PIL import Image


def smooth(width: int, height: int) -> Image.Image:
    """An image without hard edges, similar to a photo."""
    x, y = np.meshgrid(np.linspace(0, 3, width), np.linspace(0, 2, height))
    planes = [np.sin(x) * 99 + 128, np.cos(y) * 99 + 128, np.sin(x + y) * 99 + 128]
    return Image.fromarray(np.stack(planes, -1).astype(np.uint8))


def png_header(width: int, height: int) -> bytes:
    size = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [size, b"IDAT" + zlib.compress(bytes(99))]
    coded = [struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) for body in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(coded)


def jpeg_header(width: int, height: int) -> bytes:
    frame = b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", height, width) + b"\x03\x01\x11\x00\x02\x11\x00\x03\x11\x00"
    return b"\xff\xd8" + frame + b"\xff\xda\x00\x0c\x03\x01\x00\x02\x00\x03\x00\x00\x3f\x00" + bytes(64)
