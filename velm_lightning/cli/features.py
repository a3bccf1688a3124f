"""``velm features``: runs a config's frozen image encoder once over all images and caches the features."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from velm_lightning.cli.start.faults import one_sentence
from velm_lightning.cli.start.hints import no_file
from velm_lightning.errors import InputError
from velm_lightning.io.console import echo
from velm_lightning.io.paths import user_path

if TYPE_CHECKING:
    from velm_lightning.data import MultimodalData
    from velm_lightning.fusion import Fusion


def parts(arguments: Sequence[str]) -> tuple[Fusion, MultimodalData]:
    """Build model and data from the arguments of ``velm fit``, without trainer and run folder."""
    from velm_lightning.cli.fit import VelmCLI
    from velm_lightning.nn.size_limit import machine_memory, size_limit
    from velm_lightning.tracking.quiet import QUIET

    class Parts(VelmCLI):
        @override
        def instantiate_classes(self) -> None:
            with one_sentence(), size_limit(machine_memory(), "the memory of this machine"):
                self.config_init = self.parser.instantiate(self.config)
            self.datamodule, self.model = (self._get(self.config_init, name) for name in ("data", "model"))

        @override
        def _run_subcommand(self, subcommand: str) -> None:
            pass

    for message in (*QUIET, "LightningCLI's args parameter"):
        warnings.filterwarnings("ignore", message=message)
    built: Any = Parts(save_config_callback=None, args=["fit", *arguments])
    return built.model, built.datamodule


def main(words: Sequence[str]) -> int:
    """Compute the missing features and print a summary."""
    parser = argparse.ArgumentParser(
        "velm features",
        usage="velm features CONFIG [options of velm fit]",
        description="Run the frozen image encoder of a config once over all images; `velm fit` with "
        "data.cache_features: true then trains from the cached features. "
        "Processes that share a cache folder share the work.",
    )
    parser.add_argument("config", type=user_path, help="a YAML file as for velm fit --config")
    options, others = parser.parse_known_args(list(words)[1:])
    if not options.config.is_file():
        raise InputError(no_file(options.config))
    import torch

    from velm_lightning.io.terminal import Console, Table
    from velm_lightning.types import SPLITS

    model, data = parts(["--config", str(options.config), *others, "--data.cache_features", "true"])
    data.connect(model.to("cuda" if torch.cuda.is_available() else "cpu"))
    if data.encoder is None:
        raise InputError(f"model.class_path={type(model).__name__} has no image encoder: name another fusion")
    table = Table("split", "samples", "images", "encoded now")
    for name in filter(data.has, SPLITS):
        features = data.with_features(name).features
        assert features is not None, "connect() has set the encoder"
        folder = features.folder
        table.add_row(name, *(f"{number:,}" for number in (len(features), features.num_images, features.num_computed)))
    size = sum(file.stat().st_size for file in folder.iterdir())
    Console().print(table)
    echo(f"features: {folder} ({size / 1e6:,.1f} MB)")
    return 0
