"""``velm search``: the pictures of a folder that go best with a text."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn

from velm_lightning.data.collate import Texts
from velm_lightning.data.features.store import FeatureStore
from velm_lightning.data.images.folder import picture_files
from velm_lightning.data.images.store import read_image
from velm_lightning.fusion import Fusion
from velm_lightning.inspection.nearest import Nearest, NearestByCells
from velm_lightning.io.configurable import Configurable
from velm_lightning.io.threads import threads
from velm_lightning.tasks.retrieval import Retrieval
from velm_lightning.types import ImageTransform, InputError, Sample, TextInput, Tokens

_SIDE = 256  # of a picture on a sheet


class Hit(NamedTuple):
    """A picture that was found.

    Attributes:
        picture: its file.
        similarity: cosine of its vector and the text's.
        together: logit of the pair, read together; none beyond the shortlist.
    """

    picture: Path
    similarity: float
    together: float | None


class PictureVectors(Configurable, nn.Module):
    """A trained model as an encoder whose only token is the vector by which a picture is found.

    Args:
        model: any fusion that sees pictures and texts and learned ``Retrieval``, alone or in a mixture.

    Raises:
        InputError: it did not learn retrieval, or is a control that cannot see what is searched.
    """

    frozen = True

    def __init__(self, model: Fusion) -> None:
        super().__init__()
        found = next((part for part in model.task.modules() if isinstance(part, Retrieval)), None)
        if found is None:
            raise InputError(f"the checkpoint's task is {type(model.task).__name__}: search needs one of Retrieval")
        if hidden := {"image", "text"} - set(model.modalities):
            raise InputError(f"the checkpoint's {type(model).__name__} sees no {hidden.pop()}, so it cannot search")
        self.model, self.task = model, found
        self.transform: ImageTransform = model.transform

    def forward(self, image: Tensor) -> Tokens:
        """Turn uint8 pictures (B, 3, S, S) into one unit vector each: (B, 1, W)."""
        return Tokens.of_image(self.task.image_vectors(self.model.encode_image(image))[:, None])


class PictureIndex:
    """The vectors of pictures, kept on disk by content of picture and model.

    On disk they are float16. What a text looks like alone gives a shortlist, which the model then reads together with
    the text, as its evaluation does.

    Args:
        model: see ``PictureVectors``.
        pictures: files.
        cache_dir: where the vectors lie; see ``FeatureStore``.
        nearest: how vectors near another are found: among all of them, or in the nearest cells.

    Attributes:
        made: how many pictures were new.

    Raises:
        InputError: the model cannot search, a picture cannot be read, or the vectors cannot be written.
    """

    def __init__(
        self,
        model: Fusion,
        pictures: Sequence[Path],
        cache_dir: Path | None = None,
        nearest: type[Nearest] = Nearest,
    ) -> None:
        self.encoder = PictureVectors(model.eval())
        vectors = FeatureStore(pictures, self.encoder, cache_dir)
        self.pictures, self.made, self._nearest = list(pictures), vectors.made, nearest(vectors)

    @torch.inference_mode()
    def best(self, text: str, top: int) -> list[Hit]:
        """Return the ``top`` pictures for a text, best first."""
        model, task = self.encoder.model, self.encoder.task
        sample = Sample("query", Path(), text, None, ())
        words = Texts([sample], model.vocabulary).batch([0], torch.empty(1)).to(model.device).words
        vector = task.text_vectors(model, model.encode_text(model.embed_text(words)))  # (1, W)
        places, cosines = self._nearest(vector, max(top, task.shortlist))
        hits = [Hit(self.pictures[i], one, None) for i, one in zip(places, cosines, strict=True)]
        return [*self._read(hits[: task.shortlist], words), *hits[task.shortlist :]][:top]

    def _read(self, hits: Sequence[Hit], words: TextInput) -> Sequence[Hit]:
        """Put the shortlist into the order of what reading each picture together with the text says."""
        if not hits:
            return hits
        model, task = self.encoder.model, self.encoder.task
        shown = torch.stack([read_image(hit.picture, model.transform) for hit in hits]).to(model.device)
        image, text = model.encode_image(shown), model.encode_text(model.embed_text(words))
        rows = torch.arange(len(hits), device=model.device)
        images, texts = task.vectors(model, image, text)
        logits = task.similarity(images, texts)[:, 0] + task.correction(model, image, text, rows, rows * 0)
        order = logits.argsort(descending=True, stable=True).tolist()
        return [hits[place]._replace(together=float(logits[place])) for place in order]


def readable(pictures: Sequence[Path], transform: ImageTransform) -> Iterator[Path]:
    """Yield the files that can be read; every one is decoded for that."""

    def tried(path: Path) -> bool:
        try:
            read_image(path, transform)
        except InputError:
            return False
        return True

    with threads() as pool:
        yield from (path for path, good in zip(pictures, pool.map(tried, pictures), strict=True) if good)


def draw(path: Path, text: str, hits: Sequence[Hit], transform: ImageTransform, columns: int = 5) -> None:
    """Write a contact sheet of what was found, best first: a ``.png``, ``.pdf`` or ``.svg`` file."""
    columns = min(columns, len(hits))
    places = -(-len(hits) // columns)
    figure = Figure(figsize=(2.4 * columns, 2.8 * places + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(text, wrap=True, parse_math=False)
    cells = figure.subplots(places, columns, squeeze=False).flatten()
    for axes in cells:
        axes.set_axis_off()
    for place, (axes, hit) in enumerate(zip(cells, hits, strict=False), 1):
        axes.imshow(read_image(hit.picture, transform._replace(size=_SIDE)).permute(1, 2, 0).numpy())
        axes.set_title(f"{place}. {hit.picture.name}", fontsize=7, parse_math=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main(words: Sequence[str]) -> int:
    """Print the best pictures of a folder for a text."""
    parser = argparse.ArgumentParser(
        "velm search",
        description="Find the pictures of a folder that go best with a text. The first search encodes the folder; "
        "later ones, whatever the text, find the vectors on disk and encode what is new or changed.",
    )
    parser.add_argument("checkpoint", type=Path, help="a .ckpt file of a run that learned retrieval")
    parser.add_argument("--images", type=Path, required=True, help="a folder of pictures; subfolders count")
    parser.add_argument("--text", required=True, help="what to look for")
    parser.add_argument("--top", type=int, default=5, help="how many pictures (5)")
    parser.add_argument("--sheet", type=Path, help="draw the pictures that were found into this file")
    parser.add_argument("--cache", type=Path, help="where the vectors of pictures are kept")
    parser.add_argument(
        "--approximate",
        action="store_true",
        help="look into the nearest cells alone (extra faiss)",
    )
    parser.add_argument(
        "--on_bad_image", choices=["error", "skip"], default="error", help="skip: try every picture, pass over bad ones"
    )
    parser.add_argument("--allow", nargs="*", default=[], help="packages whose classes the checkpoint may name")
    options = parser.parse_args(list(words)[1:])
    if options.top < 1:
        raise InputError(f"--top {options.top}: ask for at least 1 picture")
    if not options.text.strip():
        raise InputError("--text is empty: say what to look for")
    model = Fusion.load_from_checkpoint(options.checkpoint, allow=options.allow)
    pictures = every = picture_files(options.images)
    if options.on_bad_image == "skip":
        pictures = list(readable(every, model.transform))
    if not pictures:
        raise InputError(f"--images {options.images}: there is no picture in this folder that can be read")
    model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    index = PictureIndex(model, pictures, options.cache, NearestByCells if options.approximate else Nearest)
    hits = index.best(options.text, options.top)
    skipped = f", {len(every) - len(pictures)} unreadable" if len(every) > len(pictures) else ""
    print(f"{len(pictures):,} pictures, {index.made:,} encoded now{skipped}")
    print("  alone  together  picture")  # the shortlist stands first, in the order of the second column
    for hit in hits:
        together = "" if hit.together is None else f"{hit.together:8.2f}"
        print(f"{hit.similarity:7.3f}  {together:>8}  {hit.picture}")
    if options.sheet is not None:
        draw(options.sheet, options.text, hits, model.transform)
        print(f"contact sheet: {options.sheet}")
    return 0
