"""
Attribute values of OTLP as text (docs/reference: "Attributes as text").

    "x" → x      true → true      7 → 7      0.1 → 0.1      1e300 → 1e+300      not a number → NaN
    bytes → base64      ["a", 1] → ["a",1]      {"k": null} → {"k":null}      no value → None
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable
from math import isfinite, isnan
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from diagnose.redact import MASK, Redactor

TRACE_ID_BYTES = 16
SPAN_ID_BYTES = 8


class AttributeReader:
    """Reads attribute lists, leaving out or masking what must not be stored, inside nested values too."""

    def __init__(self, redactor: Redactor) -> None:
        self._action = redactor.action

    def read(self, attributes: Iterable[KeyValue]) -> dict[str, str | None]:
        """Name → text; of a repeated name the last wins."""
        texts: dict[str, str | None] = {}
        for pair in attributes:
            name = pair.key
            action = self._action(name)
            if action is None:
                texts[name] = pair.value.string_value or self.text(pair.value)
            elif action == "mask":
                texts[name] = MASK
            else:
                texts.pop(name, None)
        return texts

    def text(self, value: AnyValue) -> str | None:
        plain = self._plain(value)
        if plain is None or isinstance(plain, str):
            return plain
        if isinstance(plain, float):
            return repr(plain)
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))

    def _plain(self, value: AnyValue) -> Any:
        """What JSON has for *value*; numbers it has none for, and bytes, as text."""
        kind = value.WhichOneof("value")
        match kind:
            case "string_value" | "bool_value" | "int_value":
                return getattr(value, kind)
            case "double_value":
                return value.double_value if isfinite(value.double_value) else _special(value.double_value)
            case "bytes_value":
                return b64encode(value.bytes_value).decode("ascii")
            case "array_value":
                return [self._plain(each) for each in value.array_value.values]
            case "kvlist_value":
                return self._plain_list(value.kvlist_value.values)
            case _:  # nothing set, or a kind from the future
                return None

    def _plain_list(self, pairs: Iterable[KeyValue]) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for pair in pairs:
            action = self._action(pair.key)
            if action != "drop":
                plain[pair.key] = MASK if action == "mask" else self._plain(pair.value)
        return plain


def _special(number: float) -> str:
    if isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"


def id_mistake(name: str, value: bytes, size: int) -> str | None:
    """What is wrong with a trace or span id."""
    if len(value) != size:
        return f"{name} has {len(value)} bytes, not {size}"
    if not any(value):
        return f"{name} is all zeros"
    return None


def micros(unix_nano: int) -> int | None:
    """Unix nanoseconds as the microseconds the tables have; 0 means unknown."""
    return unix_nano // 1000 or None
