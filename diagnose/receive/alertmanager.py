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

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from diagnose.errors import DecodeError
from diagnose.model import Alert, AlertGroup, AlertStatus, fingerprint_of

SOURCES = {"4": "alertmanager", "1": "grafana"}
MAX_TEXT_BYTES = 65_536
MAX_COUNT = 2**31 - 1
CLOCK_SKEW = timedelta(days=1)  # more than this ahead of us is no clock but a mistake

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_NOT_TEXT = re.compile("[\x00\ud800-\udfff]")  # a half surrogate pair cannot be written as UTF-8


@dataclass(frozen=True)
class Decoded:
    """
    `rejected` lists the alerts that were set aside, index and reason, as the webhook's answer shows them.

    `set_aside` has them again, as JSON.
    """

    group: AlertGroup
    rejected: tuple[dict[str, Any], ...]
    set_aside: tuple[bytes, ...] = ()


def decode(body: bytes, *, received_at: datetime) -> Decoded:
    """
    Read one webhook body. Raises DecodeError, with `field` naming the part of the envelope that is missing or wrong.

    The alerts keep their order. `ends_at` is None for a firing alert and for a resolved one that does not tell when.
    """
    message = _parse(body)
    source = SOURCES.get(_text(message, "version"))
    if source is None:
        raise DecodeError('version must be "4" (Alertmanager) or "1" (Grafana)', field="version")
    items = _required(message, "alerts", list)
    alerts, rejected = _alerts(items, received_at)
    group = AlertGroup(
        source=source,
        group_key=_text(message, "groupKey"),
        receiver=_text(message, "receiver"),
        status=_status(message),
        external_url=_text(message, "externalURL", default=""),
        alerts=alerts,
        received_at=received_at,
        body=body,
        truncated_alerts=_count(message, "truncatedAlerts"),
        notification_reason=_text(message, "notification_reason", default=""),
        route_labels=_labels(message, "routeLabels", default={}),
    )
    for field in ("groupLabels", "commonLabels", "commonAnnotations"):
        _labels(message, field, default={})  # not kept beside the body, but of another type they betray another schema
    return Decoded(group, rejected, tuple(_json(items[each["index"]]) for each in rejected))


def _parse(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body.decode("utf-8-sig"), parse_constant=_no_number, parse_int=_integer)
    except UnicodeDecodeError as err:
        raise DecodeError(f"the body is not UTF-8: {err.reason} at byte {err.start}") from err
    except RecursionError as err:
        raise DecodeError("the body is nested too deeply") from err
    except ValueError as err:
        raise DecodeError(f"the body is not JSON: {err}") from err
    if not isinstance(message, dict):
        raise DecodeError(f"the body must be a JSON object, not {_kind(message)}")
    return message


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def _integer(text: str) -> int | float:
    """As a float when it is too long for any integer we read: Python refuses to convert thousands of digits."""
    return int(text) if len(text) < 20 else float(text)


def _alerts(items: list[Any], received_at: datetime) -> tuple[tuple[Alert, ...], tuple[dict[str, Any], ...]]:
    alerts: list[Alert] = []
    rejected: list[dict[str, Any]] = []
    for index, item in enumerate(items):
        try:
            alerts.append(_alert(item, received_at))
        except DecodeError as err:
            rejected.append({"index": index, "reason": str(err)})
    return tuple(alerts), tuple(rejected)


def _alert(item: Any, received_at: datetime) -> Alert:
    if not isinstance(item, dict):
        raise DecodeError(f"an alert must be a JSON object, not {_kind(item)}")
    status = _status(item)
    labels = _labels(item, "labels")
    starts_at = _starts_at(item, received_at)
    return Alert(
        fingerprint=_text(item, "fingerprint", default="") or fingerprint_of(labels),
        status=status,
        labels=labels,
        annotations=_labels(item, "annotations", default={}),
        starts_at=starts_at,
        ends_at=_ends_at(item, starts_at, received_at) if status == "resolved" else None,
        generator_url=_text(item, "generatorURL", default=""),
    )


def _json(item: Any) -> bytes:
    """Empty for what is nested so deeply that it could be read but not written."""
    try:
        return json.dumps(item).encode()
    except RecursionError:
        return b""


def _starts_at(item: Mapping[str, Any], received_at: datetime) -> datetime:
    at = _time(item, "startsAt")
    if at is None:
        raise DecodeError("startsAt must tell a time", field="startsAt")
    if at > received_at + CLOCK_SKEW:
        raise DecodeError("startsAt lies more than a day in the future", field="startsAt")
    return at


def _ends_at(item: Mapping[str, Any], starts_at: datetime, received_at: datetime) -> datetime | None:
    """Never before the start and never far in the future, where it would keep every later firing from opening."""
    at = _time(item, "endsAt") if item.get("endsAt") is not None else None
    return None if at is None else max(starts_at, min(at, received_at + CLOCK_SKEW))


def _required(part: Mapping[str, Any], field: str, wanted: type) -> Any:
    value = part.get(field)
    if value is None:
        raise DecodeError(f"{field} is missing", field=field)
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise DecodeError(f"{field} must be {_NAMES[wanted]}, not {_kind(value)}", field=field)
    return value


def _text(part: Mapping[str, Any], field: str, *, default: str | None = None) -> str:
    if default is not None and part.get(field) is None:
        return default
    return clean(_required(part, field, str))


def _count(part: Mapping[str, Any], field: str) -> int:
    if part.get(field) is None:
        return 0
    count = int(_required(part, field, int))
    if count < 0:
        raise DecodeError(f"{field} must not be negative", field=field)
    return min(count, MAX_COUNT)


def _status(part: Mapping[str, Any]) -> AlertStatus:
    match _text(part, "status"):
        case "firing":
            return "firing"
        case "resolved":
            return "resolved"
    raise DecodeError('status must be "firing" or "resolved"', field="status")


def _labels(part: Mapping[str, Any], field: str, *, default: dict[str, str] | None = None) -> dict[str, str]:
    if default is not None and part.get(field) is None:
        return default
    labels: dict[str, str] = {}
    for name, value in _required(part, field, dict).items():
        if not isinstance(value, str):
            raise DecodeError(f"{clean(f'{field}.{name}')} must be a string, not {_kind(value)}", field=field)
        labels[clean(name)] = clean(value)
    return labels


def _time(part: Mapping[str, Any], field: str) -> datetime | None:
    """UTC with microseconds; None for the zero time of Go, 0001-01-01, which stands for "not known"."""
    text = _required(part, field, str)
    refused = DecodeError(f"{field} must be a time such as 2026-08-22T10:00:00.123Z", field=field)
    if not _RFC3339.fullmatch(text):
        raise refused
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.year > 1 else None
    except (ValueError, OverflowError) as err:  # no such day; year 9999 in a zone west of Greenwich
        raise refused from err


def clean(text: str) -> str:
    """Text every table can hold: NUL becomes U+FFFD; what is longer than 64 KiB is cut, with a mark that says so."""
    text = _NOT_TEXT.sub("\ufffd", text)
    if len(text) * 4 <= MAX_TEXT_BYTES:
        return text
    encoded = text.encode()
    if len(encoded) <= MAX_TEXT_BYTES:
        return text
    mark = f" … [cut, {len(encoded)} bytes]"
    return encoded[: MAX_TEXT_BYTES - len(mark.encode())].decode(errors="ignore") + mark


_NAMES = {str: "a string", int: "an integer", float: "a number", bool: "a boolean", list: "a list", dict: "an object"}


def _kind(value: Any) -> str:
    return "null" if value is None else _NAMES[type(value)]
