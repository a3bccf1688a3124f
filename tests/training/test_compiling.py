"""Compiled layers compute what uncompiled ones do and leave the checkpoint unchanged."""

import lightning
import pytest
import torch
from helpers import tiny
from torch.utils.data import DataLoader

from velm_lightning.fusion import InteractiveFusion
from velm_lightning.training import Compiling

pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning:lightning",
    "ignore:.*isinstance",
    "ignore:The .grad attribute of a Tensor",  # dynamo reads every attribute
)


def trained(batch, *callbacks):
    """Return a model after three steps; the backend ``eager`` runs the traced graph without a compiler."""
    torch.manual_seed(0)
    model = tiny.fusion(InteractiveFusion, dropout=0.0, text_encoder=tiny.transformer(dropout=0.0))
    trainer = lightning.Trainer(
        max_epochs=1, callbacks=list(callbacks), accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(model, DataLoader([batch] * 3, batch_size=None))
    return model


@pytest.fixture
def pair(batch):
    return trained(batch), trained(batch, Compiling(backend="eager"))


def test_a_compiled_model_learns_the_same(pair):
    plain, compiled = (model.state_dict() for model in pair)
    assert list(plain) == list(compiled)
    for name, weight in plain.items():
        torch.testing.assert_close(compiled[name], weight, msg=name)


def test_only_repeated_layers_are_compiled(pair):
    model = pair[1]
    layers = {*model.text_layers, *model.image_layers, *model.text_encoder.layers}
    assert {part for part in model.modules() if part._compiled_call_impl is not None} == layers
