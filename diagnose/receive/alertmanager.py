"""
The webhook body of Alertmanager (version 4) and of Grafana's own alerting (version 1) → AlertGroup.

The envelope must be ours: a body without one of its parts is refused with the name of that part, because it is most
likely a templated payload of another receiver. Unknown parts are ignored, so newer senders keep working. One bad alert
does not cost the good ones beside it: it is set aside with its index and the reason. Nothing is refused for the size or
the characters of a label.

Sources: prometheus/alertmanager notify/webhook/webhook.go and template/template.go; grafana/alerting
receivers/webhook/v1. Samples: tests/data/alertmanager.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from math import isfinite
from typing import Any

from diagnose.errors import DecodeError
from diagnose.model import Alert, AlertGroup, AlertStatus, fingerprint_of
from diagnose.receive.alerts import Decoded, read_alerts, starts_at_in
from diagnose.receive.fields import (
    count_in,
    kind_of,
    labels_in,
    not_far_ahead,
    read_json,
    required,
    text_in,
    time_in,
)
from diagnose.text import clean

SOURCES = {"4": "alertmanager", "1": "grafana"}


def decode(body: bytes, *, received_at: datetime) -> Decoded:
    """
    Read one webhook body. Raises DecodeError, with `field` naming the part of the envelope that is missing or wrong.

    The alerts keep their order. `ends_at` is None for a firing alert and for a resolved one that does not tell when.
    """
    message = read_json(body)
    if not isinstance(message, dict):
        raise DecodeError(f"the body must be a JSON object, not {kind_of(message)}")
    source = SOURCES.get(text_in(message, "version"))
    if source is None:
        raise DecodeError('version must be "4" (Alertmanager) or "1" (Grafana)', field="version")
    read = read_alerts(required(message, "alerts", list), lambda item: _alert(item, received_at))
    group = AlertGroup(
        source=source,
        group_key=text_in(message, "groupKey"),
        receiver=text_in(message, "receiver"),
        status=_status(message),
        external_url=text_in(message, "externalURL", default=""),
        alerts=read.alerts,
        received_at=received_at,
        body=body,
        truncated_alerts=count_in(message, "truncatedAlerts"),
        notification_reason=text_in(message, "notification_reason", default=""),
        route_labels=labels_in(message, "routeLabels", default={}),
    )
    for field in ("groupLabels", "commonLabels", "commonAnnotations"):
        labels_in(
            message, field, default={}
        )  # not kept beside the body, but of another type they betray another schema
    return Decoded(group, read.rejected, read.set_aside)


def _alert(item: Any, received_at: datetime) -> Alert:
    status = _status(item)
    labels = labels_in(item, "labels")
    starts_at = starts_at_in(item, received_at)
    return Alert(
        fingerprint=text_in(item, "fingerprint", default="") or fingerprint_of(labels),
        status=status,
        labels=labels,
        annotations=labels_in(item, "annotations", default={}),
        starts_at=starts_at,
        ends_at=_ends_at(item, starts_at, received_at) if status == "resolved" else None,
        generator_url=text_in(item, "generatorURL", default=""),
        rule_uid=text_in(item, "ruleUID", default=""),
        values=_values(item.get("values")),
    )


def _values(told: Any) -> dict[str, float]:
    """Grafana's values by query (`{"A": 2.31, "C": 1}`). They only inform, so nothing is refused for them."""
    numbers = told.items() if isinstance(told, dict) else ()
    return {clean(name): float(value) for name, value in numbers if type(value) in (int, float) and isfinite(value)}


def _ends_at(item: Mapping[str, Any], starts_at: datetime, received_at: datetime) -> datetime | None:
    """Never before the start and never far in the future, where it would keep every later firing from opening."""
    at = time_in(item, "endsAt") if item.get("endsAt") is not None else None
    return None if at is None else max(starts_at, not_far_ahead(at, received_at))


def _status(part: Mapping[str, Any]) -> AlertStatus:
    match text_in(part, "status"):
        case "firing":
            return "firing"
        case "resolved":
            return "resolved"
    raise DecodeError('status must be "firing" or "resolved"', field="status")
