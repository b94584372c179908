"""The listener: cheroot with our limits, in a thread of its own."""

from __future__ import annotations

import errno
import socket
import ssl
import threading
from functools import partial
from typing import Any

from cheroot import wsgi
from flask import Flask

from diagnose.config import Settings, TlsServer
from diagnose.config.values import split_address
from diagnose.errors import ConfigError, Mistake
from diagnose.telemetry import get_logger
from diagnose.web.bodies import DEADLINE
from diagnose.web.connections import HEADERS_S, Deadlines, Server, TlsAdapter
from diagnose.web.lanes import THREADS

log = get_logger(__name__)
KEPT_CONNECTIONS = 512
BACKLOG = 128
HEADER_BYTES = 65_536
TIMEOUT_S = 15  # between two pieces of a request
SHUTDOWN_S = 10
CLIENT = "diagnose.client"  # in the WSGI environment: the number of the socket of whoever asks
CHUNK_OVERHEAD = 2  # a body in chunks of one byte is mostly chunk sizes


class _Gateway(wsgi.Gateway_10):
    """cheroot's own, but `Connection: close` of the application is obeyed, and no chunk is read beyond the cap."""

    def get_environ(self) -> dict[str, Any]:  # type: ignore[override]  # cheroot's stub forgot to say
        if self.req.chunked_read:
            self.req.rfile.maxlen = self.req.server.chunked_limit_bytes
        environ: dict[str, Any] = super().get_environ()  # type: ignore[no-untyped-call]
        connection = self.req.conn.socket
        return {
            **environ,
            "wsgi.input_terminated": True,
            CLIENT: connection.fileno(),
            DEADLINE: partial(self.req.server.deadlines.within, connection),
        }

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if ("Connection", "close") in headers:
            self.req.close_connection = True
        return super().start_response(status, headers, exc_info)


class _Server(Server):
    max_request_header_size = HEADER_BYTES
    keep_alive_conn_limit = KEPT_CONNECTIONS
    expiration_interval = 0.1  # seconds; also how long `stop` may wait for nothing
    chunked_limit_bytes = 0

    @staticmethod
    def bind_socket(socket_: socket.socket, bind_addr: tuple[str, int]) -> socket.socket:
        try:
            socket_.bind(bind_addr)
        except OSError:
            socket_.close()  # cheroot would leave it to the garbage collector
            raise
        return socket_

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        """What goes wrong below our application: broken connections and TLS handshakes, mostly."""
        if traceback:
            log.exception("connection failed", what=msg.strip())  # noqa: LOG004  cheroot handles one now
        else:
            log.warning("connection failed", what=msg.strip(), level=level)


class HttpServer:
    """`start` binds and returns; `stop` lets running requests end. The address is the one really bound."""

    def __init__(
        self,
        app: Flask,
        settings: Settings,
        *,
        listen: str | None = None,
        setting: str = "server.listen",
        headers_s: float = HEADERS_S,
    ) -> None:
        """*setting* has the address *listen*. *headers_s*: how long all headers of a request may take."""
        self.app = app
        self._listen = listen or settings.server.listen
        self._setting = setting
        self._server = _Server(
            split_address(self._listen),
            app,
            numthreads=THREADS,
            max=THREADS,
            server_name="diagnose",
            request_queue_size=BACKLOG,
            timeout=TIMEOUT_S,
            shutdown_timeout=SHUTDOWN_S,
        )
        self._server.gateway = _Gateway
        self._server.deadlines = Deadlines()
        self._server.headers_s = headers_s
        largest = max(settings.ingest.max_body_bytes, settings.ingest.webhook_max_bytes)
        self._server.chunked_limit_bytes = largest * CHUNK_OVERHEAD
        self._server.ssl_adapter = _tls(settings.server.tls)
        self._thread = threading.Thread(target=self._server.serve, name="http", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port; the port is the real one when the setting says 0."""
        host, port = self._server.bind_addr[:2]
        return str(host), int(port)

    def use(self, app: Flask) -> None:
        """Answer the next requests with *app*; those that run end as they began."""
        self.app = self._server.wsgi_app = app

    def start(self) -> None:
        """Raises ConfigError, which names the setting, when the address cannot be had."""
        try:
            self._server.prepare()
        except OSError as err:
            raise ConfigError([Mistake(self._setting, self._why(err))]) from err
        self._server.deadlines.start()
        self._thread.start()

    def stop(self) -> None:
        """No new requests; running ones may end. Calling it twice, or before `start`, is harmless."""
        self._server.stop()
        self._server.deadlines.stop()
        if self._thread.is_alive():
            self._thread.join(SHUTDOWN_S)

    def _why(self, err: OSError) -> str:
        if f"[Errno {errno.EADDRINUSE}]" in str(err):
            return f"{self._listen} is in use by another program"
        return f"cannot listen on {self._listen}: {err}"


def _tls(settings: TlsServer) -> TlsAdapter | None:
    if settings.cert_file is None or settings.key_file is None:
        return None
    try:
        adapter = TlsAdapter(str(settings.cert_file), str(settings.key_file))
        if settings.client_ca_file:
            adapter.context.load_verify_locations(str(settings.client_ca_file))
            adapter.context.verify_mode = ssl.CERT_REQUIRED
    except (ssl.SSLError, OSError, ValueError) as err:
        raise ConfigError([Mistake("server.tls", f"certificate, key or client CA cannot be used: {err}")]) from err
    return adapter
