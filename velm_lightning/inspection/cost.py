"""Counts the floating-point operations of a model and measures peak memory."""

from __future__ import annotations

import resource
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from velm_lightning.tasks.base import Task
from velm_lightning.tasks.protocol import FusionProtocol
from velm_lightning.types import Batch

COUNTED = 8
"""Largest number of training samples to average the cost over."""


class Flops(NamedTuple):
    """Floating-point operations per sample; a multiply-add counts as two.

    Matrix products, convolutions, attention and recurrent cells are counted, heads included; element-wise operations,
    norms and the optimiser are not.

    Attributes:
        training: operations of a training step: the loss of the task and its gradients, including sampled sentences
            and a teacher if the loss uses them.
        inference: operations of one pass from image and text to the logits (``Task.forward_once``), which reads a
            sentence once with its target, as cached decoding does; beam search is not counted.
    """

    training: int
    inference: int

    def describe(self) -> str:
        """Return both numbers in a sentence."""
        return f"a sample costs {self.training / 1e9:.3g} GFLOPs in training, {self.inference / 1e9:.3g} in inference"


def sample_flops(model: FusionProtocol, split: Any) -> Flops | None:
    """Count the operations per sample as the mean over up to ``COUNTED`` samples of a split, each at its own width.

    Images pass through the image encoder even if its features are cached. A loss may communicate between processes, so
    all of them must call this. An error in counting becomes a warning.

    Args:
        model: a built fusion.
        split: a ``data.split.Split``.

    Returns:
        The cost, or None if it could not be counted.
    """
    count = min(COUNTED, len(split))
    device = next(model.parameters()).device
    try:
        batches = [split.pictured([len(split) * i // count]) for i in range(count)]
        return flops(model, [batch.to(device) for batch in batches if batch.size])
    except Exception as error:  # noqa: BLE001 - training must not fail because of the count
        warnings.warn(f"FLOPs were not counted: {type(error).__name__}: {error}", stacklevel=2)
        return None


def flops(model: FusionProtocol, batches: Sequence[Batch]) -> Flops:
    """Count the floating-point operations per sample as the mean over the samples of batches, padding included.

    Weights, statistics and mode of the model, and the random number generators, are not changed.
    """
    assert isinstance(model, nn.Module)
    mode, samples = model.training, sum(batch.size for batch in batches)
    try:
        counts = [(_training(model, batch), _inference(model, batch)) for batch in batches]
    finally:
        model.train(mode)
    training, inference = (sum(column) for column in zip(*counts, strict=True))
    return Flops(training // samples, inference // samples)


def _training(model: Any, batch: Batch) -> int:
    """Count a loss and its gradients with the model in evaluation mode and only its task in training mode.

    This keeps the statistics of batch norms. ``autograd.grad`` returns the gradients instead of accumulating them in
    the parameters, and does not synchronise them with other processes.
    """
    model.eval()
    model.task.train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with torch.enable_grad(), _counting(model, batch) as counter:
        loss = model.task.loss(model, batch)
        if loss.requires_grad:
            torch.autograd.grad(loss, parameters, allow_unused=True)
    return int(counter.get_total_flops())


def _inference(model: Any, batch: Batch) -> int:
    model.eval()
    assert isinstance(model.task, Task)
    with torch.no_grad(), _counting(model, batch) as counter:
        model.task.forward_once(model, batch)
    return int(counter.get_total_flops())


@contextmanager
def _counting(model: nn.Module, batch: Batch) -> Iterator[FlopCounterMode]:
    """Count operations with fused kernels disabled, so that cells, attention and compiled layers become products.

    Torch has formulas for products and convolutions, and does not count other kernels. Those of oneDNN are disabled
    only for recurrent cells: a convolution is counted before its kernel is chosen, and is slower without them.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    gpus = [batch.image.device] if batch.image.is_cuda else []
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _Whole()  # type: ignore[assignment]
    with ExitStack() as stack:
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        torch.backends.mha.set_fastpath_enabled(False)
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        if any(isinstance(module, nn.RNNBase) for module in model.modules()):
            stack.enter_context(_off(torch.backends.mkldnn))
        stack.enter_context(_off(torch.backends.cudnn))
        stack.enter_context(torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH))
        stack.enter_context(torch.random.fork_rng(gpus))
        yield stack.enter_context(counter)


@contextmanager
def _off(backend: Any) -> Iterator[None]:
    enabled, backend.enabled = backend.enabled, False
    try:
        yield
    finally:
        backend.enabled = enabled


class _Whole:
    """Attributes every operation to the whole model.

    Torch's module tracker fails on a parameter that is expanded without gradients.
    """

    parents = ("Global",)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def peak_memory() -> int:
    """Return the peak memory use in bytes: of the GPU if there is one, otherwise of this process."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
