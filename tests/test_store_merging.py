"""Incidents put together and taken apart by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from diagnose.errors import DecodeError, NotFound
from diagnose.model import Accepted, Alert, IncidentKey, TraceRef
from diagnose.store.alerts import save_group
from diagnose.store.captures import captures_of, plan_captures
from diagnose.store.db import Store
from diagnose.store.incidents import close_incident, episodes_of, get_incident, incident_detail, save_traces, traces_of
from diagnose.store.merging import merge_incidents, split_incident
from tests.builders import alert, capture, group, minute

QUIET = timedelta(minutes=15)


def send(store: Store, *alerts: Alert, at: float = 2) -> Accepted:
    message = group(*alerts, received_at=minute(at))
    return save_group(store, message, lambda each: IncidentKey(each.labels["job"], each.labels["job"]), quiet=QUIET)


def opened(store: Store, *alerts: Alert, at: float = 2) -> str:
    [incident_id] = send(store, *alerts, at=at).opened
    return incident_id


@pytest.fixture
def two(store: Store) -> tuple[str, str]:
    """Of checkout, a warning; and of pricing, critical and earlier."""
    later = opened(store, alert(starts_at=minute(1)))
    return later, opened(store, alert(job="pricing", alertname="ErrorRatio", severity="critical"))


def names(store: Store, incident_id: str) -> list[str]:
    return [episode.alertname for episode in episodes_of(store, incident_id)]


def lines(store: Store, incident_id: str, kind: str) -> list[str]:
    return [line["text"] for line in incident_detail(store, incident_id)["timeline"] if line["kind"] == kind]


def test_a_merged_incident_has_everything_of_both(store, two):
    into, taken = two
    save_traces(store, into, [TraceRef("a", "exemplar", 0.5), TraceRef("b", "exemplar", 0.9)])
    save_traces(store, taken, [TraceRef("a", "label", 1.0), TraceRef("c", "window", 0.2)])
    plan_captures(store, [capture("cap-1", incident_id=taken, service_name="pricing")])
    merge_incidents(store, into, [taken])
    incident = get_incident(store, into)

    assert ["ErrorRatio", "HighLatency"] == names(store, into)
    assert ("open", "ErrorRatio · pricing", "critical", minute(0)) == (
        incident.status,
        incident.title,
        incident.severity,
        incident.started_at,
    )
    assert [("a", 1.0), ("b", 0.9), ("c", 0.2)] == [(each.trace_id, each.confidence) for each in traces_of(store, into)]
    assert ["cap-1"] == [each.capture_id for each in captures_of(store, into)]
    assert [f"took over {taken}: ErrorRatio · pricing"] == lines(store, into, "merged")


def test_what_was_merged_away_is_over_and_says_where_it_went(store, two):
    into, taken = two
    merge_incidents(store, into, [taken])
    left = incident_detail(store, taken)

    assert ("resolved", into, [], [], []) == tuple(
        left[name] for name in ("status", "merged_into", "alerts", "captures", "traces")
    )
    assert [f"merged into {into}"] == lines(store, taken, "merged")


def test_new_alerts_of_a_merged_group_go_where_it_went(store, two):
    into, taken = two
    merge_incidents(store, into, [taken])
    answer = send(store, alert(job="pricing", alertname="TargetDown"), at=5)

    assert ((into,), ()) == (answer.grown, answer.opened)
    assert "TargetDown" in names(store, into)


def test_what_was_merged_twice_ends_up_in_the_last(store, two):
    first, second = two
    third = opened(store, alert(job="billing"))
    merge_incidents(store, second, [first])
    merge_incidents(store, third, [second])

    assert [third, third] == [incident_detail(store, each)["merged_into"] for each in (first, second)]
    assert (third,) == send(store, alert(alertname="Again"), at=6).grown


def test_a_group_whose_merged_incident_is_long_over_begins_anew(store, two):
    into, taken = two
    merge_incidents(store, into, [taken])
    send(store, alert(starts_at=minute(1), ends_at=minute(4)), at=5)
    send(store, alert(job="pricing", alertname="ErrorRatio", severity="critical", ends_at=minute(4)), at=5)
    assert "resolved" == get_incident(store, into).status

    assert 1 == len(send(store, alert(job="pricing", starts_at=minute(60)), at=61).opened)


def test_an_open_incident_opens_the_one_it_is_merged_into(store, two):
    into, taken = two
    close_incident(store, into, "done")
    merge_incidents(store, into, [taken])

    assert ("open", None) == (get_incident(store, into).status, get_incident(store, into).ended_at)


def test_two_that_are_over_stay_so(store, two):
    into, taken = two
    for each in two:
        close_incident(store, each, "done")
    latest = max(get_incident(store, each).ended_at for each in two)
    merge_incidents(store, into, [taken])

    assert ("resolved", latest) == (get_incident(store, into).status, get_incident(store, into).ended_at)


def test_what_cannot_be_merged_is_refused_and_changes_nothing(store, two):
    into, taken = two
    with pytest.raises(DecodeError, match="into itself"):
        merge_incidents(store, into, [taken, into])
    with pytest.raises(DecodeError, match="at least one"):
        merge_incidents(store, into, [])
    with pytest.raises(NotFound, match="inc-none"):
        merge_incidents(store, into, [taken, "inc-none"])
    assert ["HighLatency"] == names(store, into)

    merge_incidents(store, into, [taken])
    with pytest.raises(DecodeError, match=f"was merged into {into}"):
        merge_incidents(store, into, [taken])


@pytest.fixture
def joined(store: Store) -> tuple[str, dict[str, str]]:
    """One incident of two alerts, and its episodes by name."""
    incident_id = opened(store, alert(starts_at=minute(1)), alert(alertname="Disk", severity="critical"))
    return incident_id, {episode.alertname: episode.episode_id for episode in episodes_of(store, incident_id)}


def test_a_split_gives_alerts_an_incident_of_their_own(store, joined):
    incident_id, episodes = joined
    new = split_incident(store, incident_id, [episodes["Disk"]], "storage")

    assert (["HighLatency"], ["Disk"]) == (names(store, incident_id), names(store, new))
    assert ("HighLatency · checkout", "warning", minute(1)) == summary(store, incident_id)
    assert ("Disk · storage", "critical", minute(0)) == summary(store, new)
    assert ([f"Disk went to {new}"], [f"split off {incident_id}"]) == (
        lines(store, incident_id, "split"),
        lines(store, new, "split"),
    )


def summary(store: Store, incident_id: str) -> tuple[Any, ...]:
    incident = get_incident(store, incident_id)
    return incident.title, incident.severity, incident.started_at


def test_captures_of_the_new_service_go_along(store, joined):
    incident_id, episodes = joined
    rows = [capture(name, incident_id=incident_id, service_name=name) for name in ("checkout", "storage")]
    plan_captures(store, rows)
    new = split_incident(store, incident_id, [episodes["Disk"]], "storage")

    assert [["checkout"], ["storage"]] == [
        [each.service_name for each in captures_of(store, incident)] for incident in (incident_id, new)
    ]


def test_after_a_split_each_ends_with_its_own_alerts(store, joined):
    incident_id, episodes = joined
    new = split_incident(store, incident_id, [episodes["Disk"]], "storage")
    answer = send(store, alert(alertname="Disk", severity="critical", ends_at=minute(5)), at=6)

    assert ((new,), "open") == (answer.resolved, get_incident(store, incident_id).status)
    assert (incident_id,) == send(store, alert(alertname="Another"), at=7).grown


def test_what_is_left_of_a_split_is_over_when_its_alerts_are(store, joined):
    incident_id, episodes = joined
    send(store, alert(starts_at=minute(1), ends_at=minute(5)), at=6)
    split_incident(store, incident_id, [episodes["Disk"]], "storage")

    assert ("resolved", minute(5)) == (
        get_incident(store, incident_id).status,
        get_incident(store, incident_id).ended_at,
    )


def test_some_must_go_and_some_must_stay(store, joined):
    incident_id, episodes = joined
    for wanted in ([], list(episodes.values())):
        with pytest.raises(DecodeError, match="some must stay"):
            split_incident(store, incident_id, wanted, "storage")
    with pytest.raises(DecodeError, match="no alert of this incident"):
        split_incident(store, incident_id, ["ep-none"], "storage")
