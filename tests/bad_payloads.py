"""
What may arrive at /webhook and is no good: a name, the bytes, the headers, and what has to be answered.

Status 202 with `rejected` means that the message was good and one alert in it was not; 202 alone that the oddity is
taken as contract and format have it.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.builders import webhook, webhook_alert, without

CAP_BYTES = 1_048_576  # what the service under test is told
GZIPPED = {"Content-Encoding": "gzip"}


@dataclass(frozen=True)
class Payload:
    """`field_` is what the answer must name; `accepted` and `rejected` count alerts of a 202."""

    name: str
    body: bytes
    status: int
    field_: str | None = None
    accepted: int = 0
    rejected: int = 0
    headers: dict[str, str] = field(default_factory=dict)


def payloads() -> list[Payload]:
    return [*_no_json(), *_other_schema(), *_wrong_envelopes(), *_wrong_alerts(), *_odd_but_good(), *_encodings()]


def _no_json() -> Iterator[Payload]:
    good = json.dumps(webhook()).encode()
    bodies = {
        "empty": b"",
        "white space": b" \n\t ",
        "truncated": good[:-1],
        "truncated in a string": good[:25],
        "truncated in a number": b'{"version": "4", "truncatedAlerts": 1',
        "trailing bytes": good + b"}",
        "two documents": good + b"\n" + good,
        "form data": b"payload=%7B%7D",
        "XML": b"<alerts/>",
        "YAML": b"version: '4'\nalerts: []",
        "single quotes": b"{'version': '4'}",
        "NaN": b'{"version": "4", "truncatedAlerts": NaN}',
        "Infinity": b'{"version": "4", "truncatedAlerts": -Infinity}',
        "a comment": b'{"version": "4" /* x */}',
        "a trailing comma": b'{"version": "4",}',
        "invalid UTF-8": good.replace(b"HighLatency", b"High\xff\xfeLatency"),
        "overlong UTF-8": good.replace(b"HighLatency", b"High\xc0\xafLatency"),
        "cut in a character": '{"version": "4é'.encode()[:-1],
        "UTF-16": json.dumps(webhook()).encode("utf-16"),
        "binary": bytes(range(256)),
        "only NULs": b"\0" * 64,
        "a raw NUL in a string": good.replace(b"HighLatency", b"High\0Latency"),
        "deep lists": b"[" * 100_000 + b"]" * 100_000,
        "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        "deep inside a good one": good[:-1] + b', "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "never closed lists": b"[" * 200_000,
    }
    for name, body in bodies.items():
        yield Payload(name, body, 400)


def _other_schema() -> Iterator[Payload]:
    for name, body in {"a list": [], "a text": "alert", "a number": 4, "null": None, "true": True}.items():
        yield Payload(name, json.dumps(body).encode(), 400)
    yield Payload("an empty object", b"{}", 400, "version")
    yield Payload("a Slack message", b'{"text": "HighLatency fired"}', 400, "version")
    yield Payload("a PagerDuty event", b'{"routing_key": "x", "event_action": "trigger"}', 400, "version")
    yield Payload("Prometheus' own alerts", json.dumps([webhook_alert()]).encode(), 400)


def _wrong_envelopes() -> Iterator[Payload]:
    for name in ("version", "groupKey", "receiver", "status", "alerts"):
        yield _message(f"without {name}", without(webhook(), name), 400, name)
    changes: dict[str, tuple[str, Any]] = {
        "version 3": ("version", "3"),
        "version as a number": ("version", 4),
        "a status nobody knows": ("status", "pending"),
        "a group key that is a number": ("groupKey", 7),
        "a receiver that is a list": ("receiver", ["a"]),
        "alerts as an object": ("alerts", {}),
        "alerts as text": ("alerts", "none"),
        "alerts null": ("alerts", None),
        "a negative count": ("truncatedAlerts", -1),
        "a count as text": ("truncatedAlerts", "3"),
        "a count as a fraction": ("truncatedAlerts", 1.5),
        "common labels as a list": ("commonLabels", []),
        "group labels with a number": ("groupLabels", {"a": 1}),
        "route labels as text": ("routeLabels", "a=b"),
    }
    for name, (part, value) in changes.items():
        yield _message(name, webhook() | {part: value}, 400, part)


def _wrong_alerts() -> Iterator[Payload]:
    """Each beside a good alert, which must be stored."""
    bad: dict[str, Any] = {
        "an alert that is text": "firing",
        "an alert that is null": None,
        "an alert without status": without(webhook_alert(), "status"),
        "an alert without labels": without(webhook_alert(), "labels"),
        "an alert without startsAt": without(webhook_alert(), "startsAt"),
        "labels as a list": webhook_alert(labels=["a"]),
        "a label that is a number": webhook_alert(labels={"alertname": 7}),
        "a label that is null": webhook_alert(labels={"alertname": None}),
        "an annotation that is an object": webhook_alert(annotations={"summary": {}}),
        "a fingerprint that is a number": webhook_alert(fingerprint=12),
        "a generator URL that is a list": webhook_alert(generatorURL=[]),
        "a time that is a number": webhook_alert(startsAt=1764000000),
        "a negative time": webhook_alert(startsAt="-0001-11-24T10:00:00Z"),
        "a negative unix time": webhook_alert(startsAt="-1764000000"),
        "the zero time": webhook_alert(startsAt="0001-01-01T00:00:00Z"),
        "a day that is none": webhook_alert(startsAt="2026-02-30T10:00:00Z"),
        "hour 25": webhook_alert(startsAt="2026-11-24T25:00:00Z"),
        "a time without zone": webhook_alert(startsAt="2026-11-24T10:00:00"),
        "a date alone": webhook_alert(startsAt="2026-11-24"),
        "an empty time": webhook_alert(startsAt=""),
        "a time in 2100": webhook_alert(startsAt="2100-01-01T00:00:00Z"),
        "a year of five digits": webhook_alert(startsAt="12026-11-24T10:00:00Z"),
        "a time with letters of another script": webhook_alert(startsAt="２０２６-11-24T10:00:00Z"),
        "an end that is none": webhook_alert(status="resolved", endsAt="soon"),
    }
    for name, alert in bad.items():
        yield _message(name, webhook(_good(name), alert), 202, accepted=1, rejected=1)


def _odd_but_good() -> Iterator[Payload]:
    yield _message("no alerts", webhook() | {"alerts": []}, 202)
    alerts: dict[str, dict[str, Any]] = {
        "a huge label": {"labels": {"alertname": "x" * 500_000}},
        "a huge label name": {"labels": {"alertname": "a", "n" * 200_000: "x"}},
        "thousands of labels": {"labels": {"alertname": "many"} | {f"l{n}": "v" for n in range(5000)}},
        "a NUL in a label": {"labels": {"alertname": "High\0Latency"}},
        "half a surrogate pair": {"labels": {"alertname": "High\ud800Latency"}},
        "no label at all": {"labels": {}},
        "an end before the start": {"status": "resolved", "endsAt": "2020-01-01T00:00:00Z"},
        "an end in the year 9999": {"status": "resolved", "endsAt": "9999-12-31T23:59:59Z"},
        "nanoseconds": {"startsAt": "2026-11-24T10:00:00.123456789Z"},
        "a zone far east": {"startsAt": "2026-11-24T10:00:00+14:00"},
        "SQL in a label": {"labels": {"alertname": "'); DROP TABLE episode; --"}},
        "markup in a label": {"labels": {"alertname": "<script>alert(1)</script>"}},
        "unknown parts": {"silenceURL": "x", "values": None, "unheard_of": {"a": [1, 2]}},
        "characters of all kinds": {"labels": {"alertname": "é😀\u202e\u0085\ufeff'\"\\"}},
    }
    for name, fields in alerts.items():
        alert = webhook_alert(**fields, fingerprint=f"odd {name}")
        yield _message(name, webhook(alert, groupKey=name), 202, accepted=1)
    twice = b'{"status": "resolved", "labels": {"alertname": "first", "alertname": "last"}, "status": "firing", '
    twice += b'"startsAt": "2026-11-24T10:00:00Z"}'
    body = json.dumps(webhook(alerts=["HERE"], groupKey="twice")).encode().replace(b'"HERE"', twice)
    yield Payload("duplicate keys", body, 202, accepted=1)
    number = json.dumps(webhook(_good("digits"), x="HERE")).encode().replace(b'"HERE"', b"9" * 10_000)
    yield Payload("a number of ten thousand digits", number, 202, accepted=1)
    yield Payload("a byte order mark", b"\xef\xbb\xbf" + json.dumps(webhook(_good("BOM"))).encode(), 202, accepted=1)


def _encodings() -> Iterator[Payload]:
    good = json.dumps(webhook(_good("gzip"))).encode()
    yield Payload("gzip", gzip.compress(good), 202, accepted=1, headers=GZIPPED)
    yield Payload("above the cap", b" " * (CAP_BYTES + 1), 413)
    yield Payload("a gzip bomb", gzip.compress(b" " * 200_000_000, 9), 413, headers=GZIPPED)
    yield Payload("a gzip bomb in a gzip bomb", gzip.compress(gzip.compress(b" " * 10_000_000)), 400, headers=GZIPPED)
    yield Payload("no gzip that says so", good, 400, headers=GZIPPED)
    yield Payload("gzip that does not say so", gzip.compress(good), 400)
    yield Payload("truncated gzip", gzip.compress(good)[:-9], 400, headers=GZIPPED)
    yield Payload(
        "damaged gzip", gzip.compress(good)[:20] + b"\0\0\0\0" + gzip.compress(good)[24:], 400, headers=GZIPPED
    )
    yield Payload("an encoding nobody knows", good, 415, headers={"Content-Encoding": "br"})


def _message(name: str, message: dict[str, Any], status: int, field_: str | None = None, **counts: int) -> Payload:
    return Payload(name, json.dumps(message).encode(), status, field_, **counts)


def _good(name: str) -> dict[str, Any]:
    return webhook_alert(fingerprint=f"good beside {name}")
