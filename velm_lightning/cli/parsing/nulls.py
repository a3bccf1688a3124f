"""Null and dotted keys within a mapping, such as ``columns.text null``, from the command line and from sweeps."""

from __future__ import annotations

from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser
from typing_extensions import override


class NullParser(LightningArgumentParser):
    """Lightning's parser that keeps null within a class, and merges dotted keys into a mapping.

    A key within a class reaches the class's own parser as one word, in which jsonargparse writes null as ``None``, a
    string. A dotted key within a mapping arrives as a namespace, which jsonargparse does not accept.
    """

    @override
    def parse_args(self, *args: Any, **kwargs: Any) -> Any:
        words = args[0] if args else None
        if words is not None and len(words) == 1 and words[0].startswith("--") and words[0].endswith("=None"):
            args = ([f"{words[0].removesuffix('None')}null"], *args[1:])
        return super().parse_args(*args, **kwargs)

    @override
    def parse_object(self, cfg_obj: Any, *rest: Any, namespace: Any = None, **named: Any) -> Any:
        if isinstance(cfg_obj, Namespace):
            for action in self._actions:
                given = cfg_obj.get(action.dest)
                if isinstance(given, Namespace) and _is_mapping(getattr(action, "_typehint", None)):
                    before = namespace.get(action.dest) if isinstance(namespace, Namespace) else None
                    cfg_obj[action.dest] = {**(before or {}), **given.as_dict()}
        return super().parse_object(cfg_obj, *rest, namespace=namespace, **named)


def _is_mapping(kind: Any) -> bool:
    """Return whether a type is a dict or a typed dict, or one of these or None."""
    kinds = getattr(kind, "__args__", ()) if not isinstance(kind, type) else (kind,)
    return any(isinstance(each, type) and issubclass(each, dict) for each in kinds)
