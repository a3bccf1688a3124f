"""Gradual unfreezing: which layers of a pretrained encoder learn in which epoch."""

import lightning
import pytest
import torch
from helpers import tiny
from torch.utils.data import DataLoader

from velm_lightning.fusion import LateFusion
from velm_lightning.training import GradualUnfreezing
from velm_lightning.types import InputError

QUIET = pytest.mark.filterwarnings("ignore::UserWarning:lightning", "ignore:.*isinstance")
LAYER = "text_encoder.model.encoder.layer."


class Snapshots(lightning.Callback):
    """What the weights, and the modes of layers, were in each epoch."""

    def __init__(self):
        self.weights, self.modes = [], []

    def keep(self, model):
        self.weights.append({name: value.detach().clone() for name, value in model.named_parameters()})

    def on_train_start(self, trainer, pl_module):
        self.keep(pl_module)

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.modes.append({name: part.training for name, part in pl_module.named_modules()})

    def on_train_epoch_end(self, trainer, pl_module):
        self.keep(pl_module)

    def changed(self, epoch):
        before, after = self.weights[epoch], self.weights[epoch + 1]
        return {name for name in after if not torch.equal(before[name], after[name])}


@pytest.fixture
def model():
    made = tiny.fusion(LateFusion, text_encoder=tiny.pretrained_text("bert"))
    made.text_encoder.pretrained = True  # as if its weights came from elsewhere
    return made


@pytest.fixture
def fit(tmp_path, batch):
    def run(model, epochs=4, **arguments):
        seen = Snapshots()
        trainer = lightning.Trainer(
            max_epochs=epochs, callbacks=[GradualUnfreezing(**arguments), seen], default_root_dir=tmp_path,
            accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, limit_val_batches=0,
        )  # fmt: skip
        trainer.fit(model, DataLoader([batch] * 2, batch_size=None))
        return seen

    return run


@QUIET
def test_the_last_layer_learns_first_and_then_one_more_an_epoch(model, fit):
    seen = fit(model)
    words, low, high = "text_encoder.embedding.weight", f"{LAYER}0.output.dense.weight", f"{LAYER}1.output.dense.weight"
    assert [name in seen.changed(epoch) for epoch in range(4) for name in (words, low, high)] == [
        False, False, False,
        False, False, True,
        False, True, True,
        True, True, True,
    ]  # fmt: skip
    assert all("connector.map.0.weight" in seen.changed(epoch) for epoch in range(4))
    modes = [[mode[f"{LAYER}{layer}.output.dropout"] for layer in (0, 1)] for mode in seen.modes[::2]]
    assert modes == [[False, False], [False, True], [True, True], [True, True]]


@QUIET
def test_what_is_frozen_for_good_stays_frozen(model, fit):
    model.text_encoder.freeze(1)
    seen = fit(model, epochs=3, start=0)
    changed = set().union(*(seen.changed(epoch) for epoch in range(3)))
    assert f"{LAYER}1.output.dense.weight" in changed
    assert f"{LAYER}0.output.dense.weight" not in changed
    assert not any(mode[f"{LAYER}0.output.dropout"] for mode in seen.modes)


def test_waiting_for_nothing_is_refused(model):
    model.text_encoder.pretrained = False
    with pytest.raises(InputError, match="no pretrained encoder may learn"):
        GradualUnfreezing().on_fit_start(None, model)
    with pytest.raises(InputError, match="every=0 must be at least 1"):
        GradualUnfreezing(every=0)
