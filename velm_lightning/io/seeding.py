"""Seeds and random generators that are the same in every process and on every machine."""

from __future__ import annotations

from hashlib import blake2b

import torch


def stable_number(*parts: object) -> int:
    """Return a 63-bit number that depends only on ``parts``, for seeds and for comparing names across processes."""
    digest = blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def stable_generator(*parts: object) -> torch.Generator:
    """Return a random generator whose numbers depend only on ``parts``."""
    return torch.Generator().manual_seed(stable_number(*parts))
