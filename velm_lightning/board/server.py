"""Serves the board to browsers on this machine only."""

from __future__ import annotations

import sys
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from typing_extensions import override

from velm_lightning.board.state import Board
from velm_lightning.compare.page import as_json, asset, plotly_js
from velm_lightning.errors import InputError

HOSTS = ("127.0.0.1", "localhost", "[::1]")
TRIED = 20
"""Number of ports that are tried from the wanted one upwards."""

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src data: blob:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}


class BoardServer(ThreadingHTTPServer):
    """The server of a board, bound to 127.0.0.1.

    Args:
        board: the board.
        port: the port; 0 means any.
    """

    daemon_threads = True
    allow_reuse_address = sys.platform != "win32"  # there, two servers could share a port

    def __init__(self, board: Board, port: int) -> None:
        self.board = board
        super().__init__(("127.0.0.1", port), Handler)

    @property
    def address(self) -> str:
        """The address for a browser."""
        return f"http://127.0.0.1:{self.server_address[1]}/"

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that closes a connection is no error."""


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD with fixed files and with JSON; nothing that a request names is opened."""

    server: BoardServer
    server_version = "velm"
    sys_version = ""
    timeout = 30

    def do_GET(self) -> None:  # noqa: N802
        """Answer a request."""
        path, _, query = self.path.partition("?")
        if not self._is_local() or (path != "/" and self._is_of_another_page()):
            self.send_error(403, "this server answers only to its own page at 127.0.0.1 or localhost")
            return
        words = parse_qs(query)
        if path == "/state":
            self._json(self.server.board.state(words.get("experiment", [None])[0], words.get("figure", [])[:4]))
        elif path == "/gallery":
            self._json(self.server.board.gallery(words.get("experiment", [""])[0]))
        elif content := _file(path):
            self._send(content, _TYPES[content_type(path)], "no-cache")
        else:
            self.send_error(404)

    do_HEAD = do_GET  # noqa: N815

    def _is_local(self) -> bool:
        """Return whether a browser meant this machine; a page elsewhere can give its own name this address."""
        host = self.headers.get("Host", "")
        return host.rpartition(":")[0] in HOSTS or host in HOSTS

    def _is_of_another_page(self) -> bool:
        """Return whether a page of another address asks; it cannot read the answer but could keep this server busy."""
        return self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")

    def _json(self, data: Any) -> None:
        self._send(as_json(data).encode(), "application/json", "no-store")

    def _send(self, content: bytes, kind: str, caching: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", caching)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    @override
    def end_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass


def content_type(path: str) -> str:
    """Return the ending of a file of the page."""
    return "html" if path == "/" else path.rpartition(".")[2]


def _file(path: str) -> bytes:
    """Return a file of the page; empty if there is no such file."""
    if path == "/plotly.js":
        return plotly_js().encode()
    if path == "/board.js":
        return _script().encode()
    name = {"/": "board.html", "/style.css": "style.css"}.get(path)
    return asset(name).encode() if name else b""


@cache
def _script() -> str:
    return "\n".join(['"use strict";', *(asset(f"{part}.js") for part in ("parts", "gallery", "board"))])


def serve(board: Board, port: int) -> BoardServer:
    """Return a server on the wanted port, or on one of the next if it is in use.

    Raises:
        InputError: All of them are in use.
    """
    for place in range(port, port + TRIED if port else 1):
        try:
            return BoardServer(board, place)
        except (OSError, OverflowError) as error:
            reason = str(error)
    raise InputError(f"--port {port}: neither it nor the next {TRIED - 1} ports can be used ({reason}): name another")
