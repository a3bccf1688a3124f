"""Metrics are bitwise equal for any number of processes, and every sample is evaluated once.

The processes are forked, which saves the start of Python; ``test_ddp`` starts real ones.
"""

import json

import pytest
import torch
from helpers import tiny
from lightning import Trainer
from lightning.pytorch.callbacks import Callback

from velm_lightning.data import MultimodalData
from velm_lightning.fusion import EarlyFusion, InteractiveFusion, LateFusion
from velm_lightning.tasks import Classification, Generation, MaskedLM, Mixture, Retrieval
from velm_lightning.tasks.scorers import VQAAccuracy
from velm_lightning.types import Sample

pytestmark = [
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*(isinstance.treespec|many workers|eval mode)"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
]
COUNT = 37  # a prime, so that no number of processes divides it


class Write(Callback):
    """Writes the rows and metrics of an evaluation to a file, from the first process."""

    def __init__(self, path):
        self.path = path

    def on_validation_end(self, trainer, pl_module):
        assert trainer.world_size == 1 or len(trainer.val_dataloaders.sampler) < COUNT
        if trainer.is_global_zero:
            metrics = pl_module.task.compute_metrics(pl_module.rows)
            self.path.write_text(json.dumps([metrics, [row[:7] for row in pl_module.rows]]))


def questions(count, annotators):
    """Questions with the answers of one annotator, or of several who disagree."""
    for i in range(count):
        answers = tuple(tiny.ANSWERS[(i * i + n * (i % 3)) % 3] for n in range(annotators))
        weights = {answer: min(1.0, answers.count(answer) / min(3, annotators)) for answer in answers}
        yield Sample(f"q{i:02}", tiny.picture(i), tiny.TEXTS[i % 3], weights, answers, f"group {i % 2}")


def sentences(count):
    """Prompts with one to three reference sentences, each of some of the words."""
    words = tiny.TEXTS[3].split()
    for i in range(count):
        references = tuple(" ".join(words[n : 3 + (i + n) % 6]) for n in range(1 + i % 3))
        yield Sample(f"s{i:02}", tiny.picture(i), tiny.TEXTS[i % 3], references[0], references)


TASKS = {
    "accuracy": (lambda: Classification(), lambda count: questions(count, 1)),
    "vqa accuracy": (lambda: Classification(scorer=VQAAccuracy()), lambda count: questions(count, 10)),
    "captions": (lambda: Generation(), sentences),
}


def evaluated(kind, world, folder):
    make, samples = TASKS[kind]
    data = MultimodalData(tiny.Samples(train=list(samples(60)), val=list(samples(COUNT))), batch_size=2)
    model = tiny.fusion(LateFusion, vocabulary=data.vocabulary, task=make())
    path = folder / f"{world}.json"
    several = {"strategy": "ddp_fork"} if world > 1 else {}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "use_distributed_sampler": False}
    trainer = Trainer(
        accelerator="cpu",
        devices=world,
        logger=False,
        callbacks=Write(path),
        default_root_dir=folder,
        **several,
        **quiet,
    )
    trainer.validate(model, data, verbose=False)
    return json.loads(path.read_text())


@pytest.mark.parametrize("kind", TASKS)
def test_metrics_are_equal_for_any_number_of_processes(kind, tmp_path):
    results = {}
    for world in (1, 2, 3):
        torch.manual_seed(0)  # the same weights
        results[world] = evaluated(kind, world, tmp_path)
    metrics, rows = results[1]
    assert results[2] == results[3] == results[1]
    assert [row[0] for row in rows] == sorted({row[0] for row in rows})
    assert len(rows) == COUNT
    if kind == "captions":
        assert {"bleu_4", "cider_d"} <= metrics.keys()
    else:
        assert 0 < metrics["score"] < 1, "some predictions are right and some are wrong"


PAIRED = {
    "retrieval": lambda: Retrieval(width=6),
    "masked words": lambda: MaskedLM(),
    "mixture": lambda: Mixture({"words": MaskedLM(), "pairs": Retrieval(width=6)}),
}


@pytest.mark.parametrize("kind", [EarlyFusion, InteractiveFusion, LateFusion])
@pytest.mark.parametrize("task", [*TASKS, *PAIRED])
def test_every_task_runs_in_half_precision(kind, task, tmp_path):
    if task in PAIRED:
        make, samples = PAIRED[task], [sample._replace(target=None) for sample in sentences(6)]
    else:
        make, samples = TASKS[task][0], list(TASKS[task][1](6))
    data = MultimodalData(tiny.Samples(train=samples, val=samples), batch_size=3)
    trainer = Trainer(
        accelerator="cpu", precision="bf16-mixed", max_epochs=1, logger=False, enable_checkpointing=False,
        num_sanity_val_steps=0, enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(tiny.fusion(kind, vocabulary=data.vocabulary, task=make()), data)
    assert torch.isfinite(trainer.callback_metrics["val/score"])
