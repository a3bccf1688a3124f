"""Starting a model from another's checkpoint: what fits is taken, the rest is named."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from velm_lightning.checkpoints import checkpoint
from velm_lightning.io.configurable import to_config
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import InputError


class InitReport(NamedTuple):
    """What a model was started from.

    Attributes:
        path: the checkpoint.
        sha256: of its content.
        whole: names of the weights that were taken as they are.
        rows: weights of which some rows were taken, those of shared words or answers: how many of how many.
        left: weights that stay at their initial values, with the reason.
    """

    path: str
    sha256: str
    whole: list[str]
    rows: dict[str, tuple[int, int]]
    left: dict[str, str]

    def said(self) -> str:
        """Say it in a few lines."""
        lines = [f"started from {self.path}: {len(self.whole)} weights taken, {len(self.left)} left as they were"]
        lines += [f"  {name}: {count} of {total} rows" for name, (count, total) in self.rows.items()]
        reasons = Counter((".".join(name.split(".")[:2]), reason) for name, reason in self.left.items())
        lines += [f"  left: {part} ({count}): {reason}" for (part, reason), count in reasons.items()]
        return "\n".join(lines)


class _Lists(NamedTuple):
    """The names that the rows of a weight stand for there and here; some models pad their words with further rows."""

    there: Sequence[str]
    here: Sequence[str]
    padded: bool = False


class _Named(NamedTuple):
    """The lists that rows of weights stand for."""

    words: Sequence[str]
    answers: Sequence[str]


def start_from(model: Any, path: Path) -> InitReport:
    """Put the weights of a checkpoint into ``model`` where name and shape agree.

    Of weights with a row a word, or a row an answer, the rows of shared words or answers are taken, wherever they
    stand. Out of a ``Mixture`` comes the part of the kind that the model is to learn.

    Args:
        model: a fusion.
        path: of any fusion's checkpoint.

    Raises:
        InputError: the checkpoint cannot be read, or nothing in it fits.
    """
    found = checkpoint.read(path)
    source: Mapping[str, Tensor] = _renamed(found["state_dict"], found["velm"]["model"], to_config(model))
    listed = _listed(model, _names(found["velm"]["model"]), _own_names(model.vocabulary))
    taken = InitReport(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), [], {}, {})
    own: dict[str, Tensor] = model.state_dict()
    for name, weight in own.items():
        given = source.get(name)
        if given is None:
            taken.left[name] = "the checkpoint has none"
        elif lists := _rows_of(weight, given, listed.get(name.rpartition(".")[0])):
            taken.rows[name] = _copy_rows(weight, given, lists.there, lists.here), len(weight)
        elif given.shape != weight.shape:
            taken.left[name] = f"is {tuple(weight.shape)} here, {tuple(given.shape)} there"
        else:
            weight.copy_(given)
            taken.whole.append(name)
    if not taken.whole and not taken.rows:
        raise InputError(
            f"init_from {path}: nothing in it fits the model: give its encoders the same classes and sizes"
        )
    return taken


def _renamed(state: Mapping[str, Tensor], there: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, Tensor]:
    """Give the part of a mixture that is of the wanted kind the names that it would have alone."""
    before, wanted = (one["init_args"]["task"] for one in (there, here))
    parts = before["init_args"].get("tasks", {})
    name = next((name for name, part in parts.items() if part["class_path"] == wanted["class_path"]), None)
    if name is None:
        return dict(state)
    prefix = f"task.parts.{name}."
    return {f"task.{key.removeprefix(prefix)}" if key.startswith(prefix) else key: one for key, one in state.items()}


def _names(there: Mapping[str, Any]) -> _Named:
    given = there["init_args"]["vocabulary"]["init_args"]
    return _Named(checkpoint.word_pieces(Tokenizer.from_str(given["tokenizer"])), given["answers"])


def _own_names(vocabulary: Vocabulary) -> _Named:
    return _Named(checkpoint.word_pieces(vocabulary.tokenizer), vocabulary.answers)


def _listed(model: Any, before: _Named, now: _Named) -> dict[str, _Lists]:
    """Return the layers with a row a word or a row an answer, and the lists of these there and here.

    Words have rows in the embedding, where it is shared, and in a pretrained model's own head, answers in the last
    layer of a task's head. Sizes alone would not tell: a hidden layer may be as wide as the vocabulary is long.
    """
    layers: dict[str, nn.Module] = dict(model.named_modules(remove_duplicate=False))
    pretrained_head = model.text_encoder.lm_head
    found = {}
    for name, layer in layers.items():
        above = layers.get(name.rpartition(".")[0])
        last = not isinstance(above, nn.Sequential) or above[-1] is layer
        if getattr(layer, "weight", None) is model.text_encoder.embedding.weight or layer is pretrained_head:
            found[name] = _Lists(before.words, now.words, padded=True)
        elif last and isinstance(layer, nn.Linear) and name.startswith("task."):
            found[name] = _Lists(before.answers, now.answers)
    return found


def _rows_of(weight: Tensor, given: Tensor, lists: _Lists | None) -> _Lists | None:
    """Return the lists that the rows of a weight stand for there and here, if they do and the lists differ."""
    if lists is None or weight.shape[1:] != given.shape[1:] or not (lists.there and lists.here):
        return None
    spare = len(weight) - len(lists.here), len(given) - len(lists.there)
    stand = min(spare) >= 0 and (lists.padded or spare == (0, 0))
    return lists if stand and list(lists.there) != list(lists.here) else None


def _copy_rows(weight: Tensor, given: Tensor, there: Sequence[str], here: Sequence[str]) -> int:
    places = {name: row for row, name in enumerate(there)}
    shared = [(row, places[name]) for row, name in enumerate(here) if name in places]
    if shared:
        to, of = (torch.tensor(rows, device=weight.device) for rows in zip(*shared, strict=True))
        weight[to] = given.to(weight)[of]
    return len(shared)
