"""What every local server here has: a free port on the loopback address, threads, and answers in JSON."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self


class JsonHandler(BaseHTTPRequestHandler):
    """One connection; `server_of` is the server that it belongs to."""

    server_of: Any
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer_get()

    def do_POST(self) -> None:
        self.answer_post()

    # What each server fills in:

    def answer_get(self) -> None:
        self.send(405, {})

    def answer_post(self) -> None:
        self.send(405, {})

    # What it answers with:

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def send(
        self, status: int, content: Any, headers: dict[str, str] | None = None, *, broken_off: bool = False
    ) -> None:
        """Send bytes as they are, and everything else as JSON; `broken_off` in the middle of it."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | (headers or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if broken_off else data)
        self.close_connection = self.close_connection or broken_off

    def log_message(self, *arguments: Any) -> None:
        """Say nothing: the tests' output is for failures."""


class LocalServer:
    """Serves from `with` until its end, at `url`."""

    handler: ClassVar[type[JsonHandler]]

    def __enter__(self) -> Self:
        handler = type("Handler", (self.handler,), {"server_of": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def url(self) -> str:
        """The address, without a path."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"
