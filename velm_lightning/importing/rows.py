"""What a reader returns: the predictions of a file, and the figure that its tool scored them by."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from velm_lightning.data.datasets.published.captioned import id_text
from velm_lightning.io.files import clean_text, show
from velm_lightning.types import InputError, Prediction


class Choices(NamedTuple):
    """What a user chooses from a file; None is the default of the format.

    Attributes:
        figure: the figure to import, if the tool wrote several.
        filter: the answer filter, if lm-eval wrote the samples of several.
        group: the field that becomes the group of a sample.
        image: the field that names the image of a sample.
        references: files with the references, for results without any.
    """

    figure: str | None = None
    filter: str | None = None
    group: str | None = None
    image: str | None = None
    references: tuple[Path, ...] = ()


class Imported(NamedTuple):
    """The content of a file.

    Attributes:
        repeats: the predictions of each repetition of the evaluation, one table each; most files have one.
        figure: the name of the tool's score; empty if the rows have none.
        scorer: the scorer that the format prescribes for rows without a score, a key of ``scoring.SCORERS``.
    """

    repeats: list[list[Prediction]]
    figure: str = ""
    scorer: str = ""


def row_of(
    where: str,
    key: Any,
    prediction: Any,
    references: Any = (),
    *,
    score: float = math.nan,
    group: Any = "",
    prompt: Any = "",
    image: Any = "",
    confidence: float = math.nan,
) -> Prediction:
    """Return a row with its texts on one line each.

    Args:
        where: the location in the file, for messages.
        key: the key of the sample, a number or a text.
        prediction: the prediction; None and a number become a text.
        references: one reference, or a list.
        score: the score; NaN if there is none.
        group: the group of the sample.
        prompt: the prompt.
        image: the name of its image; by default the key.
        confidence: the probability of the prediction.
    """
    several = references if isinstance(references, (list, tuple)) else [references]
    return Prediction(
        key=(name := id_text(key, "the key", where)),
        group=_text(group),
        prompt=_text(prompt),
        prediction=_text(prediction),
        references=tuple(_text(reference) for reference in several if reference is not None),
        score=score,
        confidence=confidence,
        loss=math.nan,
        image=_text(image) or name,
    )


def _text(value: Any) -> str:
    return clean_text("" if value is None else value if isinstance(value, str) else str(value))


def number(value: Any, where: str, name: str) -> float:
    """Return a score as a number; None and an empty cell are NaN.

    Raises:
        InputError: It is neither a number nor a truth value.
    """
    if value is None or value == "":
        return math.nan
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{where}: {name} is {show(value)}, expected a number: correct it or remove it") from error
    if math.isinf(result):
        raise InputError(f"{where}: {name} is infinite: correct it or remove it")
    return result


def chosen(names: Collection[str], choice: str | None, what: str, path: Path) -> str:
    """Return the choice of a user, or the only name; empty if there is none.

    Args:
        names: the names in the file.
        choice: the name that the user gave, if any.
        what: the option, without ``--``.
        path: the file.

    Raises:
        InputError: The choice is not among the names, or there are several names and no choice.
    """
    listed = ", ".join(map(str, names)) or "none"
    if choice is not None and choice not in names:
        raise InputError(f"{path}: --{what} {choice} is not in the file, which has: {listed}; choose one of them")
    if choice is None and len(names) > 1:
        raise InputError(
            f"{path}: has several values for --{what}: {listed}; choose one, e.g. --{what} {next(iter(names))}"
        )
    return choice or next(iter(names), "")


def field(values: Mapping[str, Any], choice: str | None, default: Sequence[str], where: str) -> Any:
    """Return the value of the field that the user chose, or of the first default field that exists; else None.

    Raises:
        InputError: The chosen field is missing.
    """
    if choice is not None and choice not in values:
        raise InputError(f"{where}: has no field {choice!r}, only {', '.join(map(str, values))}: choose one of them")
    return next((values[name] for name in ([choice] if choice else default) if name in values), None)


def check_keys(rows: Iterable[Prediction], path: Path) -> list[Prediction]:
    """Return the rows, of which each must have a key of its own.

    Raises:
        InputError: There are none, or two have one key.
    """
    by_key: dict[str, Prediction] = {}
    for row in rows:
        if row.key in by_key:
            raise InputError(f"{path}: sample {show(row.key)} occurs twice: give each sample one prediction")
        by_key[row.key] = row
    if not by_key:
        raise InputError(f"{path}: holds no predictions: was the file truncated?")
    return list(by_key.values())
