from __future__ import annotations

import random
import threading
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from diagnose.model import Accepted, Alert, AlertGroup, IncidentKey, fingerprint_of
from diagnose.store.alerts import save_enrichment, save_group
from diagnose.store.db import Store
from diagnose.store.folding import badness
from diagnose.store.incidents import close_incident, episodes_of, get_incident, incident_detail, list_incidents
from tests.builders import START, alert, group, minute

QUIET = timedelta(minutes=15)


def by_job(each: Alert) -> IncidentKey | None:
    return IncidentKey(each.labels["job"], each.labels["job"]) if each.labels["severity"] != "info" else None


def save(store: Store, message: AlertGroup, **options: Any) -> Accepted:
    return save_group(store, message, by_job, quiet=QUIET, **options)


def send(store: Store, *alerts: Alert, **fields: Any) -> Accepted:
    return save(store, group(*alerts, **fields))


def only_incident(store: Store) -> dict[str, Any]:
    found, _ = list_incidents(store)
    assert 1 == len(found)
    return incident_detail(store, found[0]["id"])


def kinds(incident: dict[str, Any]) -> list[str]:
    return [line["kind"] for line in incident["timeline"]]


def test_a_new_alert_opens_an_incident(store):
    answer = send(store, alert(instance="10.0.0.7:8080"), received_at=minute(2))
    incident = only_incident(store)

    assert Accepted(1, 0, (incident["id"],), opened=(incident["id"],)) == answer
    assert ("open", "HighLatency · checkout", "checkout", "warning", 1) == tuple(
        incident[name] for name in ("status", "title", "service", "severity", "alert_count")
    )
    assert ("2026-11-24T10:00:00.000000Z", None) == (incident["started_at"], incident["ended_at"])
    assert ["HighLatency (10.0.0.7:8080) fired"] == [line["text"] for line in incident["timeline"]]


def test_everything_an_alert_said_is_kept(store):
    sent = alert(annotations={"summary": "p99 is 2 s, 'slow'"}, pod='a"b\\c\n😀')
    incident_id = send(store, sent, body=b'{"as": "sent"}', route_labels={"diagnose": "cpu"}).incidents[0]
    episode = episodes_of(store, incident_id)[0]

    assert (sent.labels, sent.annotations, sent.generator_url) == (
        episode.labels,
        episode.annotations,
        episode.generator_url,
    )
    assert (sent.fingerprint, "firing", START, None) == (
        episode.fingerprint,
        episode.status,
        episode.starts_at,
        episode.ends_at,
    )
    message = store.row("SELECT body, route_labels, receiver FROM message")
    assert {"body": b'{"as": "sent"}', "route_labels": {"diagnose": "cpu"}, "receiver": "diagnose"} == message


def test_a_message_without_alerts_changes_nothing(store):
    assert Accepted(0, 0, ()) == send(store)
    assert [] == store.rows("SELECT * FROM message")


def test_alerts_of_one_service_are_one_incident_whatever_their_rule_group_and_source(store):
    opened = send(store, alert()).incidents
    grown = send(store, alert(alertname="ErrorRatio"), group_key="other", source="grafana")

    assert (opened, (), opened) == (grown.incidents, grown.opened, grown.grown)
    assert ["opened", "alert"] == kinds(only_incident(store))


def test_one_message_may_open_several_incidents(store):
    answer = send(store, alert(), alert(job="pricing"), alert(job="checkout", pod="2"))

    assert 2 == len(answer.opened) == len(set(answer.opened))
    assert () == answer.grown


def test_an_alert_that_no_rule_wants_is_stored_and_opens_nothing(store):
    answer = send(store, alert(severity="info"))

    assert Accepted(1, 0, ()) == answer
    assert [{"incident_id": None, "status": "firing"}] == store.rows("SELECT incident_id, status FROM alerts")


def test_the_worst_alert_gives_title_and_severity_and_of_equals_the_first(store):
    incident_id = send(store, alert(), alert(alertname="Later", starts_at=minute(1))).incidents[0]
    assert ("HighLatency · checkout", "warning") == title_and_severity(store, incident_id)

    send(store, alert(alertname="TargetDown", severity="critical"))
    send(store, alert(alertname="Other", severity="critical"), alert(alertname="Mild", severity="warning"))
    assert ("TargetDown · checkout", "critical") == title_and_severity(store, incident_id)


def title_and_severity(store: Store, incident_id: str) -> tuple[str, str]:
    incident = get_incident(store, incident_id)
    return incident.title, incident.severity


def test_severities_have_an_order():
    order = ["critical", "error", "warning", "business", "info", "unknown"]

    assert order == sorted(order, key=badness, reverse=True)
    assert badness("Critical") == badness("page")


def test_an_alert_without_a_severity_is_told_so(store):
    unnamed = Alert("f1", "firing", {"job": "checkout", "severity": ""}, {}, START, None)

    assert ("checkout", "unknown") == title_and_severity(store, send(store, unnamed).incidents[0])


def test_an_incident_is_resolved_when_the_last_of_its_alerts_has_ended(store):
    incident_id = send(store, alert(), alert(pod="2")).incidents[0]
    first = send(store, alert(ends_at=minute(3)), alert(pod="2"), received_at=minute(4))
    assert (1, 1, ()) == (first.accepted, first.duplicates, first.resolved)
    assert "open" == get_incident(store, incident_id).status

    second = send(store, alert(pod="2", ends_at=minute(2)), received_at=minute(5))
    incident = get_incident(store, incident_id)
    assert (incident_id,) == second.resolved
    assert ("resolved", minute(3)) == (incident.status, incident.ended_at)
    assert ["opened", "alert", "alert", "alert", "resolved"] == kinds(only_incident(store))


def test_an_end_that_does_not_tell_when_counts_from_its_arrival(store):
    incident_id = send(store, alert()).incidents[0]
    ended = Alert(**vars(alert()) | {"status": "resolved", "ends_at": None})
    send(store, ended, received_at=minute(7))

    assert minute(7) == get_incident(store, incident_id).ended_at


@pytest.mark.parametrize("again", [alert(), alert(ends_at=minute(3))], ids=["firing", "resolved"])
def test_a_message_that_comes_again_changes_nothing(store, again):
    incident_id = send(store, alert()).incidents[0]
    send(store, alert(ends_at=minute(3)))
    before = store.rows("FROM incident"), store.rows("FROM episode"), store.rows("FROM message")

    for _ in range(3):
        assert Accepted(0, 1, (incident_id,)) == send(store, again, received_at=minute(60))
    assert before == (store.rows("FROM incident"), store.rows("FROM episode"), store.rows("FROM message"))


def test_one_message_with_the_same_alert_twice_stores_it_once(store):
    answer = send(store, alert(), alert())

    assert (1, 1) == (answer.accepted, answer.duplicates)
    assert [{"n": 1}] == store.rows("SELECT count(*) AS n FROM alert_events")


def test_a_firing_that_comes_after_its_end_does_not_open_it_again(store):
    incident_id = send(store, alert(), group_key="a").incidents[0]
    send(store, alert(ends_at=minute(3)), group_key="a")

    late = send(store, alert(), group_key="b"), send(store, alert(starts_at=minute(-1)), group_key="a")
    assert [(1, ()), (1, ())] == [(each.accepted, each.reopened) for each in late]
    assert "resolved" == get_incident(store, incident_id).status
    assert 1 == only_incident(store)["alert_count"]


def test_an_end_that_comes_before_its_firing_ends_it(store):
    assert Accepted(1, 0, ()) == send(store, alert(ends_at=minute(3)))
    assert Accepted(1, 0, ()) == send(store, alert())

    assert [{"status": "resolved"}] == store.rows("SELECT status FROM alerts")
    assert ([], None) == list_incidents(store)


def test_an_alert_that_has_ended_already_joins_an_open_incident(store):
    incident_id = send(store, alert()).incidents[0]
    answer = send(store, alert(pod="2", ends_at=minute(1)))

    assert Accepted(1, 0, (incident_id,)) == answer
    assert ["opened", "alert"] == kinds(only_incident(store))


def test_a_late_end_of_an_earlier_period_does_not_end_the_open_one(store):
    send(store, alert())
    send(store, alert(ends_at=minute(3)))
    incident_id = send(store, alert(starts_at=minute(6))).incidents[0]
    late = send(store, alert(starts_at=minute(1), ends_at=minute(2)))

    assert () == late.resolved
    assert "open" == get_incident(store, incident_id).status


def test_a_late_end_does_not_end_a_period_whose_latest_start_lies_behind_it(store):
    incident_id = send(store, alert()).incidents[0]
    send(store, alert(starts_at=minute(10)))
    send(store, alert(ends_at=minute(5)))
    assert "open" == get_incident(store, incident_id).status

    send(store, alert(starts_at=minute(10), ends_at=minute(12)))
    assert ("resolved", minute(12)) == (
        get_incident(store, incident_id).status,
        get_incident(store, incident_id).ended_at,
    )


def test_a_start_that_moves_earlier_moves_episode_and_incident(store):
    incident_id = send(store, alert(starts_at=minute(1))).incidents[0]
    moved = send(store, alert(starts_at=minute(0)))

    assert (1, (), ()) == (moved.accepted, moved.opened, moved.grown)
    assert [minute(0)] == [each.starts_at for each in episodes_of(store, incident_id)]
    assert minute(0) == get_incident(store, incident_id).started_at
    assert ["started", "opened"] == kinds(only_incident(store))

    send(store, alert(starts_at=minute(0.5)))
    assert minute(0) == get_incident(store, incident_id).started_at


def test_an_alert_that_moves_to_another_group_stays_one_episode(store):
    send(store, alert(), group_key="before the routing change")
    moved = send(store, alert(), group_key="after it")

    assert (1, (), ()) == (moved.accepted, moved.opened, moved.grown)
    assert 1 == only_incident(store)["alert_count"]


def test_a_pair_of_alertmanagers_is_one_sender(store):
    messages = [
        group(alert(), external_url="http://am-1"),
        group(alert(), external_url="http://am-2"),
        group(alert(starts_at=minute(0.01)), external_url="http://am-2"),
        group(alert(ends_at=minute(3)), external_url="http://am-2"),
        group(alert(ends_at=minute(3)), external_url="http://am-1"),
    ]

    assert [1, 0, 1, 1, 0] == [save(store, message).accepted for message in messages]
    assert (1, "resolved") == (only_incident(store)["alert_count"], only_incident(store)["status"])


def test_a_pair_of_prometheus_is_one_alert_that_ends_with_the_last_of_both(store):
    ignore = {"ignore_labels": ["replica"]}
    incident_id = save(store, group(alert(replica="a"), alert(replica="b")), **ignore).incidents[0]
    episode = episodes_of(store, incident_id)[0]
    assert 1 == only_incident(store)["alert_count"]
    assert fingerprint_of(alert().labels) == episode.fingerprint

    assert () == save(store, group(alert(replica="a", ends_at=minute(3))), **ignore).resolved
    assert () == save(store, group(alert(replica="a", starts_at=minute(-1))), **ignore).resolved
    assert (incident_id,) == save(store, group(alert(replica="b", ends_at=minute(2))), **ignore).resolved
    assert minute(3) == get_incident(store, incident_id).ended_at


@pytest.mark.parametrize(
    ("starts_at", "same"),
    [
        (minute(10.01), True),
        (minute(10) + QUIET, True),
        (minute(10) + QUIET + timedelta(seconds=1), False),
        (minute(5), True),
        (minute(-15), True),
        (minute(-16), False),
    ],
)
def test_a_new_alert_continues_an_incident_within_the_quiet_period(store, starts_at, same):
    incident_id = send(store, alert()).incidents[0]
    send(store, alert(ends_at=minute(10)))
    answer = send(store, alert(alertname="ErrorRatio", starts_at=starts_at), received_at=minute(500))

    assert ((incident_id,) if same else ()) == answer.reopened
    assert (0 if same else 1) == len(answer.opened)


def test_a_re_fire_opens_the_same_incident_again_and_says_so(store):
    incident_id = send(store, alert()).incidents[0]
    send(store, alert(ends_at=minute(3)), received_at=minute(4))
    answer = send(store, alert(starts_at=minute(9)), received_at=minute(10))
    incident = only_incident(store)

    assert ((incident_id,), (), ()) == (answer.reopened, answer.opened, answer.grown)
    assert ("open", None, 2) == (incident["status"], incident["ended_at"], incident["alert_count"])
    assert ["opened", "alert", "resolved", "reopened"] == kinds(incident)

    assert (incident_id,) == send(store, alert(starts_at=minute(9), ends_at=minute(20))).resolved
    assert minute(20) == get_incident(store, incident_id).ended_at


def test_the_latest_of_several_ended_incidents_is_continued(store):
    for start in (0, 60):
        latest = send(store, alert(starts_at=minute(start))).incidents[0]
        send(store, alert(starts_at=minute(start), ends_at=minute(start + 5)))

    assert (latest,) == send(store, alert(starts_at=minute(70))).reopened


def test_what_was_closed_by_hand_stays_closed_while_the_alert_goes_on(store):
    incident_id = send(store, alert()).incidents[0]
    close_incident(store, incident_id, "known, see the runbook")
    assert "resolved" == get_incident(store, incident_id).status

    assert () == send(store, alert(), group_key="regrouped").reopened
    assert () == send(store, alert(ends_at=minute(3))).resolved
    assert ["opened", "closed"] == [kind for kind in kinds(only_incident(store)) if kind != "alert"]


def test_shuffled_messages_sent_many_times_by_many_senders_are_one_incident(store):
    firing = group(alert(), alert(pod="2"))
    resolved = group(alert(ends_at=minute(3)), alert(pod="2", ends_at=minute(4)), received_at=minute(5))
    send(store, alert())
    messages = [firing, resolved] * 30
    random.Random(7).shuffle(messages)  # noqa: S311  the same order every time
    answers = in_threads(store, messages)

    incident = only_incident(store)
    assert ("resolved", 2) == (incident["status"], incident["alert_count"])
    assert 1 == sum(len(answer.resolved) for answer in answers)
    assert 4 == sum(answer.accepted for answer in answers) + 1
    assert 1 == kinds(incident).count("resolved")


def test_senders_at_once_never_open_two_incidents_of_one_group(store):
    answers = in_threads(store, [group(alert(pod=str(number)), group_key=str(number)) for number in range(48)])

    assert 1 == sum(len(answer.opened) for answer in answers)
    assert 48 == only_incident(store)["alert_count"]


def in_threads(store: Store, messages: Iterable[AlertGroup], senders: int = 8) -> list[Accepted]:
    waiting, answers = list(messages), []

    def work() -> None:
        while True:
            try:
                message = waiting.pop()
            except IndexError:
                return
            answers.append(save(store, message))

    threads = [threading.Thread(target=work) for _ in range(senders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_a_large_message_is_taken_as_a_whole(store):
    alerts = [alert(pod=f"pod-{number}") for number in range(2000)]

    assert 2000 == send(store, *alerts).accepted
    assert (0, 2000) == (send(store, *alerts).accepted, send(store, *alerts).duplicates)
    assert 2000 == store.row("SELECT alert_count FROM incidents")["alert_count"]


def test_what_is_found_out_later_is_kept_and_moves_the_start(store):
    incident_id = send(store, alert()).incidents[0]
    episode_id = episodes_of(store, incident_id)[0].episode_id
    save_enrichment(store, episode_id, expr="up == 0", active_at=minute(-2), value=None)
    save_enrichment(store, episode_id, expr=None, active_at=minute(-1), value=0.5)

    episode = episodes_of(store, incident_id)[0]
    assert ("up == 0", minute(-2), 0.5) == (episode.expr, episode.active_at, episode.value)
    assert (START, minute(-2)) == (episode.starts_at, get_incident(store, incident_id).started_at)
    assert ["started", "opened"] == kinds(only_incident(store))


def test_enrichment_of_an_unknown_or_unwanted_alert_harms_nothing(store):
    send(store, alert(severity="info"))
    episode_id = store.row("SELECT episode_id FROM alerts")["episode_id"]

    save_enrichment(store, episode_id, expr="up", active_at=minute(-2), value=None)
    save_enrichment(store, "ep-none", expr="up", active_at=minute(-2), value=None)
    assert [{"expr": "up"}] == store.rows("SELECT expr FROM alerts")


def test_what_was_acknowledged_is_there_after_opening_again(tmp_path):
    with Store.open(tmp_path) as store:
        incident_id = send(store, alert()).incidents[0]
    with Store.open(tmp_path) as store:
        assert Accepted(0, 1, (incident_id,)) == send(store, alert())
        assert (incident_id,) == send(store, alert(ends_at=minute(3))).resolved
