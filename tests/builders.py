"""The smallest valid inputs; a test names only what it is about."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from diagnose.model import Alert, AlertGroup, fingerprint_of

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
