"""Initialising a model from the checkpoint of another one: weights that fit are copied, the others are reported."""

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
    """The result of initialising a model from a checkpoint.

    Attributes:
        path: the checkpoint file.
        sha256: SHA-256 digest of the file.
        copied: names of the weights that were copied completely.
        rows: weights of which only the rows of shared words or answers were copied: (number copied, total number).
        left: weights that keep their initial values, with the reason.
    """

    path: str
    sha256: str
    copied: list[str]
    rows: dict[str, tuple[int, int]]
    left: dict[str, str]

    def summary(self) -> str:
        """Return a summary of a few lines."""
        lines = [f"started from {self.path}: {len(self.copied)} weights copied, {len(self.left)} not copied"]
        lines += [f"  {name}: {count} of {total} rows" for name, (count, total) in self.rows.items()]
        reasons = Counter((".".join(name.split(".")[:2]), reason) for name, reason in self.left.items())
        lines += [f"  not copied: {part} ({count}): {reason}" for (part, reason), count in reasons.items()]
        return "\n".join(lines)


class _Lists(NamedTuple):
    """The words or answers that the rows of a weight belong to, in the checkpoint (``there``) and the model (``here``).

    With ``padded`` a weight may have more rows than there are words, as in some pretrained models.
    """

    there: Sequence[str]
    here: Sequence[str]
    padded: bool = False


class _Named(NamedTuple):
    """The word pieces and answers of a model, in the order of their ids."""

    words: Sequence[str]
    answers: Sequence[str]


def start_from(model: Any, path: Path) -> InitReport:
    """Copy the weights of a checkpoint into ``model`` if name and shape agree.

    If a weight has one row per word or one row per answer, the rows of words or answers that both models have are
    copied, whatever their order. If the checkpoint holds a ``Mixture``, its subtask of the class of the model's task is
    used.

    Args:
        model: a fusion, which is changed in place.
        path: checkpoint of any fusion.

    Returns:
        The weights that were copied and those that were not.

    Raises:
        InputError: the checkpoint cannot be read, or none of its weights fits.
    """
    content = checkpoint.read(path)
    source: Mapping[str, Tensor] = _renamed(content["state_dict"], content["velm"]["model"], to_config(model))
    listed = _listed(model, _names(content["velm"]["model"]), _model_names(model.vocabulary))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    report = InitReport(path=str(path), sha256=digest, copied=[], rows={}, left={})
    weights: dict[str, Tensor] = model.state_dict()
    for name, weight in weights.items():
        given = source.get(name)
        if given is None:
            report.left[name] = "the checkpoint has none"
        elif lists := _rows_of(weight, given, listed.get(name.rpartition(".")[0])):
            report.rows[name] = _copy_rows(weight, given, lists.there, lists.here), len(weight)
        elif given.shape != weight.shape:
            report.left[name] = f"is {tuple(weight.shape)} here, {tuple(given.shape)} there"
        else:
            weight.copy_(given)
            report.copied.append(name)
    if not report.copied and not report.rows:
        raise InputError(
            f"init_from {path}: none of its weights fits the model: use encoders of the same classes and sizes"
        )
    return report


def _renamed(state: Mapping[str, Tensor], there: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, Tensor]:
    """Rename the weights of the matching subtask of a mixture to the names that they have without the mixture."""
    before, wanted = (config["init_args"]["task"] for config in (there, here))
    parts = before["init_args"].get("tasks", {})
    name = next((name for name, part in parts.items() if part["class_path"] == wanted["class_path"]), None)
    if name is None:
        return dict(state)
    prefix = f"task.parts.{name}."
    return {
        f"task.{key.removeprefix(prefix)}" if key.startswith(prefix) else key: weight for key, weight in state.items()
    }


def _names(there: Mapping[str, Any]) -> _Named:
    given = there["init_args"]["vocabulary"]["init_args"]
    return _Named(checkpoint.word_pieces(Tokenizer.from_str(given["tokenizer"])), given["answers"])


def _model_names(vocabulary: Vocabulary) -> _Named:
    return _Named(checkpoint.word_pieces(vocabulary.tokenizer), vocabulary.answers)


def _listed(model: Any, before: _Named, now: _Named) -> dict[str, _Lists]:
    """Return the layers with one row per word or per answer, and the lists of these in the checkpoint and the model.

    Words have rows in the embedding, in layers that share its weight, and in the head of a pretrained model; answers
    have rows in the last layer of a task head. Shapes are not sufficient to identify these layers: a hidden layer may
    be as wide as the vocabulary is long.
    """
    layers: dict[str, nn.Module] = dict(model.named_modules(remove_duplicate=False))
    pretrained_head = model.text_encoder.lm_head
    listed = {}
    for name, layer in layers.items():
        above = layers.get(name.rpartition(".")[0])
        last = not isinstance(above, nn.Sequential) or above[-1] is layer
        if getattr(layer, "weight", None) is model.text_encoder.embedding.weight or layer is pretrained_head:
            listed[name] = _Lists(before.words, now.words, padded=True)
        elif last and isinstance(layer, nn.Linear) and name.startswith("task."):
            listed[name] = _Lists(before.answers, now.answers)
    return listed


def _rows_of(weight: Tensor, given: Tensor, lists: _Lists | None) -> _Lists | None:
    """Return ``lists`` if the rows of a weight belong to their entries and the two lists differ, else None."""
    if lists is None or weight.shape[1:] != given.shape[1:] or not (lists.there and lists.here):
        return None
    extra_rows = len(weight) - len(lists.here), len(given) - len(lists.there)
    matches = min(extra_rows) >= 0 and (lists.padded or extra_rows == (0, 0))
    return lists if matches and list(lists.there) != list(lists.here) else None


def _copy_rows(weight: Tensor, given: Tensor, there: Sequence[str], here: Sequence[str]) -> int:
    row_of = {name: row for row, name in enumerate(there)}
    shared = [(row, row_of[name]) for row, name in enumerate(here) if name in row_of]
    if shared:
        target, source = (torch.tensor(rows, device=weight.device) for rows in zip(*shared, strict=True))
        weight[target] = given.to(weight)[source]
    return len(shared)
