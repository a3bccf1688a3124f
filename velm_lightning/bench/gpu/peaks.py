"""Published peaks of GPUs: dense bf16 matrix products with accumulation in single precision."""

from __future__ import annotations

PEAKS = {
    "B200": 2250.0,
    "H200 NVL": 835.5,
    "H200": 989.4,
    "GH200": 989.4,
    "H100 NVL": 835.5,
    "H100 PCIe": 756.0,
    "H100": 989.4,
    "H800": 989.4,
    "A100": 312.0,
    "A800": 312.0,
    "A40": 149.7,
    "A30": 165.0,
    "A10": 125.0,
    "RTX A6000": 154.8,
    "L40S": 362.0,
    "L4": 121.0,
    "RTX 4090": 165.2,
    "RTX 3090": 71.0,
    "MI300X": 1307.4,
}
"""TFLOP/s by a part of the device's name, as the data sheets state them, without sparsity."""


def published_peak(name: str) -> float | None:
    """Return the published peak of a card in FLOP/s; None if the card is unknown, or only a slice of it is used (MIG).

    Example:
        >>> published_peak("NVIDIA H100 80GB HBM3")
        989400000000000.0
    """
    if "MIG" in name.split():
        return None
    words = f" {name.replace('-', ' ')} "
    matches = [card for card in PEAKS if f" {card} " in words]
    return PEAKS[max(matches, key=len)] * 1e12 if matches else None
