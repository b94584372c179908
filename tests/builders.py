"""The smallest valid inputs; a test names only what it is about."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from diagnose.model import Alert, AlertGroup, Capture, Effect, Finding, Subject, fingerprint_of

START = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


def minute(number: float) -> datetime:
    """A moment that many minutes after START."""
    return START + timedelta(minutes=number)


def alert(
    *,
    starts_at: datetime = START,
    ends_at: datetime | None = None,
    annotations: dict[str, str] | None = None,
    **labels: Any,
) -> Alert:
    """HighLatency of checkout, firing unless it has an end; further names are labels."""
    all_labels = {"alertname": "HighLatency", "job": "checkout", "severity": "warning"} | labels
    return Alert(
        fingerprint=fingerprint_of(all_labels),
        status="resolved" if ends_at else "firing",
        labels=all_labels,
        annotations=annotations or {},
        starts_at=starts_at,
        ends_at=ends_at,
        generator_url="http://prom.test:9090/graph?g0.expr=up+%3D%3D+0",
    )


def group(*alerts: Alert, received_at: datetime | None = None, **fields: Any) -> AlertGroup:
    """One message of Alertmanager; received two minutes after START unless told otherwise."""
    defaults: dict[str, Any] = {
        "source": "alertmanager",
        "group_key": '{}:{job="checkout"}',
        "receiver": "diagnose",
        "status": "firing" if any(each.status == "firing" for each in alerts) else "resolved",
        "external_url": "http://am.test:9093",
        "received_at": received_at or minute(2),
        "body": b"{}",
    }
    return AlertGroup(alerts=tuple(alerts), **(defaults | fields))


def webhook(*alerts: Any, **fields: Any) -> dict[str, Any]:
    """The body of one message before it becomes JSON."""
    return {
        "version": "4",
        "groupKey": '{}:{alertname="HighLatency"}',
        "receiver": "diagnose",
        "status": "firing",
        "alerts": list(alerts) or [webhook_alert()],
    } | fields


def webhook_alert(**fields: Any) -> dict[str, Any]:
    return {"status": "firing", "labels": {"alertname": "HighLatency"}, "startsAt": "2026-11-24T10:00:00Z"} | fields


def without(part: dict[str, Any], names: Sequence[str] | str) -> dict[str, Any]:
    gone = [names] if isinstance(names, str) else names
    return {name: value for name, value in part.items() if name not in gone}


def finding(**fields: Any) -> Finding:
    """A hot function with all that a finding has."""
    defaults: dict[str, Any] = {
        "kind": "hot_code",
        "statement": "71 % of on-CPU time is in pricing.match; it was 3 %",
        "subject": Subject("function", "pricing.match", "match.go", 12),
        "effect": Effect(68.0, "percent", 3.0, 71.0),
        "significance": {"method": "rate", "z": 41.0},
        "confidence": "strong",
        "evidence": ("cpu-1", "cpu-2"),
        "sql": "SELECT 1",
    }
    return Finding(**(defaults | fields))


def capture(capture_id: str = "cap-1", **fields: Any) -> Capture:
    """A planned CPU capture of one checkout instance."""
    defaults: dict[str, Any] = {
        "incident_id": None,
        "target": "checkout",
        "service_name": "checkout",
        "service_instance_id": "10.0.0.7:6060",
        "kind": "cpu",
        "phase": "first",
        "trigger": "alert",
        "status": "planned",
        "reason": "",
        "requested_at": START,
    }
    return Capture(capture_id, **(defaults | fields))
