"""Run ``velm`` commands in this process, up to the start of the run, or in a subprocess."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from velm_lightning.cli.fit import VelmCLI, main

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
FEW = [f"--data.dataset.init_args.{split}={count}" for split, count in (("train", 4), ("val", 3), ("test", 2))]
SMALL = [  # the smallest model for conf/vqa.yaml
    "--data.dataset.init_args.size=16",
    "--model.init_args.image_encoder.init_args.size=16",
    "--model.init_args.image_encoder.init_args.widths=[8,8]",
    "--model.init_args.text_encoder.init_args.dim=8",
    "--model.init_args.text_encoder.init_args.heads=2",
    "--model.init_args.text_encoder.init_args.depth=1",
]


def prepared(monkeypatch, *words, build=True):
    """Return the command-line object of ``velm WORDS``, parsed and, if ``build``, instantiated, without running it."""
    parsed = []
    monkeypatch.setattr(sys, "argv", ["velm"])  # Lightning warns if arguments are also in sys.argv
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.setenv(name, "0")  # the command line sets them, and monkeypatch restores them
    with monkeypatch.context() as patch:
        patch.setattr(VelmCLI, "_run_subcommand", lambda self, name: parsed.append(self))
        if not build:
            patch.setattr(VelmCLI, "instantiate_classes", lambda self: None)
        main(list(map(str, words)))
    return parsed[0]


def velm(*words, cwd, timeout=600, **environment):
    """Run the console script in a subprocess with text output."""
    script = shutil.which("velm", path=Path(sys.executable).parent)
    command = [script] if script else [sys.executable, "-m", "velm_lightning"]
    return subprocess.run(
        [*command, *map(str, words)],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
