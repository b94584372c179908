"""Alerts and profiles without what must not be kept; OTLP and remote write are redacted while they are decoded."""

from __future__ import annotations

import json
from dataclasses import replace

import pyarrow.compute as pc

from diagnose.model import Alert, AlertGroup
from diagnose.pprof.columns import ProfileColumns
from diagnose.redact import Redactor, without


def redacted_group(group: AlertGroup, redactor: Redactor) -> AlertGroup:
    """The values of secret labels and annotations masked, also where another text of the message repeats them."""
    maps = [group.route_labels, *(labels for each in group.alerts for labels in (each.labels, each.annotations))]
    secrets = frozenset[str]().union(*map(redactor.secrets, maps))
    body = redactor.json(group.body)
    if not secrets:
        return group if body is group.body else replace(group, body=body)
    return replace(
        group,
        body=without(body.decode(errors="replace"), secrets).encode(),
        group_key=without(group.group_key, secrets),
        route_labels=redactor.labels(group.route_labels),
        alerts=tuple(_redacted(alert, redactor, secrets) for alert in group.alerts),
    )


def _redacted(alert: Alert, redactor: Redactor, secrets: frozenset[str]) -> Alert:
    return replace(
        alert,
        labels=redactor.labels(alert.labels),
        annotations={name: without(text, secrets) for name, text in redactor.labels(alert.annotations).items()},
        generator_url=without(alert.generator_url, secrets),
        group_key=without(alert.group_key, secrets),
    )


def has_secret_labels(columns: ProfileColumns, redactor: Redactor) -> bool:
    """Whether samples of a profile carry a label that must not be kept."""
    objects = pc.unique(columns.samples["labels"]).to_pylist()
    return any(redactor.action(name) for name in {name for text in objects for name in json.loads(text)})
