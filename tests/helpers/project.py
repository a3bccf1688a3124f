"""A folder with data and a finished run, to call commands in."""

import json

from helpers.command_line import CONF, SMALL
from PIL import Image

COLOURS = {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250), "grey": (99, 99, 99)}


FIT = [
    *("fit", "--config", CONF / "vqa.yaml", "--model=LateFusion", "--data.dataset=JSONLines"),
    *(f"--data.dataset.init_args.{split}={split}.jsonl" for split in ("train", "val", "test")),
    *(word for word in SMALL if "dataset" not in word),
    *("--data.batch_size=4", "--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1"),
    *("--trainer.accelerator=cpu", "--tracking.wandb=off", "--trainer.enable_progress_bar=false"),
    "--trainer.enable_model_summary=false",
]


def write(file, answers):
    """Write one question per line about an image whose colour is the answer."""
    rows = [{"image": f"{answer}.png", "text": "what colour ?", "answers": answer} for answer in answers]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


class Project:
    """A folder with data and one finished run, to call commands in."""

    def __init__(self, folder, here_in):
        self.folder, self.here = folder, lambda *words: here_in(folder, *words)
        for name, colour in COLOURS.items():
            Image.new("RGB", (16, 16), colour).save(folder / f"{name}.png")
        self.data()

    def data(self, train=("red", "green", "blue", "grey") * 2, test=("red", "blue", "grey")):
        write(self.folder / "train.jsonl", train)
        write(self.folder / "val.jsonl", ("red", "green", "blue", "grey"))
        write(self.folder / "test.jsonl", test)

    @property
    def run(self):
        (folder,) = (self.folder / "runs" / "vqa").iterdir()
        return folder

    @property
    def record(self):
        return json.loads((self.run / "run.json").read_text())

    @property
    def config(self):
        return "--config", self.run / "config.yaml"

    def evaluate(self, command, *words, checkpoint="best"):
        return self.here(command, *self.config, f"--ckpt_path={self.run}/checkpoints/{checkpoint}.ckpt", *words)

    def predictions(self, name):
        return (self.run / "predictions" / f"{name}.jsonl").read_text()

    def kept(self):
        """The entries of the run's own test split."""
        gallery = (self.run / "gallery" / "test.png").read_bytes()
        return self.record["scores"]["test"], self.record["signature"], self.predictions("test"), gallery
