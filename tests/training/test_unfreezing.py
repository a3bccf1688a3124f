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
    """Records the weights and the modes of all layers per epoch."""

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
    model = tiny.fusion(LateFusion, text_encoder=tiny.pretrained_text("bert"))
    model.text_encoder.pretrained = True  # as if its weights had been loaded
    return model


@pytest.fixture
def fit(tmp_path, batch):
    def run(model, epochs=4, **arguments):
        snapshots = Snapshots()
        trainer = lightning.Trainer(
            max_epochs=epochs, callbacks=[GradualUnfreezing(**arguments), snapshots], default_root_dir=tmp_path,
            accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, limit_val_batches=0,
        )  # fmt: skip
        trainer.fit(model, DataLoader([batch] * 2, batch_size=None))
        return snapshots

    return run


@QUIET
def test_layers_are_unfrozen_from_the_last_one_per_epoch(model, fit):
    snapshots = fit(model)
    words, low, high = "text_encoder.embedding.weight", f"{LAYER}0.output.dense.weight", f"{LAYER}1.output.dense.weight"
    assert [name in snapshots.changed(epoch) for epoch in range(4) for name in (words, low, high)] == [
        False, False, False,
        False, False, True,
        False, True, True,
        True, True, True,
    ]  # fmt: skip
    assert all("connector.map.0.weight" in snapshots.changed(epoch) for epoch in range(4))
    modes = [[mode[f"{LAYER}{layer}.output.dropout"] for layer in (0, 1)] for mode in snapshots.modes[::2]]
    assert modes == [[False, False], [False, True], [True, True], [True, True]]


@QUIET
def test_layers_that_trainable_froze_stay_frozen(model, fit):
    model.text_encoder.freeze(1)
    snapshots = fit(model, epochs=3, start=0)
    changed = set().union(*(snapshots.changed(epoch) for epoch in range(3)))
    assert f"{LAYER}1.output.dense.weight" in changed
    assert f"{LAYER}0.output.dense.weight" not in changed
    assert not any(mode[f"{LAYER}0.output.dropout"] for mode in snapshots.modes)


def test_a_model_without_pretrained_encoders_is_refused(model):
    model.text_encoder.pretrained = False
    with pytest.raises(InputError, match="the model has no trainable pretrained encoder"):
        GradualUnfreezing().on_fit_start(None, model)
    with pytest.raises(InputError, match="every must be at least 1, got 0"):
        GradualUnfreezing(every=0)
