"""One look after the other at loopback Alertmanagers, with a clock that the test moves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from diagnose.config import AlertmanagerServer, Reconcile, Settings
from diagnose.model import AlertGroup, IncidentKey, fingerprint_of, rfc3339
from diagnose.reconcile.reconciler import Reconciler
from diagnose.store.alerts import save_group
from diagnose.store.db import Store
from tests.builders import START, alert, group, minute
from tests.fake_upstreams import FakeServer, Reply, serving

RECORDED = Path(__file__).parent / "data" / "alertmanager-api" / "alerts.json"
LABELS = alert().labels
LONG_AGO = minute(-60)


@dataclass
class World:
    """The store, Alertmanagers that say what the test tells them, and the reconciler between; it starts at START."""

    store: Store
    members: list[FakeServer]
    now: datetime = START
    concluded: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        servers = [AlertmanagerServer(url=member.url) for member in self.members]
        settings = Settings(alertmanagers=servers, reconcile=Reconcile(every=timedelta(minutes=1)))
        self.reconciler = Reconciler(
            self.store, settings, accept=self.accept, conclude=self.concluded.extend, clock=lambda: self.now
        )
        for member in self.members:
            self.tell(member)

    def accept(self, message: AlertGroup) -> None:
        key = IncidentKey("checkout", "checkout")
        save_group(self.store, message, lambda _: key, quiet=timedelta(minutes=15))

    def tell(self, member: FakeServer, *alerts: dict[str, Any], started_at: datetime = LONG_AGO) -> None:
        """What *member* lists from now on, and since when it runs."""
        member.replies["/api/v2/alerts"] = Reply(json.dumps(alerts).encode())
        member.replies["/api/v2/status"] = Reply(json.dumps({"uptime": rfc3339(started_at)}).encode())

    def fall_silent(self, member: FakeServer) -> None:
        member.replies["/api/v2/alerts"] = Reply(b"gone", status=503)

    def look(self, at: float, **how: Any) -> None:
        self.now = minute(at)
        self.reconciler.look(**how)

    def alerts(self) -> list[tuple[str, str]]:
        return [(row["source"], row["status"]) for row in self.store.rows("SELECT source, status FROM alerts")]


def listed(state: str = "active", **fields: Any) -> dict[str, Any]:
    silenced_by = ["silence"] if state == "suppressed" else []
    return {
        "fingerprint": fingerprint_of(LABELS),
        "labels": LABELS,
        "annotations": {"summary": "slow"},
        "startsAt": rfc3339(minute(0)),
        "endsAt": rfc3339(minute(60)),
        "updatedAt": rfc3339(minute(1)),
        "generatorURL": "http://prom.test/graph?g0.expr=up",
        "receivers": [{"name": "diagnose"}],
        "status": {"state": state, "silencedBy": silenced_by, "inhibitedBy": []},
    } | fields


@pytest.fixture
def world(store: Store) -> Iterator[World]:
    with serving(FakeServer()) as one, serving(FakeServer()) as two:
        yield World(store, [one, two])


def told(world: World) -> None:
    """The alert came by a message, and the first Alertmanager lists it."""
    world.accept(group(alert(), external_url="http://am.test"))
    world.tell(world.members[0], listed())
    world.look(10)


def test_an_alert_whose_notification_got_lost_opens_an_incident_at_the_first_look(world):
    world.tell(world.members[0], listed())
    world.look(10)
    world.look(11)

    assert [("reconciled", "firing")] == world.alerts()
    assert [{"incidents": 1}] == world.store.rows("SELECT count(*) AS incidents FROM incidents")


def test_every_recorded_alert_of_our_receivers_is_taken_in(world):
    recorded = json.loads(RECORDED.read_text())
    world.tell(world.members[0], *recorded)
    world.now = datetime.fromisoformat("2026-11-23T21:30:00Z")
    world.reconciler.look()

    ours = [each for each in recorded if {"name": "diagnose"} in each["receivers"]]
    assert len(ours) == len(world.alerts()) > 0


def test_the_receivers_of_messages_are_ours_too(world):
    world.accept(group(alert(pod="x"), receiver="team\\.a"))
    world.tell(world.members[0], listed(receivers=[{"name": "team.a"}]))
    world.look(10)

    assert [("alertmanager", "firing"), ("reconciled", "firing")] == world.alerts()


def test_what_a_message_left_out_is_taken_in_however_new_it_is(world):
    world.tell(world.members[0], listed(startsAt=rfc3339(minute(9.9))))
    world.look(10)
    assert [] == world.alerts()

    world.look(10, eager=True)
    assert [("reconciled", "firing")] == world.alerts()


def test_an_alert_that_is_in_no_list_twice_has_ended_at_the_first_of_them(world):
    told(world)
    world.tell(world.members[0])
    world.look(11)
    assert [] == world.concluded

    world.look(12)
    assert 1 == len(world.concluded)
    assert [(minute(11), "vanished")] == [
        (row["ends_at"], row["ended_by"]) for row in world.store.rows("SELECT ends_at, ended_by FROM alerts")
    ]


def test_an_alert_that_the_other_member_still_has_goes_on(world):
    told(world)
    world.tell(world.members[0])
    world.tell(world.members[1], listed())
    for at in (11, 12, 13):
        world.look(at)

    assert [("alertmanager", "firing")] == world.alerts()


def test_nothing_ends_while_an_alertmanager_cannot_be_asked(world):
    told(world)
    world.tell(world.members[0])
    world.fall_silent(world.members[1])
    for at in (11, 12, 13):
        world.look(at)
    assert [] == world.concluded

    world.tell(world.members[1])
    world.look(14)
    assert [] == world.concluded  # the looks before do not count
    world.look(15)
    assert 1 == len(world.concluded)


def test_nothing_ends_while_an_alertmanager_waits_to_be_told_again(world):
    told(world)
    world.tell(world.members[0], started_at=minute(10.5))
    for at in (11, 12):
        world.look(at)
    assert [] == world.concluded

    for at in (13, 14):
        world.look(at)
    assert 1 == len(world.concluded)


def test_what_vanished_and_is_back_goes_on_in_the_same_incident(world):
    told(world)
    world.tell(world.members[0])
    for at in (11, 12):
        world.look(at)
    world.tell(world.members[0], listed())
    world.look(13)

    assert [("alertmanager", "firing")] == world.alerts()
    assert [("open", 1)] == [
        (row["status"], row["alert_count"]) for row in world.store.rows("SELECT status, alert_count FROM incidents")
    ]


def test_a_silenced_alert_is_marked_and_its_end_found(world):
    told(world)
    world.tell(world.members[0], listed("suppressed"))
    world.look(11)
    assert [{"suppressed": "silenced"}] == world.store.rows("SELECT suppressed FROM alerts")

    world.tell(world.members[0])
    world.look(12)
    world.look(13)
    assert 1 == len(world.concluded)


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'[{"labels": {}}]', b"<html>"])
def test_an_answer_that_makes_no_sense_ends_nothing(world, body):
    told(world)
    world.members[0].replies["/api/v2/alerts"] = Reply(body)
    for at in (11, 12, 13):
        world.look(at)

    assert [] == world.concluded


def test_what_was_sent_directly_does_not_expire_before_its_sender_could_find_us_again(world):
    world.accept(group(alert(), source="prometheus"))
    world.store.control.run(lambda cursor: cursor.execute("UPDATE episode SET expires_at = ?", [minute(1)]))
    world.look(1.9)
    assert [] == world.concluded

    world.look(2)
    assert 1 == len(world.concluded)
