"""Alerts that nobody says the end of: sent directly and not renewed, or gone from Alertmanager's list."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from diagnose.model import Accepted, Alert, IncidentKey
from diagnose.store.alerts import save_group
from diagnose.store.db import Store
from diagnose.store.endings import end_episodes, expire_episodes, last_ends, mark_episodes, open_episodes
from diagnose.store.incidents import episodes_of, get_incident, incident_detail
from tests.builders import alert, group, minute

QUIET = timedelta(minutes=15)


def by_job(each: Alert) -> IncidentKey:
    return IncidentKey(each.labels["job"], each.labels["job"])


def send(store: Store, *alerts: Alert, at: float, **fields: Any) -> Accepted:
    message = group(*alerts, received_at=minute(at), **fields)
    return save_group(store, message, by_job, quiet=QUIET, ignore_labels=["replica"])


def direct(store: Store, *alerts: Alert, at: float) -> Accepted:
    """As Prometheus sends it: to be renewed within four minutes."""
    expires_at = minute(at + 4)
    renewed = [each if each.ends_at else replace(each, expires_at=expires_at) for each in alerts]
    return send(store, *renewed, at=at, source="prometheus")


def state(store: Store, incident_id: str) -> tuple[str, datetime | None]:
    incident = get_incident(store, incident_id)
    return incident.status, incident.ended_at


def messages(store: Store) -> int:
    return int(store.row("SELECT count(*) AS messages FROM message")["messages"])


def only_episode(store: Store) -> str:
    return str(store.row("SELECT episode_id FROM episode")["episode_id"])


def test_repeats_move_the_end_of_one_row_and_add_none(store):
    [incident_id] = direct(store, alert(), at=0).opened
    for at in range(1, 30):
        assert (0, 1, (incident_id,)) == (
            (again := direct(store, alert(), at=at)).accepted,
            again.duplicates,
            again.incidents,
        )

    assert (1, 1) == (messages(store), store.row("SELECT count(*) AS events FROM alert_event")["events"])
    assert [{"expires_at": minute(33)}] == store.rows("SELECT expires_at FROM alerts")


def test_what_is_not_sent_again_ends_when_it_said(store):
    [incident_id] = direct(store, alert(), at=0).opened
    direct(store, alert(), at=1)

    assert () == expire_episodes(store, minute(4.9))
    assert (incident_id,) == expire_episodes(store, minute(7))
    assert ("resolved", minute(5)) == state(store, incident_id)
    assert "HighLatency ended: it was not sent again" in [
        line["text"] for line in incident_detail(store, incident_id)["timeline"]
    ]


def test_what_goes_on_after_all_is_taken_up_again(store):
    """We were not reachable for a while, or Prometheus was not."""
    [incident_id] = direct(store, alert(), at=0).opened
    expire_episodes(store, minute(10))
    answer = direct(store, alert(), at=11)

    assert (incident_id,) == answer.reopened
    assert ("open", None) == state(store, incident_id)
    assert 1 == len(episodes_of(store, incident_id))
    assert (incident_id,) == expire_episodes(store, minute(16))
    assert ("resolved", minute(15)) == state(store, incident_id)


def test_a_late_message_does_not_take_back_an_inferred_end(store):
    [incident_id] = send(store, alert(), at=1).opened
    end_episodes(store, {only_episode(store): minute(5)}, "vanished", minute(5))
    late = send(store, alert(), at=6, group_key="after a change of the routes")

    assert ((), ()) == (late.opened, late.reopened)
    assert ("resolved", minute(5)) == state(store, incident_id)


def test_a_list_that_still_has_it_takes_back_an_inferred_end_as_often_as_needed(store):
    [incident_id] = send(store, alert(), at=1).opened
    for at in (5, 10, 15):
        end_episodes(store, {only_episode(store): minute(at)}, "vanished", minute(at))
        assert "resolved" == state(store, incident_id)[0]
        assert (incident_id,) == send(store, alert(), at=at + 1, source="reconciled", group_key="").reopened
        assert "open" == state(store, incident_id)[0]


def test_an_end_that_was_told_is_never_taken_back(store):
    [incident_id] = send(store, alert(), at=1).opened
    send(store, alert(ends_at=minute(3)), at=3)
    answer = send(store, alert(), at=4, source="reconciled", group_key="")

    assert ((), ()) == (answer.opened, answer.reopened)
    assert ("resolved", minute(3)) == state(store, incident_id)


def test_an_inferred_end_is_not_the_end_of_the_next_firing(store):
    send(store, alert(), at=1)
    end_episodes(store, {only_episode(store): minute(5)}, "vanished", minute(5))
    send(store, alert(starts_at=minute(8)), at=9)

    assert [("resolved", "vanished"), ("firing", None)] == [
        (row["status"], row["ended_by"]) for row in store.rows("SELECT status, ended_by FROM alerts ORDER BY starts_at")
    ]


def test_ending_twice_is_ending_once(store):
    [incident_id] = send(store, alert(), at=1).opened
    episode = only_episode(store)

    assert (incident_id,) == end_episodes(store, {episode: minute(5)}, "vanished", minute(5))
    assert () == end_episodes(store, {episode: minute(9)}, "vanished", minute(9))
    assert () == end_episodes(store, {}, "vanished", minute(9))
    assert ("resolved", minute(5)) == state(store, incident_id)


def test_an_incident_is_over_only_with_the_last_of_its_alerts(store):
    [incident_id] = send(store, alert(), alert(pod="2"), at=1).opened
    first, second = (row["episode_id"] for row in store.rows("SELECT episode_id FROM episode"))

    assert () == end_episodes(store, {first: minute(5)}, "vanished", minute(5))
    assert (incident_id,) == end_episodes(store, {second: minute(6)}, "vanished", minute(6))


def test_the_replicas_of_one_alert_end_together(store):
    [incident_id] = direct(store, alert(replica="a"), alert(replica="b"), at=0).opened
    direct(store, alert(replica="b"), at=3)

    assert 1 == len(episodes_of(store, incident_id))
    assert () == expire_episodes(store, minute(5))
    assert (incident_id,) == expire_episodes(store, minute(8))


def test_absence_says_something_only_where_our_alertmanagers_told_us(store):
    send(store, alert(pod="listed"), at=1, external_url="http://a.test")
    send(store, alert(pod="same one"), at=1, external_url="http://a.test")
    send(store, alert(pod="another"), at=1, external_url="http://stranger.test")
    send(store, alert(pod="configured"), at=1, external_url="http://b.test/")
    send(store, alert(pod="grafana"), at=1, source="grafana", external_url="http://a.test")
    listed = store.row("SELECT episode_id FROM episode WHERE labels['pod'] = 'listed'")["episode_id"]
    mark_episodes(store, listed=[listed], suppressed={}, now=minute(2))
    pods = {row["episode_id"]: row["pod"] for row in store.rows("SELECT episode_id, labels['pod'] AS pod FROM episode")}

    assert {"listed": True, "same one": True, "another": False, "configured": True} == {
        pods[each.episode_id]: each.is_told_by_ours for each in open_episodes(store, ["http://b.test"])
    }


def test_a_silence_is_told_once_when_it_begins_and_once_when_it_is_over(store):
    [incident_id] = send(store, alert(instance="a:1"), at=1).opened
    episode = only_episode(store)
    mark_episodes(store, listed=[], suppressed={episode: "silenced"}, now=minute(2))
    assert ["silenced"] == [each["suppressed"] for each in incident_detail(store, incident_id)["alerts"]]

    mark_episodes(store, listed=[], suppressed={episode: None}, now=minute(3))
    assert ["HighLatency (a:1) was silenced in Alertmanager", "HighLatency (a:1) is notified again"] == [
        line["text"] for line in incident_detail(store, incident_id)["timeline"] if line["kind"] == "suppressed"
    ]


def test_the_last_end_of_an_alert_tells_whether_it_was_inferred(store):
    send(store, alert(), at=1)
    end_episodes(store, {only_episode(store): minute(5)}, "vanished", minute(5))
    known = alert().fingerprint

    assert {known: (minute(5), True)} == {
        key: (end.ends_at, end.is_inferred) for key, end in last_ends(store, [known, "other"], minute(0)).items()
    }
    assert {} == last_ends(store, [known], minute(6))
