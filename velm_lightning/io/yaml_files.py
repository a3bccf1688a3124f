"""YAML as the package reads and writes it: bounded in size, depth and aliases, and without repeated keys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from typing_extensions import override

from velm_lightning.errors import InputError
from velm_lightning.io.files import read_text, show

MAX_BYTES, MAX_NODES, MAX_DEPTH = 2**24, 100_000, 100
"""Limits on a file; an alias counts as all the nodes that it repeats, and 1,000 characters count as a node."""
_MOST_DIGITS = 400  # a number in base 60 takes a time that is quadratic in their number
_TAG = "tag:yaml.org,2002:"
_Plain: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FLOAT = re.compile(
    r"""^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+
    |\.[0-9_]+(?:[eE][-+][0-9]+)?
    |[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$""",
    re.X,
)


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        InputError: As ``read_yaml_text`` and ``load_yaml``.
    """
    return load_yaml(read_yaml_text(path, str(path)), str(path))


def read_yaml_text(path: Path, name: str) -> str:
    """Return the text of a YAML file.

    Args:
        path: The file; pipes of the own process, such as ``/dev/stdin``, are allowed.
        name: Its name in error messages.

    Raises:
        InputError: The file is missing, too large, no regular file, or not UTF-8.
    """
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise InputError(f"{name}: is larger than {MAX_BYTES >> 20} MiB, too large for a YAML file: name another file")
    try:
        return read_text(path, MAX_BYTES)
    except InputError as error:
        raise InputError(str(error).replace(str(path), name, 1)) from error


def load_yaml(text: str, name: str = "") -> Any:
    """Return the content of a YAML text.

    ``1e-5`` is a number, as in YAML 1.2, and a date is a string.

    Args:
        text: The text.
        name: The name of its file, for error messages.

    Raises:
        InputError: The text is not YAML, a key is given twice, or a limit is exceeded; the message names the line.
    """
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = ":".join(filter(None, (name, str(mark.line + 1) if mark else ""))) or "the text"
        if isinstance(error, _FaultError):
            raise InputError(f"{place}: {error.problem}") from error
        column = f" at column {mark.column + 1}" if mark else ""
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise InputError(f"{place}: not YAML{column} ({reason}): correct it there") from error
    except (ValueError, RecursionError) as error:  # a control character
        raise InputError(f"{name or 'the text'}: not YAML ({error}): correct it there") from error


def dump_yaml(content: Any) -> str:
    r"""Return content as YAML that ``load_yaml`` reads back as it was; PyYAML would write the text ``1e5`` as a number.

    Args:
        content: Plain values.

    Raises:
        InputError: A text is not Unicode, so that YAML cannot hold it.

    Example:
        >>> dump_yaml({"tags": ["1e5"]})
        "tags:\n- '1e5'\n"
    """
    return str(yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False))


class _FaultError(yaml.MarkedYAMLError):
    """A text that is YAML, but is refused."""


def _fault(problem: str, place: Any) -> _FaultError:
    return _FaultError(problem=problem, problem_mark=place)


def _check(text: str) -> None:
    """Count the nodes and the depth of a text from its events, without building anything."""
    sizes: dict[str, int | None] = {}  # nodes of each anchor, None while it is open
    open_nodes: list[tuple[str | None, int]] = []  # the anchor, and the number of nodes before it
    total = 0
    for event in yaml.parse(text, _Plain):
        if isinstance(event, yaml.AliasEvent):
            if (size := sizes.get(str(event.anchor), 0)) is None:
                raise _fault(f"*{event.anchor} contains itself: write it out", event.start_mark)
            total += size
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, total))
            total += 1
            if event.anchor:
                sizes[event.anchor] = None
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = total - before
        elif isinstance(event, yaml.ScalarEvent):
            total += (size := 1 + len(event.value) // 1000)
            if event.anchor:
                sizes[event.anchor] = size
        if len(open_nodes) > MAX_DEPTH:
            raise _fault(f"is nested more than {MAX_DEPTH} deep: simplify it", event.start_mark)
        if total > MAX_NODES:
            problem = f"holds more than {MAX_NODES:,} values, with what its aliases repeat: simplify it"
            raise _fault(problem, event.start_mark)


def _resolvers() -> dict[str, list[tuple[str, Any]]]:
    """Return the patterns of plain values: as PyYAML's, but without dates, and with YAML 1.2's floats."""
    resolvers = {
        first: [(tag, pattern) for tag, pattern in patterns if tag.rpartition(":")[2] not in ("timestamp", "float")]
        for first, patterns in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for first in "-+0123456789.":
        resolvers.setdefault(first, []).append(("tag:yaml.org,2002:float", _FLOAT))
    return resolvers


class Loader(_Plain):
    """PyYAML's safe loader within limits; it refuses a key that is given twice.

    Args:
        stream: The text.
    """

    yaml_implicit_resolvers = _resolvers()

    def __init__(self, stream: str) -> None:
        _check(stream)
        super().__init__(stream)
        self._checked: set[int] = set()

    @override
    def flatten_mapping(self, node: Any) -> None:
        if id(node) not in self._checked:  # a mapping that others merge holds their keys, too, when it is seen again
            self._checked.add(id(node))
            self._check_keys(node)
        super().flatten_mapping(node)

    @override
    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:  # from `!!int ""`
            kind = node.tag.removeprefix(_TAG)
            raise _fault(f"{show(node.value)} is no {kind} ({error}): correct it there", node.start_mark) from error

    @override
    def construct_scalar(self, node: Any) -> Any:
        text = super().construct_scalar(node)
        if node.tag in (f"{_TAG}int", f"{_TAG}float") and len(text) > _MOST_DIGITS:
            raise _fault(f"is a number of more than {_MOST_DIGITS} digits: shorten it", node.start_mark)
        return text

    def _check_keys(self, node: Any) -> None:
        """Refuse keys of the same value, such as ``on`` and ``true``, of which Python would keep one."""
        lines: dict[Any, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != f"{_TAG}merge":
                value = key.value if key.tag == f"{_TAG}value" else self.construct_object(key, deep=True)
                if first := lines.get(value):
                    problem = f"{key.value} is given a second time, after line {first}: remove one of the two"
                    raise _fault(problem, key.start_mark)
                lines[value] = key.start_mark.line + 1


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, which also quotes the texts that ``Loader`` would read as numbers."""

    yaml_implicit_resolvers = {
        first: [*yaml.SafeDumper.yaml_implicit_resolvers.get(first, []), *Loader.yaml_implicit_resolvers.get(first, [])]
        for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *Loader.yaml_implicit_resolvers}
    }

    @override
    def represent_str(self, data: str) -> Any:
        try:
            data.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{show(data)} is not Unicode, which YAML cannot hold: write another text") from error
        escaped = any(end in data for end in "\x85\u2028\u2029")  # PyYAML folds them unless they are escaped
        return self.represent_scalar("tag:yaml.org,2002:str", data, style='"' if escaped else None)


_Dumper.add_representer(str, _Dumper.represent_str)
