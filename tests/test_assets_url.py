from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mas_ray import assets
from mas_ray.assets import AssetUnavailableError

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """One file; it can break off, refuse ranges or fail, and remembers what it was asked for."""

    content = CONTENT
    breaks_after: int | None = None
    knows_ranges = True
    status: int | None = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/models/sam.pth?signature=secret"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers["Range"]
        self.server.asked.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.server.knows_ranges else 0
        if self.server.status:
            self.send_error(self.server.status)
        elif asked and start >= len(self.server.content):
            self.send_error(416)
        else:
            body = self.server.content[start:]
            self.send_response(206 if asked and self.server.knows_ranges else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: self.server.breaks_after])

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def _broken_off(server: Server, cache: Path) -> str:
    """Fetch 1000 bytes of the file; gives the complaint."""
    server.breaks_after = 1000
    with pytest.raises(AssetUnavailableError) as caught:
        assets.fetch_url(server.url, sha256=SHA256, cache=cache)
    server.breaks_after = None
    return str(caught.value)


def test_fetches_once(server: Server, tmp_path: Path) -> None:
    path = assets.fetch_url(server.url, sha256=SHA256, cache=tmp_path)
    assert path.read_bytes() == CONTENT
    assert assets.fetch_url(server.url, sha256=SHA256, cache=tmp_path) == path
    assert server.asked == [None]
    assert not list(tmp_path.rglob("*.partial"))


def test_goes_on_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    complaint = _broken_off(server, tmp_path)
    assert f"ended after 1000 of {len(CONTENT)} bytes; run again to go on" in complaint
    assert "\n" not in complaint
    assert assets.fetch_url(server.url, sha256=SHA256, cache=tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000-"]


def test_a_server_without_ranges_sends_all_anew(server: Server, tmp_path: Path) -> None:
    _broken_off(server, tmp_path)
    server.knows_ranges = False
    assert assets.fetch_url(server.url, sha256=SHA256, cache=tmp_path).read_bytes() == CONTENT


def test_killed_between_the_last_byte_and_the_name(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "by-sha256"
    folder.mkdir()
    (folder / f"{SHA256}.partial").write_bytes(CONTENT)
    assert assets.fetch_url(server.url, sha256=SHA256, cache=tmp_path).read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT)}-"]


@pytest.mark.parametrize("rubbish", [b"", CONTENT[:7] + b"!", CONTENT + b"!"])
def test_another_file_is_refused_and_not_gone_on_with(server: Server, tmp_path: Path, rubbish: bytes) -> None:
    folder = tmp_path / "by-sha256"
    folder.mkdir()
    (folder / f"{SHA256}.partial").write_bytes(rubbish)
    server.content = CONTENT if rubbish else CONTENT[::-1]
    with pytest.raises(AssetUnavailableError, match=rf"/models/sam\.pth: has SHA-256 \w+, expected {SHA256}"):
        assets.fetch_url(server.url, sha256=SHA256, cache=tmp_path)
    server.content = CONTENT
    assert assets.fetch_url(server.url, sha256=SHA256, cache=tmp_path).read_bytes() == CONTENT


def test_several_may_fetch_at_once(server: Server, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: assets.fetch_url(server.url, sha256=SHA256, cache=tmp_path), range(4)))
    assert len(set(paths)) == 1
    assert server.asked == [None]


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_refusal_is_one_line_without_secrets(server: Server, tmp_path: Path, status: int) -> None:
    server.status = status
    url = server.url.replace("http://", "http://user:password@")  # urllib knows no such URLs, and says so
    with pytest.raises(AssetUnavailableError) as caught:
        assets.fetch_url(server.url, sha256=SHA256, cache=tmp_path)
    with pytest.raises(AssetUnavailableError) as with_user:
        assets.fetch_url(url, sha256=SHA256, cache=tmp_path)
    for message in (str(caught.value), str(with_user.value)):
        assert "/models/sam.pth: cannot be fetched: " in message
        assert "secret" not in message
        assert "password" not in message
        assert "\n" not in message


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(AssetUnavailableError, match=r"http://127\.0\.0\.1:9/x: cannot be fetched: .*refused"):
        assets.fetch_url("http://127.0.0.1:9/x", sha256=SHA256, cache=tmp_path)


def test_an_unwritable_cache_is_named(server: Server, tmp_path: Path) -> None:
    cache = tmp_path / "a-file"
    cache.write_text("")
    with pytest.raises(AssetUnavailableError, match="cannot keep http") as caught:
        assets.fetch_url(server.url, sha256=SHA256, cache=cache)
    assert str(cache) in str(caught.value)
    assert "secret" not in str(caught.value)
