"""Command lines as the tests give them: in this process where only the words matter, or as a user starts them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from velm_lightning.cli.fit import VelmCLI, main

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
FEW = [f"--data.dataset.init_args.{split}={count}" for split, count in (("train", 4), ("val", 3), ("test", 2))]
SMALL = [  # a model of conf/vqa.yaml that is as small as can be
    "--data.dataset.init_args.size=16",
    "--model.init_args.image_encoder.init_args.size=16",
    "--model.init_args.image_encoder.init_args.widths=[8,8]",
    "--model.init_args.text_encoder.init_args.dim=8",
    "--model.init_args.text_encoder.init_args.heads=2",
    "--model.init_args.text_encoder.init_args.depth=1",
]


def prepared(monkeypatch, *words, build=True):
    """Everything that ``velm WORDS`` would start with: parsed, and built unless only the words are of interest."""
    found = []
    monkeypatch.setattr(sys, "argv", ["velm"])  # Lightning warns of words given twice
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.setenv(name, "0")  # the command line sets them, and the test takes them back
    with monkeypatch.context() as patch:
        patch.setattr(VelmCLI, "_run_subcommand", lambda self, name: found.append(self))
        if not build:
            patch.setattr(VelmCLI, "instantiate_classes", lambda self: None)
        main(list(map(str, words)))
    return found[0]


def velm(*words, cwd, timeout=600, **environment):
    """Run the console script in a process of its own; its output is text."""
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
