"""The layers of a network that was not written here, from its input to its output."""

from __future__ import annotations

from torch import nn


def layer_groups_of(network: nn.Module, depth: int) -> list[nn.Module]:
    """Return what comes before a network's ``depth`` equal layers, then each layer; what comes after goes to the last.

    A network whose layers do not stand in one list is one stage.
    """
    lists = (part for part in network.modules() if isinstance(part, nn.ModuleList) and len(part) == depth)
    layers = next(lists, None)
    if layers is None or not depth:
        return [network]
    inside, before, after = set(layers.modules()), list[nn.Module](), list[nn.Module]()
    side = before
    for part in network.modules():
        if part is layers:
            side = after
        elif part not in inside and (not list(part.children()) or part._parameters):
            side.append(part)
    *earlier, last = layers
    return [nn.ModuleList(before), *earlier, nn.ModuleList([last, *after])]
