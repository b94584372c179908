from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from diagnose.errors import DecodeError
from diagnose.model import fingerprint_of
from diagnose.receive.alertmanager import Decoded, decode
from tests.builders import minute, webhook, webhook_alert, without

RECORDED = sorted((Path(__file__).parent / "data" / "alertmanager").glob("*.json"))
NOW = minute(1)


def read(message: Any) -> Decoded:
    return decode(json.dumps(message).encode(), received_at=NOW)


def recorded(name: str) -> Decoded:
    file = next(file for file in RECORDED if file.stem == name)
    return decode(file.read_bytes(), received_at=NOW)


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.stem)
def test_every_recorded_body_is_read_completely(file):
    body = file.read_bytes()
    decoded = decode(body, received_at=NOW)

    assert () == decoded.rejected
    assert len(json.loads(body)["alerts"]) == len(decoded.group.alerts) > 0
    assert body == decoded.group.body


@pytest.mark.parametrize("file", [file for file in RECORDED if "built" not in file.stem], ids=lambda file: file.stem)
def test_our_fingerprint_is_alertmanagers(file):
    for alert in decode(file.read_bytes(), received_at=NOW).group.alerts:
        assert alert.fingerprint == fingerprint_of(alert.labels)


def test_a_message_keeps_what_the_envelope_says():
    group = recorded("routed-0.34").group

    assert ("alertmanager", "sink", "firing", "http://vm:19093") == (
        group.source,
        group.receiver,
        group.status,
        group.external_url,
    )
    assert '{}:{alertname="HTTPP50High", job="checkout"}' == group.group_key
    assert "first notification" == group.notification_reason
    assert {} == group.route_labels
    assert 1 == recorded("truncated").group.truncated_alerts


def test_a_firing_alert_has_no_end_and_a_resolved_one_has():
    firing, resolved = recorded("grouped-mixed").group.alerts

    assert ("firing", datetime(2026, 11, 23, 21, 19, 57, 334000, UTC), None) == (
        firing.status,
        firing.starts_at,
        firing.ends_at,
    )
    assert ("resolved", datetime(2026, 11, 23, 21, 20, 24, 334000, UTC)) == (resolved.status, resolved.ends_at)


def test_grafana_is_told_apart_by_its_version():
    group = recorded("grafana-built").group

    assert "grafana" == group.source
    assert ("", {}) == (group.notification_reason, group.route_labels)


def test_no_alerts_is_a_good_message():
    assert () == read(webhook(alerts=[])).group.alerts


def test_unknown_parts_are_ignored():
    decoded = read(webhook(webhook_alert(weather=[None, 1e5, {"x": []}]), state="alerting", orgId=10**400))

    assert 1 == len(decoded.group.alerts)


@pytest.mark.parametrize("name", ["groupLabels", "commonLabels", "commonAnnotations", "routeLabels", "externalURL"])
def test_what_is_null_counts_as_absent(name):
    null, absent = read(webhook(**{name: None})).group, read(webhook()).group

    assert absent == replace(null, body=absent.body)


def test_a_missing_fingerprint_is_computed():
    labels = {"b": "2", "alertname": "x"}
    absent, empty = read(
        webhook(webhook_alert(labels=labels), webhook_alert(labels=labels, fingerprint=""))
    ).group.alerts

    assert fingerprint_of({"alertname": "x", "b": "2"}) == absent.fingerprint == empty.fingerprint


def test_a_label_set_of_its_own_has_a_fingerprint_of_its_own():
    assert fingerprint_of({"a": "bc"}) != fingerprint_of({"ab": "c"})


def test_a_long_value_is_cut_with_a_visible_mark():
    decoded = read(webhook(webhook_alert(labels={"alertname": "x", "big": "ä" * 50_000})))
    value = decoded.group.alerts[0].labels["big"]

    assert value.endswith("ä … [cut, 100000 bytes]")
    assert 65_530 < len(value.encode()) <= 65_536


def test_a_value_of_64_kib_is_not_cut():
    decoded = read(webhook(webhook_alert(labels={"alertname": "x", "big": "a" * 65_536})))

    assert "a" * 65_536 == decoded.group.alerts[0].labels["big"]


def test_characters_that_no_table_holds_are_replaced():
    body = json.dumps(webhook(webhook_alert(labels={"alertname": "A\0B", "half": "\ud83d", "whole": "😀", "x\0": "1"})))
    alert = decode(body.encode(), received_at=NOW).group.alerts[0]

    assert {"alertname": "A\ufffdB", "half": "\ufffd", "whole": "😀", "x\ufffd": "1"} == alert.labels


def test_of_a_repeated_key_the_last_one_wins():
    body = json.dumps(webhook()).replace('"version": "4"', '"version": "7", "version": "4"')
    body = body.replace('"alertname": "HighLatency"}', '"alertname": "First", "alertname": "Last"}')

    assert "Last" == decode(body.encode(), received_at=NOW).group.alerts[0].alertname


def test_a_byte_order_mark_is_no_mistake():
    assert 1 == len(decode(b"\xef\xbb\xbf" + json.dumps(webhook()).encode(), received_at=NOW).group.alerts)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-24T10:00:00Z", datetime(2026, 11, 24, 10, tzinfo=UTC)),
        ("2026-11-24T10:00:00.123456789Z", datetime(2026, 11, 24, 10, 0, 0, 123456, UTC)),
        ("2026-11-24T12:30:00.5+02:30", datetime(2026, 11, 24, 10, 0, 0, 500000, UTC)),
        ("1969-12-31T23:59:59Z", datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_times_are_read_to_the_microsecond_in_any_zone(text, at):
    assert at == read(webhook(webhook_alert(startsAt=text))).group.alerts[0].starts_at


@pytest.mark.parametrize(
    ("ends_at", "expected"),
    [
        ("2026-11-24T10:00:30Z", minute(0.5)),
        ("2026-11-24T09:00:00Z", minute(0)),
        ("9999-12-31T23:59:59Z", minute(1 + 24 * 60)),
        ("0001-01-01T00:00:00Z", None),
        (None, None),
    ],
)
def test_the_end_of_a_resolved_alert_lies_between_its_start_and_tomorrow(ends_at, expected):
    decoded = read(webhook(webhook_alert(status="resolved", endsAt=ends_at)))

    assert expected == decoded.group.alerts[0].ends_at


BAD_BODIES: list[tuple[str, bytes, str | None]] = [
    ("nothing", b"", None),
    ("white space", b" \n", None),
    ("cut short", json.dumps(webhook()).encode()[:-20], None),
    ("cut within a string", b'{"version": "4', None),
    ("two bodies", json.dumps(webhook()).encode() * 2, None),
    ("a form", b"payload=%7B%7D", None),
    ("XML", b"<alerts/>", None),
    ("single quotes", b"{'version': '4'}", None),
    ("a trailing comma", b'{"version": "4",}', None),
    ("invalid UTF-8", json.dumps(webhook()).encode().replace(b"HighLatency", b"High\xffLatency"), None),
    ("Latin-1", json.dumps(webhook(receiver="ä"), ensure_ascii=False).encode("latin-1"), None),
    ("UTF-16", json.dumps(webhook()).encode("utf-16"), None),
    ("a control character in a string", b'{"version": "4\n"}', None),
    ("lists nested deeply", b"[" * 200_000, None),
    ("objects nested deeply", b'{"a":' * 200_000, None),
    ("deep nesting where it would be ignored", b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
    ("NaN", json.dumps(webhook(truncatedAlerts=float("nan"))).encode(), None),
    ("Infinity", json.dumps(webhook(x=float("-inf"))).encode(), None),
    ("null", b"null", None),
    ("a list", json.dumps([webhook()]).encode(), None),
    ("a string", b'"alerts"', None),
    ("a number", b"9" * 5000, None),
    ("an empty object", b"{}", "version"),
    ("Slack's payload", b'{"text": "firing"}', "version"),
    *[
        (f"no {name}", json.dumps(without(webhook(), name)).encode(), name)
        for name in ("version", "groupKey", "receiver", "status", "alerts")
    ],
    *[
        (f"{name} is null", json.dumps(webhook(**{name: None})).encode(), name)
        for name in ("version", "groupKey", "receiver", "status", "alerts")
    ],
    *[
        (f"{name} is {json.dumps(value)}", json.dumps(webhook(**{name: value})).encode(), name)
        for name, value in [
            ("version", 4),
            ("version", "3"),
            ("version", "5"),
            ("version", ["4"]),
            ("groupKey", {}),
            ("receiver", 7),
            ("status", "pending"),
            ("status", ""),
            ("status", True),
            ("alerts", {}),
            ("alerts", "none"),
            ("alerts", 0),
            ("truncatedAlerts", -1),
            ("truncatedAlerts", "3"),
            ("truncatedAlerts", 1.5),
            ("truncatedAlerts", True),
            ("truncatedAlerts", 10**400),
            ("externalURL", []),
            ("notification_reason", 3),
            ("routeLabels", ["diagnose"]),
            ("routeLabels", {"diagnose": ["cpu"]}),
            ("groupLabels", "job"),
            ("commonLabels", {"job": None}),
            ("commonAnnotations", 1),
        ]
    ],
]


@pytest.mark.parametrize(("body", "field"), [bad[1:] for bad in BAD_BODIES], ids=[bad[0] for bad in BAD_BODIES])
def test_a_body_that_is_not_ours_is_refused_by_the_name_of_its_part(body, field):
    with pytest.raises(DecodeError) as caught:
        decode(body, received_at=NOW)

    assert field == caught.value.field
    assert len(str(caught.value)) < 300


BAD_ALERTS: list[tuple[Any, str]] = [
    (None, "object, not null"),
    ("alert", "object, not a string"),
    ([], "object, not a list"),
    ({}, "status is missing"),
    (webhook_alert(status="active"), 'status must be "firing" or "resolved"'),
    (webhook_alert(status=1), "status must be a string, not an integer"),
    (without(webhook_alert(), "labels"), "labels is missing"),
    (webhook_alert(labels=[]), "labels must be an object"),
    (webhook_alert(labels={"pod": 3}), "labels.pod must be a string, not an integer"),
    (webhook_alert(labels={"pod": None}), "labels.pod must be a string, not null"),
    (webhook_alert(annotations="none"), "annotations must be an object"),
    (webhook_alert(annotations={"summary": True}), "annotations.summary must be a string, not a boolean"),
    (without(webhook_alert(), "startsAt"), "startsAt is missing"),
    (webhook_alert(startsAt=1795478461), "startsAt must be a string"),
    (webhook_alert(startsAt="yesterday"), "startsAt must be a time"),
    (webhook_alert(startsAt="2026-11-24T10:00:00"), "startsAt must be a time"),
    (webhook_alert(startsAt="2026-11-24"), "startsAt must be a time"),
    (webhook_alert(startsAt="2026-02-30T10:00:00Z"), "startsAt must be a time"),
    (webhook_alert(startsAt="-001-11-24T10:00:00Z"), "startsAt must be a time"),
    (webhook_alert(startsAt="9999-12-31T23:59:59-10:00"), "startsAt must be a time"),
    (webhook_alert(startsAt="٢٠٢٦-11-24T10:00:00Z"), "startsAt must be a time"),
    (webhook_alert(startsAt="0001-01-01T00:00:00Z"), "startsAt must tell a time"),
    (webhook_alert(startsAt="2031-01-01T00:00:00Z"), "more than a day in the future"),
    (webhook_alert(status="resolved", endsAt="soon"), "endsAt must be a time"),
    (webhook_alert(status="resolved", endsAt=0), "endsAt must be a string"),
    (webhook_alert(fingerprint=12), "fingerprint must be a string"),
    (webhook_alert(generatorURL={}), "generatorURL must be a string"),
]


@pytest.mark.parametrize(
    ("bad", "reason"), BAD_ALERTS, ids=[f"{number}: {bad[1]}" for number, bad in enumerate(BAD_ALERTS)]
)
def test_a_bad_alert_is_set_aside_and_its_neighbours_are_kept(bad, reason):
    before, after = webhook_alert(labels={"alertname": "Before"}), webhook_alert(labels={"alertname": "After"})
    decoded = read(webhook(before, bad, after))

    assert ["Before", "After"] == [alert.alertname for alert in decoded.group.alerts]
    assert [1] == [each["index"] for each in decoded.rejected]
    assert reason in decoded.rejected[0]["reason"]


def test_what_was_set_aside_can_be_looked_at():
    decoded = read(webhook(webhook_alert(), {"state": "alerting"}, 5))

    assert (b'{"state": "alerting"}', b"5") == decoded.set_aside


@pytest.mark.parametrize("depth", range(700, 1000, 4))
def test_no_depth_of_nesting_is_more_than_a_mistake(depth):
    body = json.dumps(webhook("HERE")).replace('"HERE"', "[" * depth + "]" * depth).encode()
    try:
        decoded = decode(body, received_at=NOW)
    except DecodeError:
        return
    assert 1 == len(decoded.rejected)
