"""Layer groups of a third-party network, ordered from input to output."""

from __future__ import annotations

from torch import nn


def layers_of(network: nn.Module, depth: int) -> nn.ModuleList | None:
    """Return the layers of a network, its first ``ModuleList`` of length ``depth``, or None if there is none."""
    lists = (part for part in network.modules() if isinstance(part, nn.ModuleList) and len(part) == depth)
    return next(lists, None) if depth else None


def layer_groups_of(network: nn.Module, depth: int) -> list[nn.Module]:
    """Split a network into layer groups: the modules before its layers, then each layer.

    Modules after the layers belong to the last group. A network without a ``ModuleList`` of ``depth`` layers is one
    group.

    Args:
        network: the network to split.
        depth: number of its layers.
    """
    layers = layers_of(network, depth)
    if layers is None:
        return [network]
    inner, before, after = set(layers.modules()), list[nn.Module](), list[nn.Module]()
    side = before
    for part in network.modules():
        if part is layers:
            side = after
        elif part not in inner and (not list(part.children()) or part._parameters):
            side.append(part)
    *earlier, last = layers
    return [nn.ModuleList(before), *earlier, nn.ModuleList([last, *after])]
