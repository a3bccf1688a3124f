"""An optimiser step uses the mean over all its items, for any number of micro-batches and processes."""

import pytest
import torch
from helpers import tiny
from lightning import Trainer
from lightning.pytorch.callbacks import Callback

from velm_lightning.data import MultimodalData, TrainedTokenizer
from velm_lightning.data.split import Split
from velm_lightning.fusion import EarlyFusion
from velm_lightning.tasks import Classification, Generation, MaskedLM, SelfCritical
from velm_lightning.tracking.callbacks.train_log import TrainLog
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
    """Masks the same words of a sample in every batch."""

    def _chances(self, batch):
        self.training = False
        return super()._chances(batch)


class Known(SelfCritical):
    """Samples the same sentences for a sample in every batch."""

    def sentences(self, model, batch, decoding=None):
        every = [super(Known, self).sentences(model, row, decoding) for row in map(single(batch), range(batch.size))]
        return [sentences for (sentences,) in every]


def single(batch):
    def row(i):
        torch.manual_seed(int(batch.ids[i].sum()))
        width = int(batch.mask[i].sum())
        sample = type(batch)._make(field[i : i + 1] for field in batch)
        words = ("ids", "mask", "block_ids", "target_mask")
        return sample._replace(**{name: getattr(sample, name)[:, :width] for name in words})

    return row


class Rows(TrainLog):
    """Records the gradient and the logged loss of every optimiser step."""

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
    """Run one epoch at learning rate 0, so that all its steps have the same weights."""
    torch.manual_seed(0)
    data = MultimodalData(tiny.Samples(train=samples), batch_size=batch_size, tokenizer=TrainedTokenizer(kind="word"))
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
        callbacks=[rows, *([Write(folder / "results.pt")] if folder else [])],
    )
    trainer.fit(model, data)
    return torch.load(folder / "results.pt") if folder else (rows.gradients, rows.losses, rows.epoch_loss)


class Write(Callback):
    """Writes the results of the first process to a file."""

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
def test_two_micro_batches_have_the_gradient_of_one_batch(kind):
    task, samples = TASKS[kind]
    (whole,), (loss,), mean = steps(samples(), task, batch_size=2)
    (gradient,), (logged,), epoch = steps(samples(), task, batch_size=1, batches=2)
    assert cosine(gradient, whole) == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(gradient, whole, rtol=1e-4, atol=1e-6)
    assert logged == pytest.approx(loss, rel=1e-5) == epoch
    assert mean == pytest.approx(loss, rel=1e-6)


def test_the_incomplete_last_step_of_an_epoch_is_a_mean():
    """Three samples in steps of two: the last step has one, and divides by one."""
    task, samples = TASKS["answers"][0], tiny.many(3)
    singles, losses, _ = steps(samples, task, batch_size=1)
    gradients, logged, mean = steps(samples, task, batch_size=1, batches=2)
    assert len(gradients) == len(logged) == 2, "one row per optimiser step"
    torch.testing.assert_close(gradients[0], (singles[0] + singles[1]) / 2, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(gradients[1], singles[2], rtol=1e-4, atol=1e-6)
    assert logged == pytest.approx([(losses[0] + losses[1]) / 2, losses[2]])
    assert mean == pytest.approx(sum(losses) / 3)


def test_skipped_samples_have_no_weight(monkeypatch):
    """Two micro-batches, one of which lacks a sample, as if its image could not be read."""
    task, samples = TASKS["answers"][0], tiny.many(4)
    read, first = Split.pictured, []

    def lossy(self, indices):
        first.append(indices)
        return read(self, indices[:1] if len(first) == 1 else indices)

    singles, losses, _ = steps(samples, task, batch_size=1)
    monkeypatch.setattr(Split, "pictured", lossy)
    (gradient,), (logged,), _ = steps(samples, task, batch_size=2, batches=2)
    torch.testing.assert_close(gradient, (singles[0] + singles[2] + singles[3]) / 3, rtol=1e-4, atol=1e-6)
    assert logged == pytest.approx((losses[0] + losses[2] + losses[3]) / 3)


@pytest.mark.slow
def test_two_processes_have_the_gradient_and_loss_of_one(tmp_path):
    (whole,), (loss,), _ = steps(sentences(), Generation, batch_size=2)
    (gradient,), (logged,), epoch = steps(sentences(), Generation, batch_size=1, world=2, folder=tmp_path)
    assert cosine(gradient, whole) == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(gradient, whole, rtol=1e-4, atol=1e-6)
    assert logged == pytest.approx(loss, rel=1e-5) == epoch


@pytest.mark.slow
def test_a_process_without_readable_images_has_no_weight(tmp_path, monkeypatch):
    """Of two processes one lacks its sample: the step and its logged loss are those of the other sample alone."""
    task, samples, order = TASKS["answers"][0], tiny.many(2), []
    read = Split.pictured

    def noting(self, indices):
        order.extend(indices)
        return read(self, indices)

    monkeypatch.setattr(Split, "pictured", noting)
    singles, losses, _ = steps(samples, task, batch_size=1)
    kept = order.index(1)
    monkeypatch.setattr(Split, "pictured", lambda self, indices: read(self, [i for i in indices if i == 1]))
    (gradient,), (logged,), epoch = steps(samples, task, batch_size=1, world=2, folder=tmp_path)
    torch.testing.assert_close(gradient, singles[kept], rtol=1e-4, atol=1e-6)
    assert logged == pytest.approx(losses[kept]) == epoch
