"""The SQL endpoint of the real service: what one reader does to the others, and to ingest."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from diagnose.query.saved import saved_queries
from tests.hostile_sql import BOMBS, TABLE
from tests.otlp import span, traces
from tests.service_process import ServiceProcess

NAMES = ("guest", "oncall", "collector")
IMPATIENCE_S = 1.0  # after which the guest hangs up
BATCHES = 30


class Client:
    """One token."""

    def __init__(self, url: str, name: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {name}-token"

    def sql(self, timeout_s: float = 60, **asked: object) -> requests.Response:
        return self.session.post(f"{self.url}/api/v1/sql", json=asked, timeout=timeout_s)

    def send_span(self, number: int) -> int:
        body = traces(span(f"{number + 1:016x}", trace_id=f"{number + 1:032x}"))
        kind = {"Content-Type": "application/x-protobuf"}
        return self.session.post(f"{self.url}/v1/traces", data=body, headers=kind, timeout=60).status_code


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("service")
    roles = {"guest": ["sql"], "oncall": ["sql", "read"], "collector": ["ingest"]}
    tokens = []
    for name in NAMES:
        (folder / name).write_text(f"{name}-token")
        tokens.append({"name": name, "token_file": str(folder / name), "roles": roles[name]})
    settings = {"timeout": "60s", "memory": "256MiB", "workers": 2}
    with ServiceProcess(folder, sql=settings, auth={"tokens": tokens}) as running:
        yield running


@pytest.fixture
def attacked(service: ServiceProcess, tmp_path: Path) -> Iterator[ServiceProcess]:
    """While somebody with a token of his own asks one hostile statement after the other."""
    over = threading.Event()
    statements = [*BOMBS, *TABLE]

    def attack() -> None:
        guest, number = Client(service.url, "guest"), 0
        while not over.is_set():
            text = statements[number % len(statements)]
            for name in ("{out}", "{secret}", "{data}"):
                text = text.replace(name, str(tmp_path))
            try:
                guest.sql(IMPATIENCE_S, sql=text)
            except requests.RequestException:  # he does not wait for the end
                guest = Client(service.url, "guest")
            number += 1

    attacker = threading.Thread(target=attack)
    attacker.start()
    yield service
    over.set()
    attacker.join(60)
    assert [] == list(tmp_path.iterdir())


def test_beside_hostile_statements_every_saved_query_answers_and_nothing_is_lost(attacked: ServiceProcess):
    oncall, collector = Client(attacked.url, "oncall"), Client(attacked.url, "collector")
    stored: list[int] = []
    sender = threading.Thread(target=lambda: stored.extend(collector.send_span(each) for each in range(BATCHES)))
    sender.start()
    statuses = {name: oncall.sql(saved=name).status_code for name in saved_queries()}
    sender.join(60)
    counted = oncall.sql(sql="SELECT count(DISTINCT trace_id) FROM spans", fresh=True).json()

    assert dict.fromkeys(saved_queries(), 200) == statuses
    assert [200] * BATCHES == stored
    assert [[BATCHES]] == counted.get("rows"), counted


def test_several_engineers_may_ask_at_once(service: ServiceProcess):
    """They share a token here, and so all workers but one: each waits his turn."""
    statuses: list[int] = []

    def ask() -> None:
        client = Client(service.url, "oncall")
        statuses.extend(client.sql(saved=name).status_code for name in list(saved_queries())[:5])

    engineers = [threading.Thread(target=ask) for _ in range(8)]
    for engineer in engineers:
        engineer.start()
    for engineer in engineers:
        engineer.join(60)

    assert [200] * 40 == statuses
