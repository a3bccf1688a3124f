"""Two processes, one of whose batches has no image in any step, train like one process with both samples."""

import json

import pytest
import torch
from helpers.command_line import CONF, velm
from helpers.pictures import smooth

pytestmark = pytest.mark.slow

QUESTION = {"role": "user", "content": "what is it?"}
REPLY = {"role": "assistant", "content": "a cat"}
WORDS = [
    *("--config", CONF / "conversations.yaml", "--model=EarlyFusion", "--model.init_args.image_encoder=SmallViT"),
    *("--data.dataset=Conversations", *(f"--data.dataset.init_args.{split}=train.jsonl" for split in ("train", "val"))),
    *(f"--model.init_args.image_encoder.init_args.{name}" for name in ("size=16", "patch=8", "dim=16", "depth=1")),
    *(f"--model.init_args.text_encoder.init_args.{name}" for name in ("dim=16", "heads=2", "depth=1", "dropout=0")),
    *("--trainer.max_epochs=4", "--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"),
    *("--tracking.wandb=off", "--test_after_fit=false"),
]


def fit(folder, *words):
    folder.mkdir()
    smooth(20, 16).save(folder / "a.png")
    rows = [{"messages": [QUESTION, REPLY], "image": "a.png"}, {"messages": [QUESTION, REPLY]}]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = velm("fit", *WORDS, *words, cwd=folder, timeout=300, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    (run,) = (folder / "runs" / "conversations").iterdir()
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_processes_without_an_image_train_like_all_others(tmp_path):
    two = fit(tmp_path / "two", "--data.batch_size=1", "--trainer.devices=2", "--trainer.strategy=ddp")
    one = fit(tmp_path / "one", "--data.batch_size=2", "--trainer.devices=1")
    assert two.keys() == one.keys()
    torch.testing.assert_close(two, one, atol=1e-4, rtol=1e-3)
