"""The data module that a config, a file of its data section or a path names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from velm_lightning.cli.start.faults import one_sentence
from velm_lightning.cli.start.words import data_class
from velm_lightning.errors import InputError
from velm_lightning.io.config_files import SUFFIXES
from velm_lightning.io.paths import expand_home

if TYPE_CHECKING:
    from velm_lightning.cli.parsing.parser import Parser
    from velm_lightning.data import MultimodalData


def data_of(config: Path, options: Sequence[str] = ()) -> MultimodalData:
    """Build the data module that ``config`` names: a whole config, a file with only its ``data`` section, or data.

    Args:
        config: A YAML file, or a file or folder for ``DataFiles``.
        options: ``--data.…`` arguments, as for ``velm fit``.

    Raises:
        InputError: If the file is missing, is not YAML, or has no such section.
    """
    from velm_lightning.cli.parsing.parser import Parser
    from velm_lightning.data import MultimodalData
    from velm_lightning.io.yaml_files import read_yaml

    expand_home()
    parser = Parser()
    parser.add_class_arguments(MultimodalData, "data")
    if not config.name.endswith(SUFFIXES):
        files = {"dataset": {"class_path": data_class(config), "init_args": {"path": str(config)}}}
        start = parser.parse_object({"data": files})
        return _built(parser, parser.parse_args(list(options), namespace=start) if options else start)
    content = read_yaml(config)
    section: Any = None
    if isinstance(content, dict):
        section = content if "dataset" in content else content.get("data")
    if not isinstance(section, dict | str):
        raise InputError(
            f"config {config} has no `data` section: name a config as for `velm fit`, or a file of conf/data"
        )
    if isinstance(section, str):  # a file, relative to the config
        given = ["--data", os.path.join(config.parent, section)]
        return _built(parser, parser.parse_args([*given, *options]))
    start = parser.parse_object({"data": section})
    return _built(parser, parser.parse_args(list(options), namespace=start) if options else start)


def _built(parser: Parser, config: object) -> MultimodalData:
    with one_sentence():
        module: MultimodalData = parser.instantiate(config).data
    return module
