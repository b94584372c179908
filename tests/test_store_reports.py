from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from diagnose.errors import NotFound, StoreError
from diagnose.model import Effect, IncidentKey, Note, Subject, utc_now
from diagnose.store.alerts import save_group
from diagnose.store.db import Store
from diagnose.store.incidents import get_incident, incident_detail
from diagnose.store.reports import (
    due_deliveries,
    finding_shape,
    findings_of,
    get_report,
    next_revision,
    notes_of,
    save_delivery,
    save_revision,
)
from tests.builders import alert, finding, group

LATER = timedelta(minutes=1)


@pytest.fixture
def incident_id(store: Store) -> str:
    answer = save_group(store, group(alert()), lambda _: IncidentKey("g", "checkout"), quiet=timedelta(minutes=15))
    return answer.opened[0]


def publish(store: Store, incident_id: str, revision: int = 1, **fields: Any) -> None:
    defaults: dict[str, Any] = {
        "findings": [finding()],
        "ruled_out": [],
        "missing": [],
        "html": f"<p>{revision}",
        "markdown": f"# {revision}",
        "json_text": "{}",
        "sinks": ["folder"],
    }
    save_revision(store, incident_id, revision, "first evidence", **(defaults | fields))


def attempt(store: Store, delivery_id: str, status: str, **fields: Any) -> None:
    defaults: dict[str, Any] = {
        "attempts": 1,
        "last_error": None,
        "next_attempt_at": None,
        "delivered_at": utc_now() if status == "delivered" else None,
        "external_ref": None,
    }
    save_delivery(store, delivery_id, status=status, **(defaults | fields))


def test_revisions_count_from_one(store, incident_id):
    assert 1 == next_revision(store, incident_id)
    publish(store, incident_id, 1)
    publish(store, incident_id, 2)

    assert 3 == next_revision(store, incident_id)
    assert "<p>2" == get_report(store, incident_id)["html"]
    assert ("<p>1", "# 1", "first evidence") == tuple(
        get_report(store, incident_id, revision=1)[name] for name in ("html", "markdown", "reason")
    )


def test_a_report_that_does_not_exist_is_not_found(store, incident_id):
    with pytest.raises(NotFound):
        get_report(store, incident_id)
    publish(store, incident_id)
    with pytest.raises(NotFound, match="revision 2"):
        get_report(store, incident_id, revision=2)


def test_findings_come_back_as_they_were_ranked(store, incident_id):
    first = finding()
    second = finding(
        kind="latency",
        subject=Subject("span", "price.match"),
        effect=Effect(1.2, "seconds", None, 1.2),
        significance={"method": "self time", "p": 0.01},
        evidence=(),
        weight=0.25,
    )
    publish(store, incident_id, findings=[first, second])

    assert [replace(first, rank=1), replace(second, rank=2)] == findings_of(store, incident_id)
    assert [] == findings_of(store, incident_id, revision=7)


def test_a_finding_is_shown_as_the_contract_has_it():
    assert {
        "rank": 1,
        "kind": "hot_code",
        "statement": "71 % of on-CPU time is in pricing.match; it was 3 %",
        "subject": {"type": "function", "name": "pricing.match", "file": "match.go", "line": 12},
        "effect": {"value": 68.0, "unit": "percent", "before": 3.0, "during": 71.0},
        "significance": {"method": "rate", "z": 41.0},
        "confidence": "strong",
        "evidence": ["cpu-1", "cpu-2"],
        "sql": "SELECT 1",
    } == finding_shape(finding(rank=1, weight=0.7))


def test_notes_are_kept_by_kind_and_revision(store, incident_id):
    ruled_out = [Note("GC is not it", sql="SELECT 2"), Note("nor is the lock")]
    missing = [Note("exemplars are off", fix="--enable-feature=exemplar-storage")]
    publish(store, incident_id, 1, ruled_out=ruled_out, missing=missing)
    publish(store, incident_id, 2, missing=missing[:0])

    assert ruled_out == notes_of(store, incident_id, "ruled_out", revision=1)
    assert missing == notes_of(store, incident_id, "missing_evidence", revision=1)
    assert [] == notes_of(store, incident_id, "missing_evidence")


def test_the_title_changes_only_when_asked(store, incident_id):
    publish(store, incident_id, 1)
    assert "HighLatency · checkout" == get_incident(store, incident_id).title

    publish(store, incident_id, 2, title="Hot matcher in checkout")
    assert "Hot matcher in checkout" == get_incident(store, incident_id).title


def test_a_revision_is_published_whole_or_not_at_all(store, incident_id):
    publish(store, incident_id, 1)
    with pytest.raises(StoreError, match="revision 1"):
        publish(store, incident_id, 1, html="other", sinks=["other"])
    with pytest.raises(NotFound):
        publish(store, "inc-none", 1)

    assert "<p>1" == get_report(store, incident_id)["html"]
    assert [{"n": 1}] == store.rows("SELECT count(*) AS n FROM deliveries")


def test_every_sink_gets_one_delivery_of_every_revision(store, incident_id):
    publish(store, incident_id, sinks=["folder", "hook", "folder"])
    due = due_deliveries(store, utc_now())

    assert {("folder", 1, 0, None), ("hook", 1, 0, None)} == {
        (each.sink, each.revision, each.attempts, each.external_ref) for each in due
    }
    assert all(each.created_at for each in due)
    assert 1 == len(due_deliveries(store, utc_now(), limit=1))


def test_a_failed_delivery_is_due_again_when_its_time_has_come(store, incident_id):
    publish(store, incident_id)
    due = due_deliveries(store, utc_now())[0]
    attempt(store, due.delivery_id, "pending", last_error="refused", next_attempt_at=utc_now() + LATER)

    assert [] == due_deliveries(store, utc_now())
    assert [replace(due, attempts=1)] == due_deliveries(store, utc_now() + 2 * LATER)


@pytest.mark.parametrize("outcome", ["delivered", "dead"])
def test_a_delivery_that_is_over_is_not_due_and_is_told_in_the_timeline(store, incident_id, outcome):
    publish(store, incident_id)
    due = due_deliveries(store, utc_now())[0]
    attempt(store, due.delivery_id, outcome, last_error="410 gone" if outcome == "dead" else None)
    detail = incident_detail(store, incident_id)

    assert [] == due_deliveries(store, utc_now() + LATER)
    assert [outcome] == [each["status"] for each in detail["deliveries"]]
    assert {
        "delivered": "revision 1 delivered: folder",
        "dead": "revision 1 could not be delivered (410 gone) and is given up: folder",
    }[outcome] == detail["timeline"][-1]["text"]


def test_an_old_page_never_replaces_a_newer_one(store, incident_id):
    publish(store, incident_id, 1, sinks=["folder", "hook"])
    publish(store, incident_id, 2, sinks=["folder", "hook"])
    first = {each.sink: each for each in due_deliveries(store, utc_now())}
    assert {1} == {each.revision for each in first.values()}

    attempt(store, first["folder"].delivery_id, "delivered", external_ref="page-7")
    attempt(store, first["hook"].delivery_id, "pending", next_attempt_at=utc_now() + LATER)
    assert [("folder", 2, "page-7")] == [
        (each.sink, each.revision, each.external_ref) for each in due_deliveries(store, utc_now())
    ]

    attempt(store, first["hook"].delivery_id, "dead")
    assert ("hook", 2, None) in [
        (each.sink, each.revision, each.external_ref) for each in due_deliveries(store, utc_now())
    ]


def test_an_unknown_delivery_is_not_found(store):
    with pytest.raises(NotFound):
        attempt(store, "none", "delivered")
