"""Two processes, of which one has no image in any batch, train like one process with both samples."""

import multiprocessing
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from helpers import dialogues, tiny
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from velm_lightning.encoders import TiledEncoder
from velm_lightning.fusion import EarlyFusion, InteractiveFusion, InterleavedFusion, LateFusion, MergedFusion
from velm_lightning.tasks import Generation

FUSIONS = (EarlyFusion, InteractiveFusion, InterleavedFusion, MergedFusion, LateFusion)
ENCODERS = {"whole": lambda: tiny.vit(dropout=0.0), "tiles": lambda: TiledEncoder(tiny.vit(dropout=0.0), tiles=3)}
WIDE = torch.cat([tiny.picture(0), tiny.picture(1)], 2)
STEPS = 3


def samples():
    """Conversations of equally many learned words, with an image that has tiles, and without."""
    turns = (dialogues.user("how many ?"), dialogues.reply("ein roter kreis"))
    marked = (dialogues.user(None, "how many ?"), turns[1])
    return [dialogues.sample("with", marked, [WIDE]), dialogues.sample("without", turns)]


class Loss(nn.Module):
    """The loss of a model as a module, which DDP wraps."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, batch):
        return self.model.task.loss(self.model, batch)


def train(kind, encoder, chosen, wrap):
    """Train for a few steps and return the weights."""
    torch.manual_seed(0)
    text = tiny.transformer(dropout=0.0)
    model = tiny.fusion(kind, image_encoder=ENCODERS[encoder](), text_encoder=text, task=Generation()).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("gate"):
            nn.init.constant_(parameter, 0.5)
    loss, optimizer = wrap(Loss(model)), torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss(dialogues.batch(chosen, model.vocabulary, model.transform)).backward()
        optimizer.step()
    return model.state_dict()


def run(rank, folder, kind, encoder):
    """Train on one sample in a process of its own and write the weights."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.save(train(kind, encoder, samples()[rank : rank + 1], DistributedDataParallel), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("kind", "encoder"),
    [
        *((kind, "whole") for kind in FUSIONS[:2]),
        (EarlyFusion, "tiles"),
        *(pytest.param(kind, "whole", marks=pytest.mark.slow) for kind in FUSIONS[2:]),
        *(pytest.param(kind, "tiles", marks=pytest.mark.slow) for kind in FUSIONS[1:]),
    ],
)
def test_processes_without_an_image_train_like_all_others(kind, encoder, tmp_path):
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=run, args=(rank, str(tmp_path), kind, encoder), daemon=True) for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=200)
        assert process.exitcode == 0, "a process failed, or waits for another"
    two = [torch.load(Path(tmp_path, f"{rank}.pt")) for rank in range(2)]
    one = train(kind, encoder, samples(), lambda module: module)
    for weights in two:
        torch.testing.assert_close(weights, one, atol=1e-5, rtol=1e-4)
