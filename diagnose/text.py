"""Text from outside as every table can hold it."""

from __future__ import annotations

import re

MAX_TEXT_BYTES = 65_536

_NOT_TEXT = re.compile("[\x00\ud800-\udfff]")  # a half surrogate pair cannot be written as UTF-8


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
