"""
OTLP/JSON → the protobuf message.

It is proto3 JSON but for the ids, which are hex. Source: opentelemetry-proto, docs/specification.md.
"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any, TypeVar

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

from diagnose.errors import DecodeError

Request = TypeVar("Request", bound=Message)
# Attributes are lists of {"key", "value"}, so a name here is always a field of the schema, never an attribute.
ID_FIELDS = frozenset({"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"})


def parse_json(body: bytes, message: Request) -> Request:
    """Fill *message*. Unknown fields are ignored, as the specification wants. Raises DecodeError."""
    try:
        content = json.loads(body)
        if not isinstance(content, dict):
            raise DecodeError("not OTLP in JSON: no object", field="body")
        _ids_to_base64(content)
        return ParseDict(content, message, ignore_unknown_fields=True)
    except ParseError as err:
        raise DecodeError(f"not OTLP: {err}", field="body") from err
    except (ValueError, TypeError, AttributeError, RecursionError) as err:  # ParseDict trusts the shape of its input
        raise DecodeError(f"not OTLP in JSON: {err}", field="body") from err


def _ids_to_base64(content: Any) -> None:
    """In place, without recursion; what is no hex becomes empty, which is refused later with the span it belongs to."""
    waiting = [content]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            for name in ID_FIELDS & part.keys():
                part[name] = _base64_of_hex(part[name])
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _base64_of_hex(text: Any) -> str:
    try:
        return b64encode(bytes.fromhex(text)).decode("ascii")
    except (ValueError, TypeError):
        return ""
