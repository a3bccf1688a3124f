"""A hook of mkdocs: writes the page of `velm compare` for every archive of runs in this folder."""

import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from velm_lightning.compare.comparing import compare
from velm_lightning.compare.page import page
from velm_lightning.compare.reading import read_runs

TITLES = {
    "digits": "Questions about handwritten digits",
    "daquar": "DAQUAR: questions about indoor photos",
    "imported": "Two systems, imported from lmms-eval and inspect_ai",
}
"""The titles of the pages, by the name of the archive."""


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add the pages to the files of the site."""
    for name, title in TITLES.items():
        html = built(Path(__file__).with_name(f"{name}.tar.xz"), title)
        files.append(File.generated(config, f"reports/{name}.html", content=html))
    return files


def built(archive: Path, title: str) -> str:
    """Return the page of the runs in an archive."""
    with TemporaryDirectory() as folder:
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        return page(compare(*read_runs([Path(folder)]), rope=0.01), title)
