"""Chat templates of models (Jinja), rendered in a process of their own with limits on output, time and memory."""

from __future__ import annotations

import atexit
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from velm_lightning.errors import InputError

MAX_CHARACTERS, SECONDS = 2**20, 10.0
_START_SECONDS = 120.0  # for Python and Jinja to be imported on a busy machine; no template is read by then
_PROGRAM = Path(__file__).with_name("template_process.py")


def render(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    max_characters: int = MAX_CHARACTERS,
    seconds: float = SECONDS,
    variables: Mapping[str, Any] | None = None,
) -> str:
    """Return the text of a conversation by the chat template of a model.

    A template comes with a model, so it is not trusted. Jinja's sandbox renders it in another process, which is killed
    when the time is over; the process is kept for the next call. The names are those of transformers, except that
    ``strftime_now`` knows only one day, so that a conversation has the same text every day.

    Args:
        template: The Jinja source, as ``tokenizer.chat_template``.
        messages: The turns, each with ``role`` and ``content``; JSON values only.
        max_characters: The highest length of the text, by default 1,048,576.
        seconds: The longest time for one call, by default 10.
        variables: More names for the template, such as ``bos_token`` and ``add_generation_prompt``; by default none.

    Raises:
        InputError: The template is not valid, fails, or exceeds a limit.

    Example:
        >>> from velm_lightning.text.chat_template import render
        >>> template = "{% for turn in messages %}<{{ turn.role }}>{{ turn.content }}{{ eos_token }}{% endfor %}"
        >>> render(template, [{"role": "user", "content": "What is it?"}], variables={"eos_token": "</s>"})
        '<user>What is it?</s>'
    """
    request = {
        "template": template,
        "names": {**(variables or {}), "messages": list(messages)},
        "max_characters": max_characters,
    }
    answer = _process().ask(request, seconds, 12 * max_characters + 2**16)  # a character is at most 12 bytes of JSON
    if "error" in answer:
        raise InputError(f"chat template: {answer['error']}: correct it, or use another template")
    return str(answer["text"])


class _TemplateProcess:
    """A process that renders templates, one request at a time."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None

    def ask(self, request: dict[str, Any], seconds: float, max_bytes: int) -> dict[str, Any]:
        line = json.dumps(request).encode() + b"\n"
        with self.lock:
            process = self.process or self._start()
            deadline = time.monotonic() + seconds
            try:
                answer = _exchange(process, line, deadline, max_bytes)
                return dict(json.loads(answer))
            except (TimeoutError, ValueError, OSError) as error:
                self.close()
                if isinstance(error, TimeoutError):
                    return {"error": f"takes longer than {seconds:g} s"}
                return {"error": "ends the process that renders it (too much memory, or nested too deep)"}
            except BaseException:  # Ctrl-C between a request and its answer, which must not go to the next request
                self.close()
                raise

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", str(_PROGRAM)]  # -P: text/tokenizers.py must not hide the package tokenizers
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        os.set_blocking(self.process.stdin.fileno(), False)  # type: ignore[union-attr]
        _exchange(self.process, b"", time.monotonic() + _START_SECONDS, 100)  # its first line says that it is ready
        return self.process

    def close(self) -> None:
        process, self.process = self.process, None
        if process and self.pid == os.getpid():
            process.kill()
            with process:  # closes the pipes and waits
                pass


def _exchange(process: subprocess.Popen[bytes], line: bytes, deadline: float, max_bytes: int) -> bytes:
    """Write a line and return the line that answers it; raises TimeoutError, or OSError if the process has ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    rest, answer = memoryview(line), bytearray()
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ)
        if rest:
            ready.register(process.stdin, selectors.EVENT_WRITE)
        while not answer.endswith(b"\n"):
            events = ready.select(max(0.0, deadline - time.monotonic()))
            if not events:
                raise TimeoutError
            for key, _ in events:
                if key.fileobj is process.stdin:
                    rest = rest[os.write(key.fd, rest) :]
                    if not rest:
                        ready.unregister(process.stdin)
                    continue
                chunk = os.read(key.fd, 2**16)
                answer += chunk
                if not chunk or len(answer) > max_bytes:
                    raise BrokenPipeError
    return bytes(answer)


_current: _TemplateProcess | None = None


def _process() -> _TemplateProcess:
    """Return the renderer of this process: a forked loader process must not share the pipes of its parent."""
    global _current
    if _current is None or _current.pid != os.getpid():
        _current = _TemplateProcess()
        atexit.register(_current.close)
    return _current
