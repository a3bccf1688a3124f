"""``velm data show``: prints the tokens of one sample, their blocks, and which are learned."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from velm_lightning.cli.data.load import data_of
from velm_lightning.cli.start.hints import no_file
from velm_lightning.errors import InputError
from velm_lightning.io.allow.resolve import resolve
from velm_lightning.io.paths import user_path
from velm_lightning.io.terminal import Console, Text
from velm_lightning.io.yaml_files import read_yaml

if TYPE_CHECKING:
    from velm_lightning.text.vocabulary import Vocabulary
    from velm_lightning.types import Batch, Sample

STYLES = {"learned": "bold green", "not learned": "dim", "image": "magenta"}
"""The colour of each kind of line."""


class Line(NamedTuple):
    """A run of tokens, or an image.

    Attributes:
        blocks: the block, or the first and the last.
        kind: a key of ``STYLES``.
        text: the tokens as they are written, separated by ``|``, or the image.
    """

    blocks: str
    kind: str
    text: str


def main(words: Sequence[str]) -> int:
    """Print one sample of the data that a config names, as the model gets it."""
    parser = argparse.ArgumentParser("velm data show", description="Print the tokens of a sample, as a model gets it.")
    parser.add_argument("config", type=user_path, help="a config, or a file of its data section")
    parser.add_argument("--sample", default="0", help="its key, or its number in the split, from 0")
    parser.add_argument("--split", choices=("train", "val", "test"), default="train")
    options, others = parser.parse_known_args(list(words))
    if not options.config.is_file():
        raise InputError(f"velm data show {no_file(options.config)}")
    data = data_of(options.config, [*own_tokenizer(options.config), *others])
    sample = sample_of(data.samples(options.split), options.sample, options.split)
    batch = batch_of(sample, data.vocabulary)
    console = Console()
    head = f"{options.split}, sample {sample.key}: {batch.ids.shape[1]} tokens, tokeniser: {data.tokenizing.reason}"
    console.print(head, soft_wrap=True)
    lines = list(lines_of(sample, batch, data.vocabulary))
    widths = [max(len(line[column]) for line in lines) for column in (0, 1)]
    for blocks, kind, text in lines:
        start = f"{blocks:<{widths[0]}}  {kind:<{widths[1]}}  "
        console.print(Text(start).append_text(Text(text, STYLES[kind])), soft_wrap=True)
    return 0


def sample_of(samples: Sequence[Sample], name: str, split: str) -> Sample:
    """Return the sample with a key, or with a number if no key is equal.

    Raises:
        InputError: There is none.
    """
    for sample in samples:
        if sample.key == name:
            return sample
    if name.isdecimal() and int(name) < len(samples):
        return samples[int(name)]
    raise InputError(f"--sample {name}: {split} has no such key, and the numbers 0 to {len(samples) - 1}")


def batch_of(sample: Sample, vocabulary: Vocabulary) -> Batch:
    """Return a batch of one sample with blank images."""
    import torch

    from velm_lightning.data.collate import Texts

    texts = Texts([sample], vocabulary)
    return texts.batch([0], torch.zeros(len(texts.image_indices([0])), 3, 1, 1, dtype=torch.uint8))


def lines_of(sample: Sample, batch: Batch, vocabulary: Vocabulary) -> Iterator[Line]:
    """Yield the lines of a batch of one sample: runs of tokens, and each image where it stands."""
    ids, blocks, learned = (field[0].tolist() for field in (batch.ids, batch.block_ids, batch.target_mask))
    places = [place for place in batch.image_places[0].tolist() if place >= 0]
    images: Sequence[Any] = (sample.image,)
    if sample.turns and isinstance(sample.image, tuple):
        images = sample.image[len(sample.image) - len(places) :]  # without those of dropped turns
    marks = list(zip(places if batch.image_places.shape[1] else [0], images, strict=True))
    starts = [at for at in range(len(ids)) if _begins(at, blocks, learned) or any(at == place for place, _ in marks)]
    for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
        for place, image in marks:
            if place == start:
                yield Line(f"block {blocks[start]}", "image", _described(image))
        first, last = blocks[start], blocks[end - 1]
        name = f"block {first}" if first == last else f"blocks {first} to {last}"
        text = "|".join(_piece(vocabulary, index) for index in ids[start:end])
        yield Line(name, "learned" if learned[start] else "not learned", text)


def _begins(at: int, blocks: Sequence[int], learned: Sequence[bool]) -> bool:
    """Return whether a run begins at a token: a run has one block, or is a reply, whose tokens have one each."""
    if at == 0 or learned[at] != learned[at - 1]:
        return True
    before, after = blocks[at - 2 : at - 1], blocks[at + 1 : at + 2]
    return blocks[at] != blocks[at - 1] and (before == [blocks[at - 1]] or after == [blocks[at]])


def _piece(vocabulary: Vocabulary, index: int) -> str:
    text = str(vocabulary.tokenizer.decode([index], skip_special_tokens=False))
    return text.replace("\n", "\\n") or str(vocabulary.tokenizer.id_to_token(index))


def _described(image: Any) -> str:
    if isinstance(image, tuple):
        return f"{len(image)} frames, {_described(image[0])} first" if image else "no image"
    return f"image {tuple(image.shape)}" if hasattr(image, "shape") else f"image {image}"


def own_tokenizer(config: Path) -> list[str]:
    """Return the options that give the data the tokeniser of a config's pretrained text encoder, if any."""
    from velm_lightning.cli.parsing.parser import Parser
    from velm_lightning.encoders import TextEncoder

    model, folder = _section(read_yaml(config), "model", config.parent)
    encoder, _ = _section(model.get("init_args"), "text_encoder", folder)
    if not encoder:
        return []
    parser = Parser()
    parser.add_subclass_arguments(TextEncoder, "text_encoder")
    chosen = parser.parse_object({"text_encoder": encoder}).text_encoder
    argument = resolve(chosen.class_path).tokenizer_argument
    name = chosen.init_args.get(argument) if argument else None
    kind = "velm_lightning.text.tokenizers.PretrainedTokenizer"
    return [f"--data.tokenizer={kind}", f"--data.tokenizer.name={name}"] if name else []


def _section(content: Any, name: str, folder: Path) -> tuple[dict[str, Any], Path]:
    """Return a section of a config and its folder; a section may be the name of a file relative to the config."""
    section = content.get(name) if isinstance(content, dict) else None
    if isinstance(section, str) and (folder / section).is_file():
        file = folder / section
        section, folder = read_yaml(file), file.parent
    return (section if isinstance(section, dict) else {}), folder
