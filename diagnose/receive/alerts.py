"""What all ways to send alerts have in common: one bad alert does not cost the good ones beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from diagnose.errors import DecodeError
from diagnose.model import Alert, AlertGroup
from diagnose.receive.fields import CLOCK_SKEW, kind_of, time_in


@dataclass(frozen=True)
class Decoded:
    """
    `rejected` lists the alerts that were set aside, index and reason, as the answer shows them.

    `set_aside` has them again, as JSON.
    """

    group: AlertGroup
    rejected: tuple[dict[str, Any], ...]
    set_aside: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class ReadAlerts:
    """The good ones in their order, and the others as in `Decoded`."""

    alerts: tuple[Alert, ...]
    rejected: tuple[dict[str, Any], ...]
    set_aside: tuple[bytes, ...]


def read_alerts(items: Sequence[Any], read: Callable[[Mapping[str, Any]], Alert]) -> ReadAlerts:
    """What *read* makes of each item; one for which it raises DecodeError is set aside with the reason."""
    alerts: list[Alert] = []
    rejected: list[dict[str, Any]] = []
    for index, item in enumerate(items):
        try:
            alerts.append(read(_object(item)))
        except DecodeError as err:
            rejected.append({"index": index, "reason": str(err)})
    return ReadAlerts(tuple(alerts), tuple(rejected), tuple(_json(items[each["index"]]) for each in rejected))


def _object(item: Any) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise DecodeError(f"an alert must be a JSON object, not {kind_of(item)}")
    return item


def _json(item: Any) -> bytes:
    """Empty for what is nested so deeply that it could be read but not written."""
    try:
        return json.dumps(item).encode()
    except RecursionError:
        return b""


def starts_at_in(item: Mapping[str, Any], received_at: datetime) -> datetime:
    """Raises DecodeError when it is missing, or so far ahead of us that it is no clock but a mistake."""
    at = time_in(item, "startsAt")
    if at is None:
        raise DecodeError("startsAt must tell a time", field="startsAt")
    if at > received_at + CLOCK_SKEW:
        raise DecodeError("startsAt lies more than a day in the future", field="startsAt")
    return at
