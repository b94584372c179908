"""Alerts as Alertmanager posts them, and clients light enough to share the machine with the server they measure."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

SERVICES = ("frontend", "checkout", "cart", "payment", "shipping", "catalog", "email", "currency")
TIMEOUT_S = 30.0


def alert(number: int, run: str, *, services: int = len(SERVICES)) -> dict[str, Any]:
    """A firing alert that differs from all others of the *run* in its instance."""
    service = SERVICES[number % services]
    labels = {
        "alertname": "GoroutineLeak",
        "cluster": "loop",
        "env": "test",
        "instance": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}:6060",
        "job": service,
        "run": run,
        "severity": "warning",
    }
    return {
        "status": "firing",
        "labels": labels,
        "annotations": {
            "summary": f"{labels['instance']} has 900 goroutines",
            "runbook_url": "https://example.invalid/runbooks/goroutines",
        },
        "startsAt": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prom.test:9090/graph?g0.expr=go_goroutines%7Bjob%3D%22api%22%7D+%3E+500&g0.tab=1",
    }


def message(*alerts: dict[str, Any], group_key: str) -> bytes:
    """The body of one webhook."""
    body = {
        "receiver": "diagnose",
        "status": "firing",
        "alerts": alerts,
        "groupLabels": {"alertname": "GoroutineLeak"},
        "commonLabels": {"alertname": "GoroutineLeak", "env": "test"},
        "commonAnnotations": {},
        "externalURL": "http://am.test:9093",
        "version": "4",
        "groupKey": group_key,
        "truncatedAlerts": 0,
    }
    return json.dumps(body).encode()


def one_alert(number: int, run: str) -> bytes:
    return message(alert(number, run), group_key=f'{{}}:{{run="{run}", number="{number}"}}')


class Client:
    """One connection that stays open and is made anew when it broke."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._socket: socket.socket | None = None

    def post(self, path: str, body: bytes, content_type: str = "application/json") -> tuple[int, bytes]:
        """Status and body of the answer. Raises OSError when there is none."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._address[0]}:{self._address[1]}\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            if self._socket is None:
                self._socket = socket.create_connection(self._address, TIMEOUT_S)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(head.encode() + body)
            status, answer, closes = self._answer(self._socket)
        except OSError:
            self.close()
            raise
        if closes:
            self.close()
        return status, answer

    def _answer(self, connection: socket.socket) -> tuple[int, bytes, bool]:
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._piece(connection)
        head, _, body = received.partition(b"\r\n\r\n")
        lowered = head.lower()
        _, _, after = lowered.partition(b"\r\ncontent-length:")
        length = int(after.split(b"\r\n", 1)[0] or 0)
        while len(body) < length:
            body += self._piece(connection)
        return int(head.split(b" ", 2)[1]), body, b"\r\nconnection: close" in lowered

    @staticmethod
    def _piece(connection: socket.socket) -> bytes:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionResetError("closed before the answer")
        return piece

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


@dataclass
class Tally:
    """What the clients saw. Latencies in milliseconds, of 2xx answers only."""

    latencies_ms: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    wall_s: float = 0.0

    def add(self, status: int, ms: float) -> None:
        with self.lock:
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if 200 <= status < 300:
                self.latencies_ms.append(ms)

    @property
    def accepted(self) -> int:
        return len(self.latencies_ms)

    def summary(self) -> dict[str, Any]:
        ordered = sorted(self.latencies_ms) or [float("nan")]
        return {
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "posts_per_s": round(self.accepted / self.wall_s, 1) if self.wall_s else None,
            "p50_ms": round(ordered[len(ordered) // 2], 1),
            "p99_ms": round(ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)], 1),
            "max_ms": round(ordered[-1], 1),
        }


def press(host: str, port: int, bodies: Iterator[bytes], *, clients: int, stop: Callable[[], bool]) -> Tally:
    """
    Post *bodies* from so many *clients*, each as fast as it is answered, until they end or *stop* says so.

    What is answered 503 is sent again at once.
    """
    tally, lock = Tally(), threading.Lock()

    def work() -> None:
        client = Client(host, port)
        while not stop():
            with lock:
                body = next(bodies, None)
            if body is None:
                break
            status = 503
            while status == 503:
                began = time.perf_counter()
                status, _ = client.post("/webhook", body)
                tally.add(status, (time.perf_counter() - began) * 1000)
        client.close()

    threads = [threading.Thread(target=work, name=f"client-{number}") for number in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tally.wall_s = time.perf_counter() - began
    return tally


def pace(host: str, port: int, bodies: Iterator[bytes], *, per_second: float, clients: int, seconds: float) -> Tally:
    """
    Post *bodies* at moments fixed beforehand, whatever the answers do; a late start counts into the latency.

    That is how senders who do not know each other behave.
    """
    tally, lock = Tally(), threading.Lock()
    began = time.perf_counter()
    moments = iter(range(int(seconds * per_second)))

    def work() -> None:
        client = Client(host, port)
        while True:
            with lock:
                number, body = next(moments, None), next(bodies, None)
            if number is None or body is None:
                break
            due = began + number / per_second
            if (wait := due - time.perf_counter()) > 0:
                time.sleep(wait)
            status, _ = client.post("/webhook", body)
            tally.add(status, (time.perf_counter() - due) * 1000)
        client.close()

    threads = [threading.Thread(target=work, name=f"paced-{number}") for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tally.wall_s = time.perf_counter() - began
    return tally
