"""A training step lets the host run ahead of a GPU: no value on the device is needed to go on."""

import pytest
import torch
from helpers import tiny
from helpers.syncs import Syncs

from velm_lightning.encoders import HFTextEncoder, SmallViT, TransformerTextEncoder
from velm_lightning.fusion import (
    BottleneckFusion,
    EarlyFusion,
    ImageOnly,
    InteractiveFusion,
    InterleavedFusion,
    LateFusion,
    MergedFusion,
    TextOnly,
)
from velm_lightning.tasks import Classification, Generation, MaskedLM, Retrieval
from velm_lightning.training.step_mean import StepMean

LLAMA = {
    "model_type": "llama",
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}


FUSIONS = [
    EarlyFusion,
    InterleavedFusion,
    InteractiveFusion,
    MergedFusion,
    BottleneckFusion,
    LateFusion,
    ImageOnly,
    TextOnly,
]


def seen(kind, task, text=None, samples=None):
    """The waits of the host in the loss and the gradients of one step."""
    vocabulary = tiny.vocabulary()
    model = kind(
        vocabulary=vocabulary,
        image_encoder=SmallViT(tiny.SIZE, 8, 8, 1, 2),
        text_encoder=text or TransformerTextEncoder(8, 1, 2),
        task=task,
    )
    batch = tiny.batch(samples or tiny.questions(), vocabulary).to("meta")
    model.train().to("meta")
    with Syncs() as syncs:
        model.training_step(batch, 0).backward()
    return syncs.seen


@pytest.mark.parametrize("kind", FUSIONS)
@pytest.mark.parametrize("task", [Classification, Retrieval])
def test_a_step_never_lets_the_host_wait(kind, task):
    assert seen(kind, task()) == []


@pytest.mark.parametrize("kind", [EarlyFusion, InteractiveFusion, LateFusion])
def test_generation_waits_once_for_the_number_of_targets(kind):
    assert seen(kind, Generation(), samples=tiny.translations()) == ["aten.nonzero.default"]


def test_masked_words_wait_once_for_their_number():
    assert seen(EarlyFusion, MaskedLM()) == ["aten.nonzero.default"]


def test_a_hugging_face_trunk_never_lets_the_host_wait():
    assert seen(EarlyFusion, Classification(), HFTextEncoder(config=LLAMA)) == []


def test_the_mean_of_micro_batches_never_lets_the_host_wait():
    parameter = torch.nn.Parameter(torch.zeros(2, device="meta"))
    parameter.grad = torch.zeros(2, device="meta")
    mean = StepMean()
    with Syncs() as syncs:
        for items in (3, torch.zeros((), device="meta", dtype=torch.long)):
            mean.add(torch.zeros((), device="meta"), items, batches=2)
        mean.complete([parameter], batches=2)
    assert syncs.seen == []


@pytest.mark.parametrize(("device", "ahead"), [("meta", True), ("cpu", False)])
def test_only_copies_to_a_gpu_run_ahead(device, ahead, batch, monkeypatch):
    copies, to = [], torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "to", lambda x, *args, **kwargs: copies.append(kwargs) or to(x, *args, **kwargs))
    batch.to(device)
    tensors = sum(isinstance(field, torch.Tensor) for field in batch)
    assert copies == [{"non_blocking": ahead}] * tensors
