"""Loopback servers in the place of Prometheus and of a Go process. They answer with what a test puts into them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from diagnose.config import PrometheusServer
from diagnose.prometheus import Prometheus

DATA = Path(__file__).parent / "data"


@dataclass
class Asked:
    """One request as it came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    port: int


@dataclass
class Reply:
    """What to send. `before` runs first, in the server's thread: to wait for an event, or to set one."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    before: Any = None
    cut_after: int | None = None


@dataclass
class FakeServer:
    """`replies` by path; a list is answered in turn, its last entry for good. Unknown paths get `missing`."""

    url: str = ""
    replies: dict[str, Reply | list[Reply]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    missing: Reply = field(default_factory=lambda: Reply(b"Unknown profile\n", 404))
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def address(self) -> str:
        return urlsplit(self.url).netloc

    def reply_to(self, asked: Asked) -> Reply:
        with self.lock:
            self.asked.append(asked)
            reply = self.replies.get(asked.path, self.missing)
            if isinstance(reply, list):
                return reply.pop(0) if len(reply) > 1 else reply[0]
            return reply

    def paths(self) -> list[str]:
        with self.lock:
            return [asked.path for asked in self.asked]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeServer

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        query = {name: values[0] for name, values in parse_qs(body or parts.query).items()}
        reply = self.fake.reply_to(Asked(self.command, parts.path, query, dict(self.headers), self.client_address[1]))
        if reply.before:
            reply.before()
        try:
            self._send(reply)
        except OSError:  # the client has gone, which is what some tests are about
            self.close_connection = True

    do_GET = do_POST = _answer  # noqa: N815  the names are the library's

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if reply.cut_after is None:
            self.wfile.write(reply.body)
        else:
            self.wfile.write(reply.body[: reply.cut_after])
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


@contextmanager
def serving(fake: FakeServer, host: str = "127.0.0.1") -> Iterator[FakeServer]:
    """*fake* on a free port; its `url` is set."""
    server = _Server((host, 0), type("Handler", (_Handler,), {"fake": fake}))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    fake.url = f"http://{host}:{server.server_address[1]}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def data(answer: Any) -> Reply:
    """A successful answer of Prometheus."""
    return Reply(json.dumps({"status": "success", "data": answer}).encode())


def recorded(name: str) -> Reply:
    """An answer of a real Prometheus from tests/data/prometheus."""
    return Reply((DATA / "prometheus" / f"{name}.json").read_bytes())


def prometheus_at(fake: FakeServer, **more: Any) -> Prometheus:
    return Prometheus(PrometheusServer(name="main", url=fake.url, **more), timeout_s=1.0)


def profile_bytes(name: str) -> bytes:
    """A recorded profile from tests/data/pprof, by file name without its ending."""
    return (DATA / "pprof" / f"{name}.pb.gz").read_bytes()
