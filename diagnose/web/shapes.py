"""Rows → JSON and back: times in RFC 3339 UTC, bytes as base64, numbers JSON has no word for as null."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import Response

from diagnose.errors import DecodeError
from diagnose.model import rfc3339

SCALARS: tuple[tuple[type[Any], Callable[[Any], Any]], ...] = (
    (str, str),
    (int, lambda value: value),
    (float, lambda value: value if math.isfinite(value) else None),
    (datetime, rfc3339),
    (timedelta, timedelta.total_seconds),
    (bytes, lambda value: b64encode(value).decode("ascii")),
)


def plain(value: Any) -> Any:
    """*value* with nothing in it that JSON cannot hold; what is unknown becomes text."""
    if value is None:
        return None
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    convert = next((convert for kind, convert in SCALARS if isinstance(value, kind)), str)
    return convert(value)


def answer(value: Any) -> Response:
    return Response(json.dumps(plain(value), ensure_ascii=False, allow_nan=False), content_type="application/json")


def json_body(body: bytes) -> dict[str, Any]:
    """The object in *body*; an empty body is an empty one. Raises DecodeError."""
    if not body.strip():
        return {}
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as err:
        raise DecodeError(f"the body is not JSON: {err}") from err
    if not isinstance(found, dict):
        raise DecodeError("the body must be a JSON object")
    return found
