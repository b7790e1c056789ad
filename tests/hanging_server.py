"""A tracking server that can hang: it accepts connections and does not answer, until it is told to."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests


class Door:
    """Between a client and a server: closed, requests wait for nothing; open, they are passed on."""

    def __init__(self, server: str | None) -> None:
        self._server = server
        self._open = threading.Event()
        self._stopping = threading.Event()
        self.asked = 0

        door = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                door._handle(self)

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def open(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._stopping.set()
        self._http.shutdown()
        self._http.server_close()

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        self.asked += 1
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if not self._open.is_set():
            self._stopping.wait(300)
            return
        assert self._server is not None
        headers = {name: value for name, value in request.headers.items() if name.lower() in ("content-type", "accept")}
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(
                request.command, self._server + request.path, data=body, headers=headers, timeout=30
            )
        request.send_response(answer.status_code)
        request.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
        request.send_header("Content-Length", str(len(answer.content)))
        request.end_headers()
        request.wfile.write(answer.content)


@contextmanager
def hanging_server(monkeypatch: pytest.MonkeyPatch, *, server: str | None = None) -> Generator[Door]:
    """A closed door to an MLflow server, whose clients in this process give up after two seconds."""
    for name, value in {"TIMEOUT": "1", "MAX_RETRIES": "0", "BACKOFF_FACTOR": "0"}.items():
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", value)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    door = Door(server)
    try:
        yield door
    finally:
        door.close()
