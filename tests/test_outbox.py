"""Every revision reaches every sink once it can, whatever happens meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from diagnose import config
from diagnose.errors import SinkError
from diagnose.notify import Message, make_sink
from diagnose.notify.outbox import Outbox
from diagnose.report.incident import build_report
from diagnose.report.render import render_html, render_json, render_markdown
from diagnose.store.db import Store
from diagnose.store.reports import next_revision, save_revision
from diagnose.telemetry import DELIVERIES
from tests import reported_incident as recorded
from tests.reported_incident import Explained


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **time: float) -> None:
        self.now += timedelta(**time)


class Recorder:
    """A sink that fails as often as it is told to."""

    def __init__(self, name: str, *failures: Exception, ref: str | None = None) -> None:
        self.name = name
        self.failures = list(failures)
        self.ref = ref
        self.got: list[Message] = []
        self.attempts = 0
        self.arrived = threading.Event()

    def deliver(self, message: Message) -> str | None:
        self.attempts += 1
        if self.failures:
            raise self.failures.pop(0)
        self.got.append(message)
        self.arrived.set()
        return self.ref


def down(**more: Any) -> SinkError:
    return SinkError("HTTP 503", retryable=True, **more)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def incident_id(store: Store) -> str:
    return recorded.open_incident(store)


def publish(store: Store, incident_id: str, *sinks: str) -> int:
    revision = next_revision(store, incident_id)
    report = build_report(
        store, incident_id, Explained(), revision=revision, reason="first evidence", external_url="http://d.test"
    )
    save_revision(
        store,
        incident_id,
        revision,
        "first evidence",
        [],
        ruled_out=[],
        missing=[],
        html=render_html(report),
        markdown=render_markdown(report),
        json_text=render_json(report),
        sinks=sinks,
    )
    return revision


def rows(store: Store) -> list[tuple[Any, ...]]:
    found = store.rows("SELECT revision, sink, status, attempts, last_error FROM delivery ORDER BY revision, sink")
    return [tuple(row.values()) for row in found]


@pytest.fixture
def opened() -> Iterator[list[Outbox]]:
    outboxes: list[Outbox] = []
    yield outboxes
    for outbox in outboxes:
        outbox.stop()


@pytest.fixture
def outbox_of(store: Store, clock: Clock, opened: list[Outbox]):
    def make(*sinks: Any) -> Outbox:
        opened.append(Outbox(store, sinks, clock=clock))
        return opened[-1]

    return make


def test_each_revision_reaches_each_sink_once(store, incident_id, clock, outbox_of):
    one, two = Recorder("one"), Recorder("two")
    outbox = outbox_of(one, two)
    publish(store, incident_id, "one", "two")
    for _ in range(3):
        outbox.deliver_due()
        clock.advance(hours=2)
    publish(store, incident_id, "one", "two")
    for _ in range(3):
        outbox.deliver_due()
        clock.advance(hours=2)

    assert [1, 2] == [message.revision for message in one.got] == [message.revision for message in two.got]
    assert {("delivered", 1, None)} == {row[2:] for row in rows(store)}


def test_a_message_holds_what_the_report_says(store, incident_id, outbox_of):
    sink = Recorder("one")
    publish(store, incident_id, "one")
    outbox_of(sink).deliver_due()
    (message,) = sink.got

    assert (incident_id, 1, "first evidence", "open") == (
        message.incident_id,
        message.revision,
        message.reason,
        message.status,
    )
    assert ("HTTPP50High · checkout", "No cause found yet.") == (message.title, message.summary)
    assert f"http://d.test/incidents/{incident_id}" == message.url
    assert message.html.startswith("<!doctype html>")
    assert None is message.external_ref


def test_a_sink_that_is_down_is_tried_again_after_1_2_4_seconds_up_to_an_hour(store, incident_id, clock, outbox_of):
    sink = Recorder("one", *[down() for _ in range(100)])
    outbox = outbox_of(sink)
    publish(store, incident_id, "one")
    waits = []
    started_at = clock.now
    while rows(store)[0][2] == "pending":
        outbox.deliver_due()
        next_at = store.row("SELECT next_attempt_at FROM delivery")["next_attempt_at"]
        if next_at:
            waits.append((next_at - clock.now).total_seconds())
            clock.now = next_at

    assert [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600] == waits[:13]
    assert {3600} == set(waits[12:])
    assert timedelta(hours=23) < clock.now - started_at <= timedelta(hours=24)
    assert "HTTP 503" == rows(store)[0][4]
    assert "dead" == rows(store)[0][2]


def test_a_sink_is_not_asked_before_its_time(store, incident_id, clock, outbox_of):
    sink = Recorder("one", down(), down(retry_after_s=600))
    outbox = outbox_of(sink)
    publish(store, incident_id, "one")
    outbox.deliver_due()
    clock.advance(seconds=0.9)
    outbox.deliver_due()

    assert 1 == sink.attempts

    clock.advance(seconds=0.1)
    outbox.deliver_due()
    clock.advance(seconds=599)
    outbox.deliver_due()

    assert 2 == sink.attempts

    clock.advance(seconds=1)
    outbox.deliver_due()

    assert [(1, "one", "delivered", 3, None)] == rows(store)


def test_a_final_refusal_is_not_tried_again_and_stays_visible(store, incident_id, clock, outbox_of):
    before = DELIVERIES.labels("refusing", "dead")._value.get()
    sink = Recorder("refusing", SinkError("HTTP 404: no such channel", retryable=False))
    outbox = outbox_of(sink)
    publish(store, incident_id, "refusing")
    outbox.deliver_due()
    clock.advance(hours=3)
    outbox.deliver_due()

    assert [(1, "refusing", "dead", 1, "HTTP 404: no such channel")] == rows(store)
    assert 1 == sink.attempts
    assert before + 1 == DELIVERIES.labels("refusing", "dead")._value.get()


def test_a_sink_that_is_down_delays_no_other(store, incident_id, outbox_of):
    bad, good = Recorder("bad", down()), Recorder("good")
    publish(store, incident_id, "bad", "good")
    outbox_of(bad, good).deliver_due()

    assert [(1, "bad", "pending", 1, "HTTP 503"), (1, "good", "delivered", 1, None)] == rows(store)


def test_a_mistake_in_a_sink_ends_the_attempt_and_not_the_outbox(store, incident_id, clock, outbox_of):
    broken, good = Recorder("broken", ZeroDivisionError("ours")), Recorder("good")
    outbox = outbox_of(broken, good)
    publish(store, incident_id, "broken", "good")
    outbox.deliver_due()

    assert [(1, "broken", "pending", 1, "the attempt did not finish"), (1, "good", "delivered", 1, None)] == rows(store)

    clock.advance(seconds=1)
    outbox.deliver_due()

    assert ["delivered", "delivered"] == [row[2] for row in rows(store)]


def test_an_attempt_is_written_down_before_it_is_made(store, incident_id, outbox_of):
    seen = []

    class Looking(Recorder):
        def deliver(self, message: Message) -> str | None:
            seen.extend(rows(store))
            return super().deliver(message)

    publish(store, incident_id, "one")
    outbox_of(Looking("one")).deliver_due()

    assert [(1, "one", "pending", 1, "the attempt did not finish")] == seen


def test_what_was_not_delivered_is_found_after_a_restart(tmp_path, clock):
    with Store.open(tmp_path / "data") as store:
        incident_id = recorded.open_incident(store)
        publish(store, incident_id, "one")
        first = Outbox(store, [Recorder("one", down())], clock=clock)
        first.deliver_due()
        first.stop()
    clock.advance(seconds=2)
    with Store.open(tmp_path / "data") as store:
        sink = Recorder("one")
        second = Outbox(store, [sink], clock=clock)
        second.deliver_due()
        second.stop()

        assert [(1, "one", "delivered", 2, None)] == rows(store)
        assert [1] == [message.revision for message in sink.got]


def test_a_sink_that_was_taken_out_of_the_settings_is_given_up(store, incident_id, outbox_of):
    publish(store, incident_id, "gone")
    outbox_of(Recorder("one")).deliver_due()

    assert [(1, "gone", "dead", 0, "no sink 'gone' in the settings")] == rows(store)


def test_a_later_revision_knows_what_the_sink_called_the_first(store, incident_id, outbox_of):
    sink = Recorder("one", ref="thread-7")
    outbox = outbox_of(sink)
    for _ in range(2):
        publish(store, incident_id, "one")
        outbox.deliver_due()

    assert [None, "thread-7"] == [message.external_ref for message in sink.got]


def test_a_later_revision_waits_for_the_earlier_one(store, incident_id, clock, outbox_of):
    sink = Recorder("one", down())
    outbox = outbox_of(sink)
    publish(store, incident_id, "one")
    outbox.deliver_due()
    publish(store, incident_id, "one")
    outbox.deliver_due()

    assert [] == sink.got

    clock.advance(seconds=1)
    outbox.deliver_due()
    outbox.deliver_due()

    assert [1, 2] == [message.revision for message in sink.got]


def test_waking_the_outbox_delivers_at_once(store, incident_id, opened):
    sink = Recorder("one")
    outbox = Outbox(store, [sink])
    opened.append(outbox)
    outbox.start()
    publish(store, incident_id, "one")
    outbox.wake()

    assert sink.arrived.wait(5)


def test_stopping_waits_for_the_attempt_being_made(store, incident_id, outbox_of):
    begun, finish = threading.Event(), threading.Event()

    class Slow(Recorder):
        def deliver(self, message: Message) -> str | None:
            begun.set()
            assert finish.wait(5)
            return super().deliver(message)

    publish(store, incident_id, "slow")
    outbox = outbox_of(Slow("slow"))
    outbox.start()

    assert begun.wait(5)

    threading.Timer(0.05, finish.set).start()
    outbox.stop()

    assert [(1, "slow", "delivered", 1, None)] == rows(store)


def test_a_folder_holds_the_newest_report_of_an_incident(store, incident_id, tmp_path, outbox_of):
    outbox = outbox_of(make_sink(config.FileSink(type="file", name="folder", path=tmp_path / "reports")))
    for _ in range(3):
        publish(store, incident_id, "folder")
        outbox.deliver_due()
    folder = Path(tmp_path / "reports" / incident_id)

    assert '"revision": 3' in (folder / "report.json").read_text(encoding="utf-8")
    assert "revision 3" in (folder / "report.html").read_text(encoding="utf-8")
    assert ["delivered"] * 3 == [row[2] for row in rows(store)]
