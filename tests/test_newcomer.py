"""The commands of the README for own data run in an empty folder with a table of 200 captioned photos."""

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from PIL import Image

import velm_lightning as velm
from velm_lightning.tracking.run_names import read_record, run_folders

ROOT = Path(__file__).parents[1]
FLICKR = ROOT.parent / "shared/data/flickr8k"
COUNT = 200


def commands():
    """The commands below "Your own data" in the README, as words."""
    (section,) = re.findall(r"## Your own data\n.*?```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [shlex.split(line, comments=True)[1:] for line in section.splitlines()]


def photos(folder):
    """Write photos and yield file name and caption; drawn images stand in for photos that are not there."""
    if FLICKR.is_dir():
        content = json.loads((FLICKR / "captions_train.json").read_text())
        captions = {row["image_id"]: row["caption"] for row in content["annotations"]}
        for row in content["images"][:COUNT]:
            shutil.copy(FLICKR / "images" / row["file_name"], folder)
            yield row["file_name"], captions[row["id"]]
    else:
        for sample in velm.ShapeCaptions(train=COUNT, val=1, test=1, size=64).split("train")[:COUNT]:
            name = f"{sample.key.replace('/', '-')}.png"
            Image.fromarray(sample.image.permute(1, 2, 0).numpy()).save(folder / name)
            yield name, sample.references[0]


@pytest.mark.slow
def test_the_commands_train_and_compare_two_fusions(tmp_path, here, capsys):
    (tmp_path / "photos").mkdir()
    with (tmp_path / "data.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("filename", "caption"), *photos(tmp_path / "photos")])
    assert len(commands()) <= 9
    for words in commands():
        short = ["--trainer.max_epochs=1", "--tracking.wandb=disabled"] if words[0] == "fit" else []
        assert here(*words, *short) == 0, capsys.readouterr().err
    records = [read_record(folder) for folder in run_folders(tmp_path / "runs")]
    assert {record["status"] for record in records} == {"finished"}
    assert len({record["model"]["class_path"] for record in records}) == 2
    output = capsys.readouterr()
    assert "paired differences" in output.out
    assert output.err == ""
