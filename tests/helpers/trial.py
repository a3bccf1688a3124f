"""Replaces ``velm fit`` in the tests of sweeps: writes the files of a trial without training.

Settings: ``x``, the score that it approaches; ``mode``: fail, die, hang, write garbage, or wait for a file.
"""

import json
import os
import sys
import time
from pathlib import Path

settings = json.loads(Path(sys.argv[1]).read_text())
folder = Path(os.environ["VELM_SWEEP_TRIAL"])
mode = settings.get("mode", "")
run = folder / "made"
run.mkdir(exist_ok=True)
(folder / "run").write_text(str(run))
with Path(os.environ["SWEEP_LOG"]).open("a") as log:
    log.write(f"{json.dumps(settings)}\n")
if mode == "fail":
    sys.exit("something is wrong")
if mode == "die" or (mode == "die once" and not Path(f"{os.environ['SWEEP_LOG']}.died").exists()):
    Path(f"{os.environ['SWEEP_LOG']}.died").touch()
    os.kill(os.getpid(), 9)
if mode == "hang" or (mode == "hang once" and not Path(f"{os.environ['SWEEP_LOG']}.hung").exists()):
    Path(f"{os.environ['SWEEP_LOG']}.hung").touch()
    time.sleep(120)
while mode == "wait" and not Path(f"{os.environ['SWEEP_LOG']}.go").exists():
    time.sleep(0.01)
if mode == "garbage":
    (folder / "values.jsonl").write_text('[1]\n{"val/score": {}}\n')
    (run / "run.json").write_text('{"status": "finished", "scores": [3]}')
    sys.exit()
status = "finished"
for epoch in range(1, 5):
    with (folder / "values.jsonl").open("a") as file:
        file.write(json.dumps({"val/score": settings["x"] * epoch / 4}) + "\n")
    if os.environ.get("VELM_SWEEP_WAITS"):
        verdict = folder / f"verdict-{epoch}"
        while not verdict.is_file() or not verdict.read_text():
            time.sleep(0.01)
        if verdict.read_text() == "stop":
            status = "pruned"
            break
scores = {"val": {"score": settings["x"]}} if status == "finished" else {}
(run / "run.json").write_text(json.dumps({"id": folder.name, "status": status, "scores": scores}))
