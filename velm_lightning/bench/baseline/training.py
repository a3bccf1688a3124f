"""The training loop of the baseline: AdamW, and early stopping on the validation split."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn

EPOCHS, PATIENCE = 60, 6


def fit(
    model: nn.Module, loss: Callable[[Tensor], Tensor], score: Callable[[], float], samples: int, batch_size: int
) -> int:
    """Train a model and load its best weights.

    Args:
        model: The model.
        loss: Returns the loss of the training samples with these indices (B,).
        score: Returns the score on the validation split, with the model in evaluation mode.
        samples: Number of training samples.
        batch_size: Samples per step.

    Returns:
        The number of epochs.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    best, weights, since, epochs = float("-inf"), deepcopy(model.state_dict()), 0, 0
    while epochs < EPOCHS and since < PATIENCE:
        epochs, since = epochs + 1, since + 1
        model.train()
        for indices in torch.split(torch.randperm(samples), batch_size):
            optimizer.zero_grad()
            torch.autograd.backward(loss(indices))
            optimizer.step()
        model.eval()
        with torch.no_grad():
            value = score()
        if value > best:
            best, weights, since = value, deepcopy(model.state_dict()), 0
    model.load_state_dict(weights)
    model.eval()
    return epochs
