"""Clients that take their time, against the real listener: whoever has something to say is answered meanwhile."""

from __future__ import annotations

import json
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from diagnose.config import Server, Settings, TlsServer
from diagnose.store.db import Store
from diagnose.web.lanes import AT_ONCE, THREADS
from tests.builders import webhook
from tests.serving import Serving, serving
from tests.test_web_server import certificate
from tests.waiting import wait_until

UPLOAD = (
    b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n"
    b"Content-Length: 100000\r\n\r\n"
)


@pytest.fixture
def web(store: Store) -> Iterator[Serving]:
    with serving(store) as running:
        yield running


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def connect(web: Serving, sockets: ExitStack) -> socket.socket:
    return sockets.enter_context(socket.create_connection((web.host, web.port), timeout=30))


def test_connections_that_say_nothing_take_no_thread(web, sockets):
    for _ in range(THREADS + 5):
        connect(web, sockets)

    assert 202 == web.post("/webhook", webhook()).status


def test_uploads_that_stop_halfway_leave_the_webhooks_their_threads(web, sockets):
    stuck = [connect(web, sockets) for _ in range(THREADS + 5)]
    for each in stuck:
        each.sendall(UPLOAD)
    answered, _, _ = select.select(stuck, [], [], 60)  # in any order, so more than one may come
    refused = answered[0].recv(1000)

    assert 202 == web.post("/webhook", webhook()).status
    assert 200 == web.get("/healthz").status
    assert b"503" in refused.split(b"\r\n")[0]
    assert b"Retry-After" in refused


@pytest.fixture
def impatient(store: Store) -> Iterator[Serving]:
    with serving(store, headers_s=2) as running:
        yield running


def test_headers_that_never_end_are_given_up(impatient, sockets):
    web = impatient
    slow = [connect(web, sockets) for _ in range(THREADS + 5)]
    for each in slow:
        each.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")

    assert 202 == web.post("/webhook", webhook()).status
    assert b"400" in slow[0].recv(1000).split(b"\r\n")[0]


@pytest.fixture
def tls(store: Store, tmp_path: Path) -> Iterator[Serving]:
    cert, key = certificate(tmp_path, "localhost", "-addext", "subjectAltName=DNS:localhost")
    with serving(store, Settings(server=Server(tls=TlsServer(cert_file=cert, key_file=key)))) as running:
        yield running


def ask_over_tls(web: Serving, context: ssl.SSLContext) -> bytes:
    """The first line of the answer to a webhook."""
    body = json.dumps(webhook()).encode()
    with (
        socket.create_connection((web.host, web.port), timeout=30) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as wrapped,
    ):
        wrapped.sendall(b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        return wrapped.recv(1000).split(b"\r\n")[0]


def client_hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    wrapped = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        wrapped.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("sent", [0, 3, 100, None])
def test_handshakes_that_stop_halfway_stop_nobody_else(tls, sockets, tmp_path, sent):
    hello = client_hello()[:sent]
    for _ in range(THREADS + 5):
        connect(tls, sockets).sendall(hello)

    context = ssl.create_default_context(cafile=str(tmp_path / "localhost.pem"))
    assert ask_over_tls(tls, context).startswith(b"HTTP/1.1 202")


def test_plain_http_on_the_tls_port_is_hung_up_on(tls, sockets, tmp_path):
    plain = connect(tls, sockets)
    plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")

    answer = plain.recv(1000)
    assert not answer.startswith(b"HTTP/1.1 200")
    context = ssl.create_default_context(cafile=str(tmp_path / "localhost.pem"))
    assert ask_over_tls(tls, context).startswith(b"HTTP/1.1 202")


def test_so_many_webhooks_wait_and_no_more(web):
    """The writer is held, so every webhook waits for its commit; one more than may wait is told to come back."""
    held, entered = threading.Event(), threading.Event()

    def hold(_cursor: object) -> None:
        entered.set()
        assert held.wait(30)

    web.store.control.submit(hold)
    assert entered.wait(10)
    statuses: list[int] = []
    bodies = [webhook(groupKey=str(number)) for number in range(AT_ONCE["webhooks"] + 3)]
    threads = [threading.Thread(target=lambda b=b: statuses.append(web.post("/webhook", b).status)) for b in bodies]
    for thread in threads:
        thread.start()
    wait_until(lambda: statuses.count(503) == 3)  # they come back at once, the others wait
    held.set()
    for thread in threads:
        thread.join(30)

    assert (AT_ONCE["webhooks"], 3) == (statuses.count(202), statuses.count(503))
