"""The judge of `Drawing` on scenes: a small network that classifies the content of each cell of the grid."""

from __future__ import annotations

import hashlib
import logging
import math
import re
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from velm_lightning.data.images.cache import default_folder
from velm_lightning.data.synthetic.shape_scenes import ShapeScenes
from velm_lightning.data.synthetic.shapes.scene import COLOURS, DIRECTIONS, GRID, PLACES, SHAPES, Scene, Thing
from velm_lightning.errors import at_least
from velm_lightning.tasks.judges import Descriptions, Judge
from velm_lightning.types import InputError

_log = logging.getLogger(__name__)

KINDS = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]
_THING = re.compile("(" + "|".join(KINDS) + ")(?: (" + "|".join(PLACES) + "))?")
_VERSION = 1  # of the network and its training; a new number invalidates saved weights
_SIDE = 16 * GRID  # side in pixels of the network's input


class SceneJudge(Judge):
    """Predicts the coloured shape in each cell of a scene: "red circle in the top left, blue star in the centre".

    It is trained once, in a few seconds, on images of `ShapeScenes` with up to four things; its weights are saved in
    the user's cache folder. Its accuracy is the share of *test* images of which all cells are correct.

    Args:
        size: side of the images in pixels.
        scenes: number of training images.
        epochs: number of training epochs.
        seed: seed of the weights, the order of the images, and the scenes.
        cache_dir: folder for the weights; by default a folder in the user's cache folder.

    Raises:
        InputError: ``size``, ``scenes`` or ``epochs`` is less than 1.
    """

    def __init__(
        self, size: int = 32, scenes: int = 2000, epochs: int = 4, seed: int = 0, cache_dir: Path | None = None
    ) -> None:
        at_least(1, "judge", size=size, scenes=scenes, epochs=epochs)
        self.size, self.scenes, self.epochs, self.seed, self.cache_dir = size, scenes, epochs, seed, cache_dir

    @torch.no_grad()
    @override
    def describe(self, images: Tensor) -> Descriptions:
        network, _ = self._trained
        logits, features = network(images.to("cpu"))
        confidence, kinds = logits.softmax(-1).max(-1)  # (B, GRID * GRID)
        return Descriptions(tuple(map(_description, kinds.tolist())), confidence.prod(-1), features)

    @override
    def compare(self, description: str, caption: str) -> Mapping[str, float]:
        """Return the metrics of a description against a caption.

        ``score``: 1 if exactly the things of the caption are present, in any cell. ``things``: the share of these
        things that are present. ``relation``: for captions of two things, 1 if both are present in the given relation.
        """
        places = {}
        counts: Counter[str] = Counter()
        for kind, place in _THING.findall(description):
            counts[kind] += 1
            places[kind] = divmod(PLACES.index(place), GRID)
        wanted = [kind for kind, _ in _THING.findall(caption)]
        complete = counts == Counter(wanted)
        share = sum((counts & Counter(wanted)).values()) / max(1, len(wanted))
        direction = next((name for name in DIRECTIONS if name in caption), None)
        holds = complete and direction is not None and DIRECTIONS[direction](*(_at(places[kind]) for kind in wanted))
        relation = math.nan if direction is None else float(holds)
        return {"score": float(complete), "things": share, "relation": relation}

    @override
    def name(self) -> str:
        return f"{type(self).__name__.lower()}-{self._key()[:8]}"

    @property
    @override
    def accuracy(self) -> float:
        return self._trained[1]

    @cached_property
    def _trained(self) -> tuple[_Network, float]:
        path = Path(self.cache_dir or default_folder()) / "judges" / f"{self._key()}.safetensors"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock")):  # other processes wait, then load the weights
                if not path.is_file():
                    self._train(path)
        except OSError as error:
            raise InputError(
                f"{path}: the judge cannot be saved ({error.strerror or error}): set judge.cache_dir to a folder that "
                "can be written"
            ) from error
        weights = load_file(path)
        accuracy = float(weights.pop("accuracy"))
        with torch.random.fork_rng(devices=[]):
            network = _Network().eval()
        network.load_state_dict(weights)
        return network, accuracy

    def _key(self) -> str:
        return hashlib.sha256(repr((_VERSION, self.size, self.scenes, self.epochs, self.seed)).encode()).hexdigest()[
            :16
        ]

    @torch.inference_mode(False)
    @torch.enable_grad()
    def _train(self, path: Path) -> None:
        """Train the network and save it to ``path``, without changing the global random state."""
        _log.info("training the judge of drawings on %s images", self.scenes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            real = _real_images(self.scenes, self.size, self.seed)
            network = _fit(real.images["train"], real.kinds["train"], self.epochs)
        with torch.no_grad():
            kinds = network.eval()(real.images["test"])[0].argmax(-1)
        right = (kinds == real.kinds["test"]).all(-1).double().mean()
        part = path.with_suffix(".part")
        save_file({**network.state_dict(), "accuracy": right}, part)
        part.replace(path)
        _log.info("the judge describes %.1f%% of %d real test images without an error", 100 * float(right), len(kinds))


class _Network(nn.Module):
    """Maps images (B, 3, H, W), uint8, to logits (B, GRID * GRID, 1 + kinds) and features (B, 128)."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 96, 128)
        layers: list[nn.Module] = []
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(8, after), nn.GELU()]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], 1 + len(KINDS))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = F.interpolate(images.float() / 127.5 - 1, size=(_SIDE, _SIDE), mode="bilinear", align_corners=False)
        cells = self.layers(x).flatten(2).transpose(1, 2)  # (B, GRID * GRID, 128)
        return self.head(cells), cells.mean(1)


class _RealImages(NamedTuple):
    images: dict[str, Tensor]  # (S, 3, size, size) uint8
    kinds: dict[str, Tensor]  # (S, GRID * GRID): 0 for an empty cell


def _real_images(count: int, size: int, seed: int) -> _RealImages:
    """Render scenes and return their images and the content of their cells."""
    data = ShapeScenes(count, 0, max(1, count // 4), size=size, seed=seed)
    kinds = {
        name: torch.tensor([_cells(data.scene(name, i)) for i in range(len(data.images(name)))])
        for name in ("train", "test")
    }
    return _RealImages({name: data.images(name) for name in kinds}, kinds)


def _cells(scene: Scene) -> list[int]:
    cells = [0] * GRID**2
    for thing in scene.things:
        cells[thing.row * GRID + thing.column] = 1 + KINDS.index(f"{thing.colour} {thing.shape}")
    return cells


def _fit(images: Tensor, kinds: Tensor, epochs: int, batch: int = 32) -> _Network:
    """Return a network trained to predict ``kinds`` (S, GRID * GRID)."""
    network, steps = _Network(), epochs * -(-len(kinds) // batch)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps + 1)
    for _ in range(epochs):
        order = torch.randperm(len(kinds))
        for start in range(0, len(kinds), batch):
            chosen = order[start : start + batch]
            logits, _ = network(images[chosen])
            loss = F.cross_entropy(logits.flatten(0, 1), kinds[chosen].flatten())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return network


def _description(kinds: list[int]) -> str:
    return ", ".join(f"{KINDS[kind - 1]} {PLACES[cell]}" for cell, kind in enumerate(kinds) if kind) or "nothing"


def _at(place: tuple[int, int]) -> Thing:
    """Return a thing at a row and column."""
    row, column = place
    return Thing("", "", "", (column + 0.5) / GRID, (row + 0.5) / GRID)
