"""What the writers do when the database itself fails: nothing acknowledged is lost, and no restart is needed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import duckdb
import pytest

from diagnose.errors import StoreBusy, Unstorable
from diagnose.model import Accepted, IncidentKey
from diagnose.store.alerts import save_group
from diagnose.store.db import Store
from tests.builders import alert, group
from tests.serving import serving
from tests.test_writer import Gate
from tests.waiting import wait_until

Cursor = duckdb.DuckDBPyConnection


def breaker(store: Store, name: str = "control") -> None:
    """What a failed checkpoint does to a database: nothing works until it is opened again."""
    cursor = store.cursor()
    cursor.execute("SET GLOBAL debug_checkpoint_abort = 'before_header'")
    with pytest.raises(duckdb.IOException, match="been invalidated"):
        cursor.execute(f"CHECKPOINT {name}")


def poison(_cursor: Cursor) -> None:
    """A checkpoint cannot be had inside a transaction, so this one only says what the database would."""
    raise duckdb.FatalException("database has been invalidated because of a previous fatal error")


def send(store: Store, number: int) -> Accepted:
    message = group(alert(instance=f"10.0.0.{number}"), group_key=f"group-{number}")
    return save_group(store, message, lambda _: IncidentKey("checkout", "checkout"), quiet=timedelta(minutes=15))


def instances(store: Store) -> list[str]:
    return sorted(row["i"] for row in store.rows("SELECT labels['instance'] AS i FROM episode"))


@pytest.mark.parametrize("name", ["control", "telemetry"])
def test_an_invalid_database_is_opened_again_and_the_message_is_stored_once(store, name):
    before = send(store, 1)
    breaker(store, name)

    after = send(store, 2)

    assert (1, 1) == (before.accepted, after.accepted)
    assert before.incidents == after.incidents
    assert ["10.0.0.1", "10.0.0.2"] == instances(store)
    assert "" == store.control.problem


def test_a_reader_that_finds_the_database_invalid_opens_it_again(store):
    send(store, 1)
    breaker(store)

    assert ["10.0.0.1"] == instances(store)
    assert 1 == send(store, 2).accepted


def test_both_writers_go_on_after_one_database_broke(store):
    breaker(store)
    send(store, 1)

    assert [(1,)] == store.telemetry.run(lambda cursor: cursor.execute("SELECT 1").fetchall())


def test_what_breaks_the_database_twice_is_put_aside_and_its_neighbours_are_stored(store):
    aside: list[tuple[str, Any]] = []

    def put_aside(database: str, item: Any, _err: Exception) -> str:
        aside.append((database, item))
        return "in the spool"

    store.control.on_poison = put_aside
    gate = Gate()
    store.control.submit(gate)
    assert gate.entered.wait(10)
    answers: list[Accepted] = []
    neighbours = [threading.Thread(target=lambda n=n: answers.append(send(store, n))) for n in range(3)]
    for each in neighbours:
        each.start()
    bad = store.control.submit(poison)
    gate.open.set()
    for each in neighbours:
        each.join(30)

    assert "in the spool" == bad.result(30)
    assert [("control", poison)] == aside
    assert [1, 1, 1] == [answer.accepted for answer in answers]
    assert ["10.0.0.0", "10.0.0.1", "10.0.0.2"] == instances(store)


def test_without_a_spool_the_sender_of_poison_is_told_not_to_send_it_again(store):
    with pytest.raises(Unstorable, match="the control database breaks on this"):
        store.control.run(poison, wait_s=30)


def test_a_database_that_cannot_be_opened_is_tried_until_it_can(store):
    send(store, 1)
    file = store.path / "control.duckdb"
    aside = file.with_suffix(".aside")
    breaker(store)
    file.rename(aside)
    file.mkdir()  # in its place, so that opening fails

    with pytest.raises(StoreBusy, match="cannot be opened"):
        send(store, 2)
    assert "cannot be opened" in store.control.problem
    file.rmdir()
    aside.rename(file)

    wait_until(lambda: not store.control.problem)
    assert 1 == send(store, 2).accepted
    assert ["10.0.0.1", "10.0.0.2"] == instances(store)


@pytest.fixture
def web(store: Store) -> Iterator[Any]:
    with serving(store) as running:
        yield running


def test_webhooks_around_a_broken_database_are_answered_202_or_503_and_none_of_the_202_is_lost(web):
    def post(number: int) -> int:
        labels = {"alertname": "HighLatency", "instance": str(number)}
        alerts = [{"status": "firing", "labels": labels, "startsAt": "2026-11-24T10:00:00Z"}]
        body = {"version": "4", "groupKey": str(number), "receiver": "r", "status": "firing", "alerts": alerts}
        return web.post("/webhook", body).status

    accepted: set[str] = set()
    for number in range(30):
        if number % 10 == 5:
            breaker(web.store, "control" if number < 20 else "telemetry")
        status = post(number)
        assert status in (202, 503)
        if status == 202:
            accepted.add(str(number))

    assert accepted <= set(instances(web.store))
    assert len(accepted) >= 27
    assert [] == web.store.rows("SELECT event_key FROM alert_event GROUP BY event_key HAVING count(*) > 1")
