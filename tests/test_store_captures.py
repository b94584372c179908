from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from diagnose.pprof.codec import encode
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
from diagnose.store.db import Store
from diagnose.store.profiles import save_profile
from tests.builders import START, capture, minute
from tests.pprof.small import goroutines

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


Healthy = dict[str, str]


@pytest.fixture
def healthy(store: Store) -> Healthy:
    """
    Profile ids by name: p1, p2, p3 of the schedule, the last of another instance; p4 of an alert, p5 taken after it.

    p2 was there before its capture brought the same bytes again, so only the capture knows of it.
    """
    ids = {
        name: save_at(store, minute(int(name[1])), capture_id=capture_id, instance=instance)
        for name, capture_id, instance in (
            ("p1", "cap-1", INSTANCE),
            ("p2", None, INSTANCE),
            ("p3", "cap-3", "other"),
            ("p4", "cap-4", INSTANCE),
            ("p5", "cap-5", INSTANCE),
        )
    }
    plan_captures(
        store,
        [
            capture("cap-1", trigger="baseline", status="done", profile_id=ids["p1"]),
            capture("cap-2", trigger="baseline", status="done", profile_id=ids["p2"]),
            capture("cap-3", trigger="baseline", status="done", service_instance_id="other"),
            capture("cap-4", trigger="alert", status="done", profile_id=ids["p4"]),
            capture("cap-5", trigger="resolved", status="done", profile_id=ids["p5"]),
        ],
    )
    return ids


def save_at(store: Store, at: datetime, *, capture_id: str | None, instance: str) -> str:
    profile = replace(goroutines({"main.main": 3}), time_ns=int(at.timestamp()) * 10**9)
    return save_profile(
        store,
        profile,
        encode(profile),
        service="checkout",
        instance=instance,
        kind="goroutine",
        basis="snapshot",
        capture_id=capture_id,
    ).profile_id


@pytest.mark.parametrize(
    ("instance", "wanted", "expected"),
    [
        (INSTANCE, {"before": minute(10), "limit": 9}, ["p5", "p2", "p1", "p3"]),
        (INSTANCE, {"before": minute(5)}, ["p2"]),
        ("other", {"before": minute(10), "limit": 2}, ["p3", "p5"]),
        ("a new one", {"before": minute(4), "limit": 2}, ["p3", "p2"]),
        (None, {"before": minute(4)}, ["p3"]),
        (INSTANCE, {"before": minute(1), "limit": 9}, []),
    ],
)
def test_the_baseline_is_the_same_instance_in_health_else_another(store, healthy, instance, wanted, expected):
    found = baseline_profiles(store, "checkout", instance, "goroutine", "snapshot", **wanted)

    assert [healthy[name] for name in expected] == found


@pytest.mark.parametrize(
    ("service", "kind", "basis"),
    [("x", "goroutine", "snapshot"), ("checkout", "cpu", "snapshot"), ("checkout", "goroutine", "interval")],
)
def test_another_service_kind_or_basis_is_no_baseline(store, healthy, service, kind, basis):
    assert [] == baseline_profiles(store, service, INSTANCE, kind, basis, before=minute(99))
