"""The program that renders chat templates: one JSON request per line of stdin, one JSON answer per line of stdout.

It is started by ``chat_template.py`` and uses only the standard library and Jinja, so that it starts fast. It ends with
its stdin, also when the process that started it is killed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import Environment, Template, TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from typing_extensions import override

MAX_MEMORY = 2**29
_DAY = datetime(2024, 7, 26)  # the day that templates of Llama 3 fall back to


class _Generation(Extension):
    """The block ``{% generation %}`` of transformers, which marks the turns of the assistant: its content is kept."""

    tags = {"generation"}

    @override
    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _fail(message: object) -> NoReturn:
    raise TemplateError(str(message))


def _json(value: object, indent: int | None = None, **_: object) -> str:
    """Write JSON without the escapes for HTML of Jinja's own filter."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


@lru_cache(8)
def _compiled(source: str) -> Template:
    environment: Environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
    )
    environment.filters["tojson"] = _json
    strftime: Callable[[str], str] = _DAY.strftime
    environment.globals |= {"raise_exception": _fail, "strftime_now": strftime}
    return environment.from_string(source)


def answer(template: str, names: dict[str, Any], max_characters: int) -> dict[str, str]:
    """Return the text, or the reason why there is none."""
    parts: list[str] = []
    left = max_characters
    try:
        for part in _compiled(template).generate(names):
            parts.append(part)
            left -= len(part)
            if left < 0:
                return {"error": f"writes more than {max_characters:,} characters"}
        text = "".join(parts)
        text.encode()  # half of a surrogate pair is no character, and no tokeniser reads it
    except MemoryError:
        return {"error": f"needs more than {MAX_MEMORY >> 20} MiB of memory"}
    except RecursionError:
        return {"error": "is nested too deep"}
    except SecurityError as error:
        return {"error": f"does what the sandbox forbids ({_short(error)})"}
    except Exception as error:  # a template can raise anything
        return {"error": f"fails ({_short(error)})"}
    return {"text": text}


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    return text or type(error).__name__


def main() -> None:
    """Answer requests until stdin ends."""
    with suppress(ImportError, ValueError, OSError):  # no such limit on Windows; the limit on time holds there, too
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = sys.stdout.buffer
    out.write(b"ready\n")
    out.flush()
    for line in sys.stdin.buffer:
        out.write(json.dumps(answer(**json.loads(line))).encode() + b"\n")
        out.flush()


if __name__ == "__main__":
    main()
