"""Metrics over real processes (gloo) of which one has no samples: the figures of one process, to the last digit."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from velm_lightning.metrics.captions import CaptionScores, score_captions
from velm_lightning.metrics.vqa import VQAAccuracy

REFERENCES = {
    f"image {i}": [f"a {a} dog runs on the {b}", f"the dog is {a}"]
    for i, (a, b) in enumerate([("big", "lawn"), ("red", "road"), ("wet", "sand"), ("shy", "snow"), ("old", "ice")])
}
HYPOTHESES = {key: lines[0].replace("runs on", "walks over") for key, lines in REFERENCES.items()}
ANSWERS = [["yes"] * count + ["no"] * (10 - count) for count in range(5)]


def work(rank, store, results):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=3)
    captions, vqa = CaptionScores(REFERENCES), VQAAccuracy()
    for place in range(rank, 5, 2) if rank < 2 else ():
        key = f"image {place}"
        captions.update([key], [HYPOTHESES[key]])
        vqa.update(["yes"], [ANSWERS[place]])
    if rank == 2:
        captions.update([], [])
        vqa.update([], [])
    torch.save((captions.compute(), vqa.compute()), f"{results}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_three_processes_give_the_figures_of_one(tmp_path):
    mp.spawn(work, args=(tmp_path / "store", tmp_path), nprocs=3)
    expected = {
        name: torch.tensor(score.corpus, dtype=torch.float64)
        for name, score in score_captions(HYPOTHESES, REFERENCES).items()
    }
    single = VQAAccuracy()
    single.update(["yes"] * 5, ANSWERS)
    for rank in range(3):
        captions, vqa = torch.load(tmp_path / f"{rank}.pt")
        assert captions == expected
        assert vqa == single.compute()
