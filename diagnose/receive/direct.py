"""
What Prometheus and vmalert send to an Alertmanager (`POST /api/v2/alerts`) → AlertGroup.

A list of alerts without status and fingerprint, sent again every minute or so while they fire. `endsAt` is then a
moment in the future: when the alert counts as ended unless it is sent once more. So the status follows from the clock.

    endsAt at or before now   →  resolved then
    endsAt later              →  firing; expires then
    no endsAt                 →  firing; expires after RESOLVE_TIMEOUT, as in Alertmanager

Sources: prometheus/alertmanager api/v2/openapi.yaml (postableAlerts) and api/v2/api.go; prometheus/prometheus
notifier/alert.go. Sample: tests/data/direct.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from diagnose.errors import DecodeError
from diagnose.model import Alert, AlertGroup, Labels, fingerprint_of
from diagnose.receive.alerts import Decoded, read_alerts, starts_at_in
from diagnose.receive.fields import kind_of, labels_in, not_far_ahead, read_json, text_in, time_in

SOURCE = "prometheus"
RESOLVE_TIMEOUT = timedelta(minutes=5)


def decode_direct(body: bytes, *, received_at: datetime, group_by: Sequence[str]) -> Decoded:
    """
    Read one list of alerts; each gets the key of the group that Alertmanager would form of the labels *group_by*.

    Raises DecodeError when the body is no list.
    """
    items = read_json(body)
    if not isinstance(items, list):
        raise DecodeError(f"the body must be a JSON list of alerts, not {kind_of(items)}")
    read = read_alerts(items, lambda item: _alert(item, received_at, group_by))
    group = AlertGroup(
        source=SOURCE,
        group_key="",
        receiver="",
        status="firing" if any(alert.status == "firing" for alert in read.alerts) else "resolved",
        external_url="",
        alerts=read.alerts,
        received_at=received_at,
        body=body,
    )
    return Decoded(group, read.rejected, read.set_aside)


def _alert(item: Mapping[str, Any], received_at: datetime, group_by: Sequence[str]) -> Alert:
    labels = {name: value for name, value in labels_in(item, "labels").items() if value}
    if not labels:
        raise DecodeError("labels must not be empty", field="labels")
    starts_at = _starts_at(item, received_at)
    until = _time(item, "endsAt") or received_at + RESOLVE_TIMEOUT
    ended = until <= received_at
    return Alert(
        fingerprint=fingerprint_of(labels),
        status="resolved" if ended else "firing",
        labels=labels,
        annotations=labels_in(item, "annotations", default={}),
        starts_at=starts_at,
        ends_at=max(starts_at, until) if ended else None,
        generator_url=text_in(item, "generatorURL", default=""),
        group_key=group_key(labels, group_by),
        expires_at=None if ended else not_far_ahead(until, received_at),
    )


def _starts_at(item: Mapping[str, Any], received_at: datetime) -> datetime:
    """Whoever does not tell says that it starts now, or, when it is over, at its end."""
    if _time(item, "startsAt") is not None:
        return starts_at_in(item, received_at)
    return min(_time(item, "endsAt") or received_at, received_at)


def _time(item: Mapping[str, Any], field: str) -> datetime | None:
    return None if item.get(field) is None else time_in(item, field)


def group_key(labels: Labels, group_by: Sequence[str]) -> str:
    """
    As Alertmanager writes that of its default route.

        alertname, job  →  {}:{alertname="HighLatency", job="checkout"}
    """
    pairs = (f'{name}="{labels[name]}"' for name in sorted(group_by) if name in labels)
    return f"{{}}:{{{', '.join(pairs)}}}"
