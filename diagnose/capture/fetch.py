"""
One GET of one profile: to a checked address, bounded in time and size, every failure typed.

No redirects, no proxies, no cookies; credentials come from the target's own entry and go nowhere else. Go's handlers
answer errors in plain text, which becomes the reason in the capture row.
"""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self, TypeVar
from urllib.parse import SplitResult, urlencode, urlsplit

from diagnose.capture.network import Resolver, Unreachable, allowed_address, resolve
from diagnose.capture.targets import AllowedTarget
from diagnose.config import Client
from diagnose.credentials import request_headers, tls_context
from diagnose.errors import CaptureError, DecodeError
from diagnose.kinds import PROFILE_KINDS, ProfileKind
from diagnose.model import Target, utc_now
from diagnose.pprof.parse import Parsed
from diagnose.pprof.pool import SHARED as PARSERS

Own = TypeVar("Own")

CONNECT_S = 2.0
PATIENCE_S = 15.0  # beyond the seconds a sampling kind takes by itself: it sends no byte before its end
STOP_CHECK_S = 0.2
TRACE_MAGIC = b"go 1."
_CHUNK_BYTES = 65536


class ProfilerBusy(CaptureError):
    """The process is being profiled by somebody else: a process has one CPU profiler. Retryable."""


class TooManySeconds(CaptureError):
    """The server's WriteTimeout is shorter than the profile; fewer seconds may do. Retryable."""


class Interrupted(CaptureError):
    """We were told to stop while waiting; the target stops profiling as soon as the connection is gone."""


class Stale(Unreachable):
    """The connection ended before any answer: after a pause that only means that the server had closed it."""


@dataclass(frozen=True)
class Limits:
    """How large a profile may be, as sent and inflated, and how long one may take that is not sampled."""

    body_bytes: int = 64 * 1024 * 1024
    inflated_bytes: int = 128 * 1024 * 1024
    snapshot_s: float = 10.0


LIMITS = Limits()


@dataclass(frozen=True)
class Fetched:
    """A profile with the bytes it came as. `took_s` is without the time to connect."""

    profile: Parsed
    body: bytes
    started_at: datetime
    ended_at: datetime
    took_s: float
    http_status: int = 200


@dataclass(frozen=True)
class Cost:
    """What a target was asked so far: requests, and the seconds from each of them to the end of its answer."""

    requests: int = 0
    took_s: float = 0.0

    def since(self, before: Cost) -> Cost:
        return Cost(self.requests - before.requests, self.took_s - before.took_s)


@dataclass(frozen=True)
class _Answer:
    status: int
    body: bytes

    @property
    def text(self) -> str:
        """The first words of the body, on one line, printable."""
        text = self.body[:300].decode("utf-8", "replace")
        return " ".join("".join(each if each.isprintable() else " " for each in text).split())[:200]


class Connection:
    """
    HTTP to one target, kept open between requests. For one thread; close it after use.

    *interrupted* is asked while waiting; *on_request* is called each time a request has been sent.
    """

    def __init__(
        self,
        target: Target,
        *,
        interrupted: Callable[[], bool] = lambda: False,
        on_request: Callable[[], None] = lambda: None,
        resolver: Resolver = resolve,
        limits: Limits = LIMITS,
    ) -> None:
        self.target = target
        self.limits = limits
        self._interrupted = interrupted
        self._on_request = on_request
        self._resolver = resolver
        self._url = split_url(target.pprof_url)
        self._client = target.client if isinstance(target, AllowedTarget) else Client()
        self._http: http.client.HTTPConnection | None = None
        self._answering = False
        self.cost = Cost()

    def get(self, path: str, query: Mapping[str, str], *, timeout_s: float) -> tuple[_Answer, float]:
        """
        The answer to one GET below the base URL, and how many seconds it took.

        Raises CaptureError (Unreachable, Interrupted, or refused because of the address). A connection that went stale
        while it was not used is opened anew once.
        """
        reused = self._http is not None
        try:
            return self._exchange(path, query, timeout_s)
        except Stale:
            if not reused:
                raise
            return self._exchange(path, query, timeout_s)

    def _exchange(self, path: str, query: Mapping[str, str], timeout_s: float) -> tuple[_Answer, float]:
        deadline = time.monotonic() + timeout_s
        self._answering = False
        try:
            return self._timed(self._connected(), path, query, deadline)
        except CaptureError:
            self.close()
            raise
        except TimeoutError as err:
            self.close()
            raise Unreachable(f"no answer within {timeout_s:g} s", retryable=True) from err
        except (OSError, http.client.HTTPException, ValueError) as err:
            self.close()
            stale = isinstance(err, ConnectionError) and not self._answering
            raise (Stale if stale else Unreachable)(_cause(err), retryable=True) from err

    def _timed(
        self, sock: socket.socket, path: str, query: Mapping[str, str], deadline: float
    ) -> tuple[_Answer, float]:
        started = time.monotonic()
        try:
            answer = self._request(sock, path, query, deadline)
        finally:
            took_s = time.monotonic() - started
            self.cost = Cost(self.cost.requests + 1, self.cost.took_s + took_s)
        return answer, took_s

    def _connected(self) -> socket.socket:
        if self._http is None:
            self._http = self._open()
            self._http.connect()
        sock: socket.socket = self._http.sock
        return sock

    def _open(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port or (443 if self._url.scheme == "https" else 80)
        tls = self._own(tls_context) if self._url.scheme == "https" else None
        return _CheckedConnection(host, port, self.target.networks, self._resolver, tls)

    def _own(self, read: Callable[[Client], Own]) -> Own:
        try:
            return read(self._client)
        except OSError as err:  # ssl.SSLError too
            raise CaptureError(f"a file named in its entry in targets cannot be used: {_cause(err)}") from err

    def _request(self, sock: socket.socket, path: str, query: Mapping[str, str], deadline: float) -> _Answer:
        connection = self._http
        assert connection is not None  # noqa: S101  _connected() ran
        url = f"{self._url.path}/{path}" + (f"?{urlencode(query)}" if query else "")
        connection.request("GET", url, headers={"User-Agent": "diagnose", **self._own(request_headers)})
        self._on_request()
        self._wait(sock, deadline)
        sock.settimeout(max(0.001, deadline - time.monotonic()))
        response = connection.getresponse()
        self._answering = True
        body = self._read(sock, response, deadline)
        if response.will_close:
            self.close()
        return _Answer(response.status, body)

    def _wait(self, sock: socket.socket, deadline: float) -> None:
        """Until the answer begins; in small steps, so that a stop is not held up by a long profile."""
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        while not poll.poll(STOP_CHECK_S * 1000):
            if self._interrupted():
                raise Interrupted("stopped while waiting for the profile")
            if time.monotonic() > deadline:
                raise TimeoutError

    def _read(self, sock: socket.socket, response: http.client.HTTPResponse, deadline: float) -> bytes:
        body = bytearray()
        while chunk := response.read1(_CHUNK_BYTES):
            body += chunk
            if len(body) > self.limits.body_bytes:
                message = f"the answer is larger than {self.limits.body_bytes} bytes"
                raise CaptureError(message, http_status=response.status)
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            sock.settimeout(left_s)
        if response.length:
            raise Unreachable(f"the answer was cut off after {len(body)} bytes", retryable=True)
        response.close()  # it does not notice by itself that read1 got everything
        return bytes(body)

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _CheckedConnection(http.client.HTTPConnection):
    """Resolves once, checks the address, and connects to that address."""

    def __init__(
        self, host: str, port: int, networks: tuple[str, ...], resolver: Resolver, tls: ssl.SSLContext | None
    ) -> None:
        super().__init__(host, port, timeout=CONNECT_S)
        self._networks = networks
        self._resolver = resolver
        self._tls = tls
        if tls:
            self.default_port = 443  # decides whether the Host header has a port

    def connect(self) -> None:
        address = allowed_address(self.host, self.port, self._networks, self._resolver)
        sock = socket.create_connection((address, self.port), CONNECT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._tls.wrap_socket(sock, server_hostname=self.host) if self._tls else sock


def split_url(url: str) -> SplitResult:
    """The parts of a target's base URL. Raises CaptureError (refused) unless it is a plain http(s) URL."""
    try:
        parts = urlsplit(url)
        well_formed = parts.port is None or parts.port > 0
    except ValueError as err:
        raise CaptureError(f"{url!r} is no URL", status="refused") from err
    if parts.scheme not in ("http", "https") or not parts.hostname or not well_formed:
        raise CaptureError("only http and https URLs with a host are asked", status="refused")
    if set("@%") & set(parts.netloc) or parts.query or parts.fragment:
        raise CaptureError("the URL of a target has no user, zone, query or fragment", status="refused")
    return parts


def fetch(connection: Connection, kind: ProfileKind, *, seconds: int = 0) -> Fetched:
    """
    Capture one profile of *kind*; a sampling kind runs for *seconds*.

    Raises CaptureError: `refused` when the target or our rules said no (ProfilerBusy, TooManySeconds, 401, 404, …),
    `failed` when it could not be had or is no profile of that kind.
    """
    query = {"seconds": str(seconds)} if kind.sampling else {}
    timeout_s = seconds + PATIENCE_S if kind.sampling else connection.limits.snapshot_s
    started_at = utc_now()
    answer, took_s = connection.get(kind.path, query, timeout_s=timeout_s)
    ended_at = utc_now()
    if answer.status != 200:
        raise _refusal(answer)
    return Fetched(_decoded(answer.body, kind, connection.limits), answer.body, started_at, ended_at, took_s)


def fetch_trace(connection: Connection, *, seconds: int) -> bytes:
    """
    An execution trace of so many seconds, as the runtime wrote it: for `go tool trace`, nothing here reads it.

    Raises CaptureError as `fetch` does.
    """
    kind = PROFILE_KINDS["trace"]
    answer, _ = connection.get(kind.path, {"seconds": str(seconds)}, timeout_s=seconds + PATIENCE_S)
    if answer.status != 200:
        raise _refusal(answer)
    if not answer.body.startswith(TRACE_MAGIC):
        raise CaptureError("what the target sent is no execution trace", http_status=200)
    return answer.body


def _decoded(body: bytes, kind: ProfileKind, limits: Limits) -> Parsed:
    try:
        profile = PARSERS.parse(body, max_inflated_bytes=limits.inflated_bytes)
    except DecodeError as err:
        raise CaptureError(f"what the target sent is no usable profile: {err}", http_status=200) from err
    names = [value_type.type for value_type in profile.value_types]
    if kind.name != "wall" and kind.default_type not in names:
        raise CaptureError(f"not a {kind.name} profile: it has {', '.join(names)}", http_status=200)
    return profile


def _refusal(answer: _Answer) -> CaptureError:
    """Go's own texts: net/http/pprof/pprof.go."""
    status, text = answer.status, answer.text
    said = f"HTTP {status}: {text}" if text else f"HTTP {status}"
    if status == 500 and ("already in use" in text or "already enabled" in text):
        return ProfilerBusy(said, status="refused", http_status=status, retryable=True)
    if status == 400 and "WriteTimeout" in text:
        return TooManySeconds(said, status="refused", http_status=status, retryable=True)
    if 300 <= status < 400:
        return CaptureError(f"HTTP {status}: redirects are not followed", status="refused", http_status=status)
    if status in (401, 403):
        fix = "check the credentials of its entry in targets"
        return CaptureError(f"{said} ({fix})", status="refused", http_status=status)
    return CaptureError(
        said, status="failed" if status >= 500 else "refused", http_status=status, retryable=status >= 500
    )


def _cause(err: Exception) -> str:
    if isinstance(err, ssl.SSLError):
        return f"TLS: {getattr(err, 'verify_message', '') or err.reason or 'failed'}"
    if isinstance(err, OSError) and err.strerror:
        return err.strerror
    if isinstance(err, http.client.RemoteDisconnected):
        return "the connection was closed before an answer"
    return f"the answer is not HTTP ({type(err).__name__})"
