"""Durations as Prometheus writes them and sizes with binary or decimal units."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

_DURATION = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?",
)
_UNITS_MS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|[kKMGT]B|[KMGT]iB)?")
_SIZE_UNITS = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE_UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def parse_duration(value: Any) -> timedelta:
    """
    A Prometheus duration: `500ms`, `10s`, `1h30m`, `3d`, `0`; any other bare number is refused, as it has no unit.

    Raises ValueError.
    """
    if isinstance(value, timedelta):
        return value
    found = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if value in (0, "0") and not isinstance(value, bool):
        return timedelta(0)
    if found is None:
        raise ValueError(f"{value!r} is no duration; write it with units, such as 500ms, 10s, 1h30m or 3d")
    parts = zip(found.groups(), _UNITS_MS.values(), strict=True)
    try:
        return timedelta(milliseconds=sum(int(number) * unit_ms for number, unit_ms in parts if number))
    except OverflowError as err:
        raise ValueError(f"{value!r} is too long") from err


def format_duration(duration: timedelta) -> str:
    """
    The shortest text `parse_duration` reads as *duration*; weeks and years are left to people.

        timedelta(minutes=90)  →  1h30m
    """
    left_ms = round(duration / timedelta(milliseconds=1))
    text = ""
    for unit in ("d", "h", "m", "s", "ms"):
        number, left_ms = divmod(left_ms, _UNITS_MS[unit])
        text += f"{number}{unit}" if number else ""
    return text or "0"


def parse_size(value: Any) -> int:
    """Bytes of `512MiB`, `20GiB`, `1.5GB`, `1000`. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{value!r} is no size; write bytes or a unit, such as 1000, 512MiB or 20GiB")
    number, unit = found.groups()
    return int(float(number) * _SIZE_UNITS[unit or "B"])


def format_size(size_bytes: int) -> str:
    """With the largest binary unit that divides it: 2147483648 → 2GiB, 1000 → 1000."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size_bytes and size_bytes % _SIZE_UNITS[unit] == 0:
            return f"{size_bytes // _SIZE_UNITS[unit]}{unit}"
    return str(size_bytes)
