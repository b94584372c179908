"""
cheroot's connections, made safe against clients that take their time.

As cheroot comes, a connection gets a thread when it is opened, and the thread that accepts all of them waits for TLS
handshakes: sixteen clients that say nothing, or one that stops in the middle of a handshake, stop everybody. Here a
connection gets a thread when it has something to read, handshakes go on between others without waiting, and what is
read has a deadline.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from cheroot import wsgi
from cheroot.server import HTTPConnection, HTTPRequest
from cheroot.ssl.builtin import BuiltinSSLAdapter

from diagnose.telemetry import get_logger

log = get_logger(__name__)
MAX_CONNECTIONS = 1024
HEADERS_S = 10.0  # for all headers of a request
HANDSHAKE_S = 10.0
CHECK_EVERY_S = 0.25


class Deadlines:
    """Sockets that are read in some thread, and until when: then the reader is told that nothing more comes."""

    def __init__(self) -> None:
        self._until: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()

    @contextmanager
    def within(self, read: socket.socket, seconds: float) -> Iterator[None]:
        with self._lock:
            self._until[read] = time.monotonic() + seconds
        try:
            yield
        finally:
            with self._lock:
                self._until.pop(read, None)

    def _run(self) -> None:
        while not self._stopping.wait(CHECK_EVERY_S):
            now = time.monotonic()
            with self._lock:
                for late in [each for each, until in self._until.items() if until < now]:
                    del self._until[late]
                    with suppress(OSError):
                        socket.socket.shutdown(late, socket.SHUT_RD)  # an SSLSocket's own would drop its TLS state


class Request(HTTPRequest):
    def parse_request(self) -> Any:
        with self.server.deadlines.within(self.conn.socket, self.server.headers_s):
            return super().parse_request()


class Connection(HTTPConnection):
    RequestHandlerClass = Request

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.opened_s = time.monotonic()
        self.has_shaken_hands = not isinstance(self.socket, ssl.SSLSocket)


class TlsAdapter(BuiltinSSLAdapter):
    def wrap(self, sock: socket.socket) -> tuple[ssl.SSLSocket, dict[str, Any]]:
        """Without the handshake, which `Server.process_conn` does as its pieces come in."""
        return self.context.wrap_socket(sock, do_handshake_on_connect=False, server_side=True), {}


class Server(wsgi.Server):
    """What decides which connection gets a thread."""

    ConnectionClass = Connection
    deadlines: Deadlines
    headers_s = HEADERS_S
    _connections: Any

    def process_conn(self, conn: Connection) -> None:
        """A connection that is new or has something to read; called by the one thread that waits for all of them."""
        if conn.last_used is None and self._connections._num_connections > MAX_CONNECTIONS:
            conn.close()
        elif not conn.has_shaken_hands:
            self._shake_hands(conn)
        elif conn.last_used is None:
            self.put_conn(conn)
        else:
            super().process_conn(conn)

    def _shake_hands(self, conn: Connection) -> None:
        """As far as it goes with what is there."""
        conn.socket.settimeout(0)
        try:
            conn.socket.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if time.monotonic() - conn.opened_s > HANDSHAKE_S:
                conn.close()
                return
        except OSError as err:
            log.warning("TLS handshake failed", peer=conn.remote_addr, error=str(err))
            conn.close()
            return
        else:
            conn.has_shaken_hands = True
            conn.ssl_env = self.ssl_adapter.get_environ(conn.socket)
        conn.socket.settimeout(self.timeout)
        self.put_conn(conn)
