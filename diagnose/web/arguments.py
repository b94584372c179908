"""Query parameters, each read by its type; a wrong one is a DecodeError that names it."""

from __future__ import annotations

from datetime import datetime

from flask import request

from diagnose.config import parse_duration
from diagnose.errors import DecodeError
from diagnose.model import utc_now


def text_arg(name: str) -> str | None:
    """None when it is missing or empty."""
    return request.args.get(name) or None


def required_arg(name: str) -> str:
    value = text_arg(name)
    if value is None:
        raise DecodeError(f"{name} is missing", field=name)
    return value


def int_arg(name: str, default: int, *, least: int = 1, most: int = 1000) -> int:
    value = text_arg(name)
    if value is None:
        return default
    try:
        number = int(value)
    except ValueError as err:
        raise DecodeError(f"{name} must be a whole number", field=name) from err
    if not least <= number <= most:
        raise DecodeError(f"{name} must be between {least} and {most}", field=name)
    return number


def choice_arg(name: str, choices: tuple[str, ...]) -> str | None:
    value = text_arg(name)
    if value is not None and value not in choices:
        raise DecodeError(f"{name} must be one of {', '.join(choices)}", field=name)
    return value


def bool_arg(name: str) -> bool | None:
    value = choice_arg(name, ("true", "false"))
    return None if value is None else value == "true"


def time_arg(name: str) -> datetime | None:
    """An RFC 3339 time, or a duration that long ago: `since=2026-11-24T10:00:00Z`, `since=1h`."""
    value = text_arg(name)
    if value is None:
        return None
    try:
        return parse_time(value)
    except ValueError as err:
        raise DecodeError(
            f"{name} must be a time such as 2026-11-24T10:00:00Z or a duration such as 1h", field=name
        ) from err


def parse_time(text: str) -> datetime:
    """As `time_arg`. Raises ValueError."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        try:
            return utc_now() - parse_duration(text)
        except OverflowError as err:
            raise ValueError(f"{text} is too long ago") from err
    if at.tzinfo is None:
        raise ValueError("a time needs an offset, such as Z")
    return at


def label_args(prefix: str = "label.") -> dict[str, str]:
    """`label.route=/checkout` → {"route": "/checkout"}."""
    return {name.removeprefix(prefix): value for name, value in request.args.items() if name.startswith(prefix)}
