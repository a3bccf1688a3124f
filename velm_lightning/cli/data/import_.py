"""``velm data import``: writes any data as shards and an index."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from velm_lightning.cli.start.hints import no_file
from velm_lightning.errors import InputError
from velm_lightning.io.console import command, echo
from velm_lightning.io.paths import stands_for_files, user_path


def main(words: Sequence[str]) -> int:
    """Write the data, and print the number of samples and the next command; the exit code is 0."""
    parser = argparse.ArgumentParser(
        "velm data import",
        description="Write the samples and images of any data as shards and an index, which training reads without "
        "holding all samples in memory.",
        epilog="example: velm data import photos.csv --to photos_imported",
    )
    parser.add_argument("data", type=user_path, help="your data, a config, or a file of its data section")
    parser.add_argument("--to", type=user_path, required=True, metavar="FOLDER", help="the new folder")
    options, others = parser.parse_known_args(list(words))
    if not options.data.exists() and not stands_for_files(options.data):
        raise InputError(f"velm data import {no_file(options.data)}")
    from velm_lightning.cli.data.load import data_of
    from velm_lightning.data.stored.importing import import_dataset

    counts = import_dataset(data_of(options.data, others).dataset, options.to)
    echo(", ".join(f"{name}: {count:,} samples" for name, count in counts.items() if count))
    check, fit = command("velm", "data", "check", options.to), command("velm", "fit", "vqa", "--data", options.to)
    echo(f"wrote {options.to}; next:\n  {check}\n  {fit}")
    return 0
