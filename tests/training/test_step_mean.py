"""An optimiser step learns from the mean over all its items, in however many micro-batches and processes."""

import pytest
import torch
from helpers import tiny
from lightning import Trainer
from lightning.pytorch.callbacks import Callback

from velm_lightning.data import MultimodalData, TrainedTokenizer
from velm_lightning.data.split import Split
from velm_lightning.fusion import EarlyFusion
from velm_lightning.tasks import Classification, Generation, MaskedLM, SelfCritical
from velm_lightning.tracking.train_log import TrainLog
from velm_lightning.training import Optimization
from velm_lightning.types import Sample

pytestmark = pytest.mark.filterwarnings("ignore:.*(isinstance.treespec|many workers|multi-threaded)")
LONG = "ein roter kreis neben dem blauen stern ist ein kleiner grauer punkt"
WORDS = dict.fromkeys(LONG.split())


def sentence(i, target, text="what is there ?"):
    return Sample(f"s{i}", tiny.picture(i), text, target, (target,))


def sentences():
    """Targets of 1 and 12 words."""
    return [sentence(0, "kreis"), sentence(1, LONG)]


def texts():
    """Texts of 1 and 12 words, of which some are hidden."""
    return [sentence(i, None, text)._replace(references=()) for i, text in enumerate(("kreis", LONG))]


class Keyed(MaskedLM):
    """Hides the same words of a sample in whatever batch it is."""

    def _chances(self, batch):
        self.training = False
        return super()._chances(batch)


class Known(SelfCritical):
    """Draws the same sentences for a sample in whatever batch it is."""

    def sentences(self, model, batch, decoding=None):
        every = [super(Known, self).sentences(model, row, decoding) for row in map(alone(batch), range(batch.size))]
        return [found for (found,) in every]


def alone(batch):
    def row(i):
        torch.manual_seed(int(batch.ids[i].sum()))
        width = int(batch.mask[i].sum())
        one = type(batch)._make(field[i : i + 1] for field in batch)
        return one._replace(ids=one.ids[:, :width], mask=one.mask[:, :width], block_ids=one.block_ids[:, :width])

    return row


class Rows(TrainLog):
    """The gradient of every optimiser step, and the loss that is logged of it."""

    def __init__(self):
        super().__init__()
        self.gradients, self.losses = [], []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.gradients.append(torch.cat([p.grad.flatten() for p in pl_module.parameters()]))

    def on_train_batch_end(self, trainer, *arguments):
        self.loss = None
        super().on_train_batch_end(trainer, *arguments)
        self.losses += [] if self.loss is None else [self.loss]


def steps(samples, task, batch_size, batches=1, world=1, folder=None):
    """The steps of one epoch; nothing is learned, so that each of them is of the same weights."""
    torch.manual_seed(0)
    words = TrainedTokenizer("word")  # so that some drawn sentence is a right one
    data = MultimodalData(tiny.Samples(train=samples), batch_size=batch_size, tokenizer=words)
    model = tiny.fusion(
        EarlyFusion,
        vocabulary=data.vocabulary,
        image_encoder=tiny.vit(),
        text_encoder=tiny.transformer(dropout=0.0),
        task=task(),
        optimization=Optimization(learning_rate=0.0),
    )
    rows = Rows()
    trainer = Trainer(
        accelerator="cpu",
        devices=world,
        strategy="ddp_fork" if world > 1 else "auto",
        accumulate_grad_batches=batches,
        max_epochs=1,
        limit_val_batches=0,
        log_every_n_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[rows, *([Write(folder / "found.pt")] if folder else [])],
    )
    trainer.fit(model, data)
    return torch.load(folder / "found.pt") if folder else (rows.gradients, rows.losses, rows.epoch_loss)


class Write(Callback):
    """Brings what the first process found out of it."""

    def __init__(self, path):
        self.path = path

    def on_train_end(self, trainer, pl_module):
        rows = trainer.callbacks[0]
        if trainer.is_global_zero:
            torch.save((rows.gradients, rows.losses, rows.epoch_loss), self.path)


def cosine(a, b):
    return float(torch.nn.functional.cosine_similarity(a.double(), b.double(), dim=0))


TASKS = {
    "captions of 1 and 12 words": (Generation, sentences),
    "masked words of texts of 1 and 12": (lambda: Keyed(share=0.5), texts),
    "answers": (lambda: Classification(dropout=0.0), lambda: tiny.many(2)),
    "drawn sentences": (lambda: Known(samples=2, max_length=4), sentences),
}


@pytest.mark.parametrize("kind", TASKS)
def test_two_micro_batches_learn_what_one_batch_learns(kind):
    task, samples = TASKS[kind]
    (whole,), (loss,), mean = steps(samples(), task, batch_size=2)
    (found,), (logged,), epoch = steps(samples(), task, batch_size=1, batches=2)
    assert cosine(found, whole) == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-6)
    assert logged == pytest.approx(loss, rel=1e-5) == epoch
    assert mean == pytest.approx(loss, rel=1e-6)


def test_a_step_that_the_epochs_end_cuts_short_is_as_large():
    """Three samples in steps of two: the last step has one, and divides by one."""
    task, samples = TASKS["answers"][0], tiny.many(3)
    singles, losses, _ = steps(samples, task, batch_size=1)
    found, logged, mean = steps(samples, task, batch_size=1, batches=2)
    assert len(found) == len(logged) == 2, "one row per optimiser step"
    torch.testing.assert_close(found[0], (singles[0] + singles[1]) / 2, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found[1], singles[2], rtol=1e-4, atol=1e-6)
    assert logged == pytest.approx([(losses[0] + losses[1]) / 2, losses[2]])
    assert mean == pytest.approx(sum(losses) / 3)


def test_samples_that_are_left_out_have_no_weight(monkeypatch):
    """Two micro-batches of which one has lost a sample, as where a picture cannot be read."""
    task, samples = TASKS["answers"][0], tiny.many(4)
    read, first = Split.pictured, []

    def lossy(self, indices):
        first.append(indices)
        return read(self, indices[:1] if len(first) == 1 else indices)

    singles, losses, _ = steps(samples, task, batch_size=1)
    monkeypatch.setattr(Split, "pictured", lossy)
    (found,), (logged,), _ = steps(samples, task, batch_size=2, batches=2)
    torch.testing.assert_close(found, (singles[0] + singles[2] + singles[3]) / 3, rtol=1e-4, atol=1e-6)
    assert logged == pytest.approx((losses[0] + losses[2] + losses[3]) / 3)


@pytest.mark.slow
def test_two_processes_learn_and_log_what_one_does(tmp_path):
    (whole,), (loss,), _ = steps(sentences(), Generation, batch_size=2)
    (found,), (logged,), epoch = steps(sentences(), Generation, batch_size=1, world=2, folder=tmp_path)
    assert cosine(found, whole) == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-6)
    assert logged == pytest.approx(loss, rel=1e-5) == epoch
