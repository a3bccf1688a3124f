"""Conversations that are longer than the longest text: counted, described and refused."""

from __future__ import annotations

from collections.abc import Mapping

from velm_lightning.errors import InputError
from velm_lightning.text.dialogue import EncodedTurns


def check_lengths(rows: Mapping[str, EncodedTurns], longest: int) -> None:
    """Check that all conversations, without the turns that were dropped, have at most ``longest`` tokens.

    Args:
        rows: The conversations by their keys.
        longest: The highest number of tokens.

    Raises:
        InputError: Some have more; the message names the first and the length that is needed.
    """
    lengths = {key: len(row.ids) for key, row in rows.items() if len(row.ids) > longest}
    if lengths:
        raise InputError(
            f"the last question and reply of {len(lengths)} conversations have more tokens than "
            f"data.max_length={longest}, the first is {next(iter(lengths))!r}: set it to {max(lengths.values())} or "
            "more, or remove them"
        )


def describe_shortened(rows: Mapping[str, EncodedTurns], longest: int) -> str:
    """Return a sentence about the conversations that lost turns; empty if there are none."""
    shortened = [key for key, row in rows.items() if row.dropped]
    if not shortened:
        return ""
    turns = sum(rows[key].dropped for key in shortened)
    return (
        f"{len(shortened)} of {len(rows)} conversations have more tokens than data.max_length={longest}, which takes "
        f"{turns} turns from their beginnings; the first is {shortened[0]!r}"
    )
