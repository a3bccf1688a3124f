"""Losses and gradients that are not finite stop a run or skip a step before the weights change."""

from types import SimpleNamespace

import pytest
import torch
from helpers import tiny
from lightning import Trainer
from lightning.pytorch.callbacks import Callback

from velm_lightning.data import MultimodalData
from velm_lightning.tracking.callbacks.non_finite import NonFiniteLossGuard
from velm_lightning.types import InputError

pytestmark = pytest.mark.filterwarnings("ignore:.*(isinstance.treespec|many workers)")


class Cusp(Callback):
    """Adds a root of 0 to the loss of the second micro-batch: the loss is unchanged, its gradient is NaN."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        task = pl_module.task
        if batch_idx == 1:
            task.loss = lambda *arguments: type(task).loss(task, *arguments) + (task.head[0].bias * 0).sum().sqrt()
        else:
            vars(task).pop("loss", None)


class Weights(Callback):
    """The weights after every step."""

    def __init__(self):
        self.after = []

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.after.append(torch.nn.utils.parameters_to_vector(pl_module.parameters()).detach().clone())


def fit(on_nan, **settings):
    data = MultimodalData(tiny.Samples(train=tiny.many(6)), batch_size=1)
    guard, weights = NonFiniteLossGuard(on_nan), Weights()
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, limit_val_batches=0, log_every_n_steps=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[Cusp(), guard, weights], **settings,
    )  # fmt: skip
    trainer.fit(tiny.fusion(vocabulary=data.vocabulary), data)
    return guard, weights.after


@pytest.mark.parametrize("settings", [{"gradient_clip_val": 1.0}, {}, {"accumulate_grad_batches": 2}], ids=str)
def test_a_step_with_a_nan_gradient_is_skipped(settings, capsys):
    guard, weights = fit("skip", **settings)
    assert guard.skipped == 1
    output = capsys.readouterr().out
    step = 0 if "accumulate_grad_batches" in settings else 1
    message = f"skipped: the loss of step {step} is finite and its gradient is not, in task.head.0.bias: the samp"
    assert message in output
    assert all(after.isfinite().all() for after in weights)
    steps = [not torch.equal(before, after) for before, after in zip(weights, weights[1:], strict=False)]
    assert steps == ([False, False, True, False, True] if step == 0 else [False, True, True, True, True])


def test_a_nan_gradient_stops_the_run():
    with pytest.raises(InputError, match=r"the loss of step 1 is finite and its gradient is not.*train-00\d; learning"):
        fit("stop", gradient_clip_val=1.0)


def test_clipping_uses_the_norm_that_was_checked():
    model, again = (tiny.fusion() for _ in range(2))
    again.load_state_dict(model.state_dict())
    for module in (model, again):
        for i, parameter in enumerate(module.parameters()):
            parameter.grad = torch.full_like(parameter, float(i))
    norm = model.gradient_norm().clone()
    model.configure_gradient_clipping(None, 1.0, "norm")
    assert torch.equal(norm, torch.nn.utils.clip_grad_norm_(again.parameters(), 1.0))
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_infinite_gradients_are_left_to_a_gradient_scaler():
    model = tiny.fusion()
    model.step_mean.add(torch.ones(()), 1)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, torch.inf)
    guard = NonFiniteLossGuard()
    trainer = SimpleNamespace(world_size=1, global_step=3, precision_plugin=SimpleNamespace(scaler=object()))
    optimizer = model.optimization.configure(model, 10)["optimizer"]
    guard.on_train_batch_start(trainer, model, tiny.batch(tiny.questions(), model.vocabulary), 0)
    guard.on_before_optimizer_step(trainer, model, optimizer)
    guard.on_train_batch_start(trainer, model, tiny.batch(tiny.questions(), model.vocabulary), 0)
    trainer.precision_plugin.scaler = None
    with pytest.raises(InputError, match="the loss of step 3 is finite and its gradient is not"):
        guard.on_before_optimizer_step(trainer, model, optimizer)
