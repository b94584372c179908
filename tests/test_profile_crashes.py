"""Profiles that come in numbers while the service is killed: what was answered is there, whole, once."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diagnose.pprof.codec import encode
from tests.pprof.small import cpu_profile, seeded
from tests.service_process import ServiceProcess

KILLS = 3
SENDERS = 4
RUNNING_S = 1.5  # before each kill


def counts_of(number: int) -> Mapping[str, int]:
    """Most stacks are those of other profiles too, some are new in each."""
    chance = seeded(number)
    common = {f"main.main > main.a{at} > main.b{at % 3}": chance.randint(1, 9) for at in chance.sample(range(40), 12)}
    return common | {f"main.main > main.only{number}": 1 + number}


class Senders:
    """Threads that post one profile after the other; `acknowledged` has the id of each number that was answered 201."""

    def __init__(self, service: ServiceProcess) -> None:
        self.acknowledged: dict[int, str] = {}
        self.refused: list[tuple[int, Any]] = []
        self._service = service
        self._next = 0
        self._lock = threading.Lock()
        self._over = threading.Event()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        self._over.clear()
        threads = [threading.Thread(target=self._send) for _ in range(SENDERS)]
        for each in threads:
            each.start()
        try:
            yield
        finally:
            self._over.set()
            for each in threads:
                each.join()

    def _send(self) -> None:
        while not self._over.is_set():
            with self._lock:
                number = self._next
                self._next += 1
            body = encode(cpu_profile(counts_of(number)))
            status, answer = self._service.post(f"/api/v1/profiles?service=checkout&instance={number}", body)
            if status == 201:
                self.acknowledged[number] = answer["id"]
            elif status == 0:  # it was killed
                time.sleep(0.05)
            else:
                self.refused.append((status, answer))


def test_profiles_that_were_answered_survive_every_kill(tmp_path: Path):
    with ServiceProcess(tmp_path) as service:
        senders = Senders(service)
        for _ in range(KILLS):
            with senders.at_work():
                time.sleep(RUNNING_S)
                service.kill()
            service.start()

        assert [] == senders.refused
        assert len(senders.acknowledged) > SENDERS * KILLS
        for number, profile_id in senders.acknowledged.items():
            counts = counts_of(number)
            with urllib.request.urlopen(f"{service.url}/api/v1/profiles/{profile_id}") as original:
                assert encode(cpu_profile(counts)) == original.read()
            flat = {each["name"]: each["flat"] for each in functions(service, profile_id)}
            expected: dict[str, int] = {}
            for path, count in counts.items():
                leaf = path.rsplit(" > ", 1)[-1]
                expected[leaf] = expected.get(leaf, 0) + count * 10_000_000

            assert expected == {name: value for name, value in flat.items() if value}
        rows = service.post("/api/v1/sql", {"sql": "SELECT profile_id FROM profiles", "fresh": True})[1]["rows"]
        stored = [profile_id for (profile_id,) in rows]
        assert len(set(stored)) == len(stored)
        assert set(senders.acknowledged.values()) <= set(stored)


def functions(service: ServiceProcess, profile_id: str) -> list[dict]:
    return service.get(f"/api/v1/profiles/{profile_id}/top?n=0")["functions"]
