"""Write three data sets as a user would have them, CSV files and a folder of images, for ``velm init``.

python examples/user_tables.py ../shared/data tables

DAQUAR (questions), 1,050 photos of Flickr8k (captions), and drawn posts (labels); see "What velm init writes" in
docs/results.md.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from velm_lightning.data.synthetic.face_posts import FacePosts

PHOTOS = {"train": 600, "val": 150, "test": 300}
POSTS = {"train": 1500, "test": 800}


def daquar(source: Path, target: Path) -> None:
    """Write ``daquar/train.csv`` and ``test.csv``; the images stay where they are."""
    for split in ("train", "test"):
        rows = json.loads((source / f"daquar/{split}.json").read_text())
        names = ("image", "question", "answer")
        write(target / f"daquar/{split}.csv", names, ([row[name] for name in names] for row in rows))


def flickr8k(source: Path, target: Path) -> None:
    """Write ``flickr8k/*.csv`` with the five captions of the first photos of each split, one per row."""
    for split, count in PHOTOS.items():
        content = json.loads((source / f"flickr8k/captions_{split}.json").read_text())
        names = {image["id"]: image["file_name"] for image in content["images"]}
        chosen = set(sorted(names.values())[:count])
        rows = [(names[each["image_id"]], each["caption"]) for each in content["annotations"]]
        write(target / f"flickr8k/{split}.csv", ("image", "caption"), (row for row in rows if row[0] in chosen))


def posts(target: Path) -> None:
    """Write ``posts/*.csv`` and ``posts/photos``: drawn faces of 96 px with a few words and a sentiment."""
    data = FacePosts(train=POSTS["train"], val=1, test=POSTS["test"], size=96)
    (target / "posts/photos").mkdir(parents=True, exist_ok=True)
    for split in POSTS:
        samples = data.split(split)
        for sample in samples:
            Image.fromarray(sample.image.permute(1, 2, 0).numpy()).save(target / f"posts/photos/{sample.key}.png")
        rows = [(f"{sample.key}.png", sample.text, sample.references[0]) for sample in samples]
        write(target / f"posts/{split}.csv", ("image", "text", "sentiment"), rows)


def write(path: Path, names: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Write a CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([names, *rows])


if __name__ == "__main__":
    data, tables = map(Path, sys.argv[1:3])
    posts(tables)
    if data.is_dir():
        daquar(data, tables)
        flickr8k(data, tables)
