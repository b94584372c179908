from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from diagnose.errors import DecodeError
from diagnose.model import fingerprint_of
from diagnose.receive.alerts import Decoded
from diagnose.receive.direct import decode_direct, group_key
from tests.builders import minute, without

RECORDED = Path(__file__).parent / "data" / "direct"
GROUP_BY = ("alertname", "job")
SENT_AT = datetime(2026, 11, 24, 23, 41, 10, 500_000, UTC)  # when Prometheus sent the end
NOW = minute(1)


def recorded(name: str, received_at: datetime = SENT_AT) -> Decoded:
    return decode_direct((RECORDED / f"{name}.json").read_bytes(), received_at=received_at, group_by=GROUP_BY)


def item(**fields: Any) -> dict[str, Any]:
    defaults = {"labels": {"alertname": "HighLatency"}, "startsAt": "2026-11-24T10:00:00Z"}
    return defaults | {"endsAt": "2026-11-24T10:05:00Z"} | fields


def read(*items: Any, received_at: datetime = NOW) -> Decoded:
    return decode_direct(json.dumps(items).encode(), received_at=received_at, group_by=GROUP_BY)


def test_what_prometheus_sent_tells_when_it_expires():
    [alert] = recorded("firing").group.alerts

    assert ("firing", None) == (alert.status, alert.ends_at)
    assert datetime(2026, 11, 24, 23, 41, 20, 426_000, UTC) == alert.expires_at
    assert fingerprint_of({"alertname": "AndLongEnough", "cluster": "shop", "replica": "a", "severity": "warning"}) == (
        alert.fingerprint
    )
    assert "expr=vector" in alert.generator_url


def test_what_is_sent_again_is_the_same_alert_with_a_later_end():
    [first], [again] = recorded("firing").group.alerts, recorded("renewed").group.alerts

    assert (first.fingerprint, first.starts_at) == (again.fingerprint, again.starts_at)
    assert first.expires_at < again.expires_at


def test_an_end_that_is_over_is_a_resolve():
    decoded = recorded("resolved")
    [alert] = decoded.group.alerts

    assert ("resolved", "resolved", "prometheus") == (decoded.group.status, alert.status, decoded.group.source)
    assert (datetime(2026, 11, 24, 23, 41, 10, 426_000, UTC), None) == (alert.ends_at, alert.expires_at)


def test_an_annotated_alert_is_read_with_its_annotations():
    [alert] = recorded("annotated").group.alerts

    assert {"summary": "127.0.0.1:19556 is up"} == alert.annotations


@pytest.mark.parametrize(
    ("fields", "status", "expires_at"),
    [
        ({"endsAt": "2026-11-24T10:05:00Z"}, "firing", minute(5)),
        ({"endsAt": "2026-11-24T10:01:00Z"}, "resolved", None),
        ({"endsAt": "0001-01-01T00:00:00Z"}, "firing", NOW + timedelta(minutes=5)),
        ({"endsAt": None}, "firing", NOW + timedelta(minutes=5)),
        ({"endsAt": "9999-12-31T23:59:59Z"}, "firing", NOW + timedelta(days=1)),
    ],
)
def test_the_clock_tells_the_status(fields, status, expires_at):
    [alert] = read(item(**fields)).group.alerts

    assert (status, expires_at) == (alert.status, alert.expires_at)


@pytest.mark.parametrize("starts_at", [None, "0001-01-01T00:00:00Z"])
def test_who_tells_no_start_starts_now_or_at_the_end(starts_at):
    firing, resolved = read(
        item(startsAt=starts_at), item(startsAt=starts_at, endsAt="2026-11-24T09:00:00Z")
    ).group.alerts

    assert (NOW, minute(-60)) == (firing.starts_at, resolved.starts_at)


def test_a_label_without_a_value_is_no_label():
    with_empty, without_it = read(
        item(labels={"alertname": "x", "pod": ""}), item(labels={"alertname": "x"})
    ).group.alerts

    assert with_empty.fingerprint == without_it.fingerprint
    assert {"alertname": "x"} == with_empty.labels


@pytest.mark.parametrize(
    ("labels", "key"),
    [
        ({"alertname": "HighLatency", "job": "checkout", "pod": "1"}, '{}:{alertname="HighLatency", job="checkout"}'),
        ({"alertname": "HighLatency"}, '{}:{alertname="HighLatency"}'),
        ({"pod": "1"}, "{}:{}"),
    ],
)
def test_the_group_is_what_alertmanager_would_form(labels, key):
    assert key == group_key(labels, ["job", "alertname"])
    assert key == read(item(labels=labels)).group.alerts[0].group_key


@pytest.mark.parametrize("body", [b"", b"{}", b'{"alerts": []}', b"null", b'"alerts"', b"[", b"[}]", b"\xff"])
def test_a_body_that_is_no_list_is_refused(body):
    with pytest.raises(DecodeError):
        decode_direct(body, received_at=NOW, group_by=GROUP_BY)


def test_an_empty_list_is_a_good_message():
    assert () == read().group.alerts


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (None, "object, not null"),
        (without(item(), "labels"), "labels is missing"),
        (item(labels={}), "labels must not be empty"),
        (item(labels={"alertname": 1}), "labels.alertname must be a string"),
        (item(startsAt="now"), "startsAt must be a time"),
        (item(startsAt="2031-01-01T00:00:00Z"), "more than a day in the future"),
        (item(endsAt=0), "endsAt must be a string"),
        (item(annotations=[]), "annotations must be an object"),
    ],
)
def test_a_bad_alert_is_set_aside_and_its_neighbours_are_kept(bad, reason):
    decoded = read(item(), bad, item())

    assert 2 == len(decoded.group.alerts)
    assert [1] == [each["index"] for each in decoded.rejected]
    assert reason in decoded.rejected[0]["reason"]
