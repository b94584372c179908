"""
The parts of a JSON body from outside: each is there with its type, or refused by its name.

Nothing is refused for the size or the characters of a text; it becomes one that every table can hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from diagnose.errors import DecodeError
from diagnose.text import clean

MAX_COUNT = 2**31 - 1
CLOCK_SKEW = timedelta(days=1)  # more than this ahead of us is no clock but a mistake

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


def read_json(body: bytes) -> Any:
    """Of a repeated key the last wins. Raises DecodeError for what is not exactly one JSON value in UTF-8."""
    try:
        return json.loads(body.decode("utf-8-sig"), parse_constant=_no_number, parse_int=_integer)
    except UnicodeDecodeError as err:
        raise DecodeError(f"the body is not UTF-8: {err.reason} at byte {err.start}") from err
    except RecursionError as err:
        raise DecodeError("the body is nested too deeply") from err
    except ValueError as err:
        raise DecodeError(f"the body is not JSON: {err}") from err


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def _integer(text: str) -> int | float:
    """As a float when it is too long for any integer we read: Python refuses to convert thousands of digits."""
    return int(text) if len(text) < 20 else float(text)


def required(part: Mapping[str, Any], field: str, wanted: type) -> Any:
    """Raises DecodeError, with the name of the field, when it is absent, null or of another type."""
    value = part.get(field)
    if value is None:
        raise DecodeError(f"{field} is missing", field=field)
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise DecodeError(f"{field} must be {_NAMES[wanted]}, not {kind_of(value)}", field=field)
    return value


def text_in(part: Mapping[str, Any], field: str, *, default: str | None = None) -> str:
    """With a default, what is absent or null is that."""
    if default is not None and part.get(field) is None:
        return default
    return clean(required(part, field, str))


def count_in(part: Mapping[str, Any], field: str) -> int:
    """0 when it is absent or null."""
    if part.get(field) is None:
        return 0
    count = int(required(part, field, int))
    if count < 0:
        raise DecodeError(f"{field} must not be negative", field=field)
    return min(count, MAX_COUNT)


def labels_in(part: Mapping[str, Any], field: str, *, default: dict[str, str] | None = None) -> dict[str, str]:
    """Texts by name; with a default, what is absent or null is that."""
    if default is not None and part.get(field) is None:
        return default
    labels: dict[str, str] = {}
    for name, value in required(part, field, dict).items():
        if not isinstance(value, str):
            raise DecodeError(f"{clean(f'{field}.{name}')} must be a string, not {kind_of(value)}", field=field)
        labels[clean(name)] = clean(value)
    return labels


def time_in(part: Mapping[str, Any], field: str) -> datetime | None:
    """UTC with microseconds; None for the zero time of Go, 0001-01-01, which stands for "not known"."""
    text = required(part, field, str)
    refused = DecodeError(f"{field} must be a time such as 2026-08-22T10:00:00.123Z", field=field)
    if not _RFC3339.fullmatch(text):
        raise refused
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.year > 1 else None
    except (ValueError, OverflowError) as err:  # no such day; year 9999 in a zone west of Greenwich
        raise refused from err


def not_far_ahead(at: datetime, received_at: datetime) -> datetime:
    """Far in the future an end would keep every later firing from opening."""
    return min(at, received_at + CLOCK_SKEW)


_NAMES = {str: "a string", int: "an integer", float: "a number", bool: "a boolean", list: "a list", dict: "an object"}


def kind_of(value: Any) -> str:
    return "null" if value is None else _NAMES[type(value)]
