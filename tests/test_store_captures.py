from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from diagnose.store.captures import (
    baseline_profiles,
    captures_of,
    finish_capture,
    last_round,
    mark_lost,
    plan_captures,
    rounds_since,
    start_capture,
)
from diagnose.store.db import Store, as_map, insert
from tests.builders import START, capture, minute

TARGET, INSTANCE = "checkout", "10.0.0.7:6060"


def test_a_capture_is_planned_then_runs_then_has_its_outcome(store):
    planned = [capture("cap-1", incident_id="inc-1"), capture("cap-2", incident_id="inc-1", kind="heap")]
    plan_captures(store, planned)
    assert planned == captures_of(store, "inc-1")

    start_capture(store, "cap-1", minute(1))
    assert ("running", minute(1)) == (captures_of(store, "inc-1")[0].status, captures_of(store, "inc-1")[0].started_at)

    done = replace(
        planned[0],
        status="done",
        http_status=200,
        started_at=minute(1),
        ended_at=minute(2),
        lag_ms=120.5,
        bytes=4711,
        profile_id="cpu-1",
    )
    finish_capture(store, done)
    assert [done, planned[1]] == captures_of(store, "inc-1")


def test_planning_twice_is_planning_once(store):
    plan_captures(store, [capture(incident_id="inc-1")])
    plan_captures(store, [capture(incident_id="inc-1", status="skipped", reason="cooldown")])
    plan_captures(store, [])

    assert ["skipped"] == [each.status for each in captures_of(store, "inc-1")]


def test_an_outcome_nobody_planned_is_recorded_all_the_same(store):
    refused = capture(incident_id="inc-1", status="refused", reason="busy", http_status=500, ended_at=minute(1))
    finish_capture(store, refused)

    assert [refused] == captures_of(store, "inc-1")


def test_the_start_is_not_forgotten_by_the_outcome(store):
    plan_captures(store, [capture(incident_id="inc-1")])
    start_capture(store, "cap-1", minute(1))
    finish_capture(store, capture(incident_id="inc-1", status="failed", reason="reset", ended_at=minute(2)))

    assert minute(1) == captures_of(store, "inc-1")[0].started_at


def test_what_a_restart_interrupted_is_lost_and_names_its_incidents(store):
    plan_captures(
        store,
        [
            capture("cap-1", incident_id="inc-1"),
            capture("cap-2", incident_id="inc-1", status="running"),
            capture("cap-3", incident_id="inc-2", status="done"),
            capture("cap-4", incident_id=None, trigger="baseline"),
        ],
    )

    assert ["inc-1"] == mark_lost(store)
    assert [("lost", "restart")] * 2 == [(each.status, each.reason) for each in captures_of(store, "inc-1")]
    assert "done" == captures_of(store, "inc-2")[0].status
    assert [] == mark_lost(store)


def test_what_was_skipped_is_no_round(store):
    plan_captures(
        store,
        [
            capture("cap-1", requested_at=minute(0)),
            capture("cap-2", requested_at=minute(0), kind="heap"),
            capture("cap-3", requested_at=minute(5), status="failed"),
            capture("cap-4", requested_at=minute(6), status="skipped"),
            capture("cap-5", requested_at=minute(7), trigger="baseline"),
            capture("cap-6", requested_at=minute(8), trigger="resolved"),
            capture("cap-7", requested_at=minute(9), service_instance_id="other"),
            capture("cap-8", requested_at=minute(9), target="other"),
        ],
    )

    assert minute(5) == last_round(store, TARGET, INSTANCE, "alert")
    assert minute(7) == last_round(store, TARGET, INSTANCE, "baseline")
    assert last_round(store, TARGET, INSTANCE, "manual") is None
    assert 3 == rounds_since(store, TARGET, INSTANCE, START)
    assert 2 == rounds_since(store, TARGET, INSTANCE, minute(5))


def profile_row(
    store: Store, profile_id: str, at: datetime, *, instance: str = INSTANCE, capture_id: str | None = None
) -> None:
    row = {
        "profile_no": 1,
        "profile_id": profile_id,
        "capture_id": capture_id,
        "service_name": "checkout",
        "service_instance_id": instance,
        "kind": "heap",
        "basis": "snapshot",
        "started_at": at,
        "duration_ns": 0,
        "sample_count": 1,
        "build_id": "",
        "value_types": [{"type": "inuse_space", "unit": "bytes"}],
        "default_value": 0,
        "period": 0,
        "labels": as_map({"a": "b"}),
        "sha256": profile_id,
        "body": b"",
    }
    store.telemetry.run(lambda cursor: insert(cursor, "profile", [row]))


@pytest.fixture
def healthy(store: Store) -> Store:
    """heap-1 … heap-3 of the schedule, the last of another instance; heap-4 of an alert, heap-5 taken after it."""
    plan_captures(
        store,
        [
            capture("cap-1", trigger="baseline", kind="heap"),
            capture("cap-2", trigger="baseline", kind="heap", status="done", profile_id="heap-2"),
            capture("cap-3", trigger="baseline", kind="heap", service_instance_id="other"),
            capture("cap-4", trigger="alert", kind="heap", status="done", profile_id="heap-4"),
            capture("cap-5", trigger="resolved", kind="heap", status="done", profile_id="heap-5"),
        ],
    )
    profile_row(store, "heap-1", minute(1), capture_id="cap-1")
    profile_row(store, "heap-2", minute(2))
    profile_row(store, "heap-3", minute(3), capture_id="cap-3", instance="other")
    profile_row(store, "heap-4", minute(4), capture_id="cap-4")
    profile_row(store, "heap-5", minute(5), capture_id="cap-5")
    return store


@pytest.mark.parametrize(
    ("before", "instance", "limit", "expected"),
    [
        (10, INSTANCE, 9, ["heap-5", "heap-2", "heap-1", "heap-3"]),
        (5, INSTANCE, 1, ["heap-2"]),
        (10, "other", 2, ["heap-3", "heap-5"]),
        (4, "a new one", 2, ["heap-3", "heap-2"]),
        (4, None, 1, ["heap-3"]),
        (1, INSTANCE, 9, []),
    ],
)
def test_the_baseline_is_the_same_instance_in_health_else_another(healthy, before, instance, limit, expected):
    found = baseline_profiles(healthy, "checkout", instance, "heap", "snapshot", before=minute(before), limit=limit)

    assert expected == found


@pytest.mark.parametrize(("service", "kind", "basis"), [("x", "heap", "snapshot"), ("checkout", "cpu", "snapshot")])
def test_another_service_or_kind_is_no_baseline(healthy, service, kind, basis):
    assert [] == baseline_profiles(healthy, service, INSTANCE, kind, basis, before=minute(99))
