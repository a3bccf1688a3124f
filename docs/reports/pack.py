"""Packs run folders for the pages of the documentation: records, configs and test predictions, without prompts.

python docs/reports/pack.py docs/reports/digits.tar.xz runs/digits/*
"""

import json
import sys
import tarfile
from io import BytesIO
from pathlib import Path

ROW = ("key", "image", "group", "prediction", "references", "score", "confidence")
RECORD = (
    "id",
    "status",
    "started",
    "seed",
    "modalities",
    "meeting",
    "data",
    "signature",
    "versions",
    "scores",
    "imported",
)
RECORD += (
    "training_flops_per_sample",
    "inference_flops_per_sample",
    "parameters",
    "trainable",
    "device_minutes",
    "floors",
)


def files(run: Path) -> dict[str, str]:
    """Return the files of a run that its page needs; groups are the first word of the prompt if the data name none."""
    record = json.loads((run / "run.json").read_text("utf-8"))
    command = ["velm", *record.get("command", ["velm"])[1:]]
    kept = {name: record[name] for name in RECORD if name in record} | {"command": command}
    kept["scores"] = {split: figures for split, figures in record["scores"].items() if split in ("val", "test")}
    rows = [json.loads(line) for line in (run / "predictions" / "test.jsonl").read_text("utf-8").splitlines()]
    for row in rows:
        row["group"] = row.get("group") or str(row.get("prompt") or "").partition(" ")[0].lower()
        row["confidence"] = row.get("confidence") and round(row["confidence"], 2)
    lines = "".join(json.dumps({name: row.get(name) for name in ROW}, ensure_ascii=False) + "\n" for row in rows)
    found = {"run.json": json.dumps(kept), "predictions/test.jsonl": lines}
    config = run / "config.yaml"
    return found | ({"config.yaml": config.read_text("utf-8")} if config.is_file() else {})


def main(archive: str, *runs: str) -> None:
    """Write an archive that depends on the contents of the runs only."""
    with tarfile.open(archive, "w:xz") as packed:
        for run in map(Path, sorted(runs)):
            for name, text in files(run).items():
                entry = tarfile.TarInfo(f"{run.name}/{name}")
                entry.size = len(text.encode())
                packed.addfile(entry, BytesIO(text.encode()))


if __name__ == "__main__":
    main(*sys.argv[1:])
