"""Small data files in many formats, written by the tools that people write them with."""

import io

import datasets
from PIL import Image

COLOURS = ["red", "green", "blue", "orange"]


def png(colour, size=(12, 8)):
    """The bytes of an image file of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def rows(count=8):
    """Questions about images of one colour, as a list of dictionaries with the bytes of the images."""
    return [
        {
            "image": {"bytes": png(COLOURS[n % 4], (12 + n, 8)), "path": f"{n}.png"},
            "question": "what colour is it?",
            "answer": COLOURS[n % 4],
        }
        for n in range(count)
    ]


def table(count=8):
    """The same as a table of ``datasets``."""
    table = datasets.Dataset.from_list(rows(count))
    return table.cast_column("image", datasets.Image())


def photos(folder, count=8):
    """The images as files ``0.png``, ``1.png`` …"""
    folder.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(rows(count)):
        (folder / f"{number}.png").write_bytes(row["image"]["bytes"])
    return folder
