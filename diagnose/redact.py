"""What is never stored: attributes and labels whose names look like secrets (setting `ingest.redact`)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

Action = Literal["mask", "drop"]
MASK = "***"
LEFT_OUT = b"(left out: it may hold a secret)"
SHORTEST = 4  # a shorter text is no secret, and replacing it wherever it stands would spoil the rest
_KEY = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"\s*:')
_WORD = re.compile(r"[\w.\-/]+")
MAX_REMEMBERED = 65_536  # names; a program that puts ids into names must not fill our memory


class RedactionRule(Protocol):
    """What `config.Redaction` looks like from here."""

    @property
    def keys(self) -> Sequence[str]: ...
    @property
    def action(self) -> Action: ...


class Redactor:
    """
    Decides by name alone; the first rule with a pattern found in the name wins. Safe for several threads.

        keys ["(?i)authorization"], action mask        "http.request.header.Authorization"  →  mask
    """

    def __init__(self, rules: Sequence[RedactionRule] = ()) -> None:
        self._rules = [(re.compile(pattern), rule.action) for rule in rules for pattern in rule.keys]
        self._remembered: dict[str, Action | None] = {}

    def action(self, name: str) -> Action | None:
        """What is to be done with the value of *name*; None: keep it."""
        try:
            return self._remembered[name]
        except KeyError:
            pass
        found = next((action for pattern, action in self._rules if pattern.search(name)), None)
        if len(self._remembered) < MAX_REMEMBERED:
            self._remembered[name] = found
        return found

    def labels(self, labels: Mapping[str, str]) -> dict[str, str]:
        """*labels* without what must not be kept."""
        kept = {}
        for name, value in labels.items():
            action = self.action(name)
            if action != "drop":
                kept[name] = MASK if action == "mask" else value
        return kept

    def secrets(self, labels: Mapping[str, str]) -> frozenset[str]:
        """The values in *labels* that must not be kept; other texts may repeat them."""
        return frozenset(value for name, value in labels.items() if value and self.action(name))

    def json(self, body: bytes) -> bytes:
        """*body*, which is JSON, without the values of secret names, wherever else they stand; mostly unchanged."""
        if all(self._is_plain(name) for name in set(_KEY.findall(body))):
            return body
        found: set[str] = set()
        kept = self._without(json.loads(body), found)
        return without(json.dumps(kept, ensure_ascii=False, separators=(",", ":")), found).encode(errors="replace")

    def body(self, body: bytes) -> bytes:
        """As `json`; what is no JSON is left out as a whole when it has a secret name or cannot be read as text."""
        if not self._rules:
            return body
        try:
            json.loads(body)
        except (ValueError, RecursionError):
            return body if self._is_harmless(body) else LEFT_OUT
        return self.json(body)

    def _is_plain(self, name: bytes) -> bool:
        """Whether a name as it stands in JSON is that of no secret; with an escape nobody knows before reading it."""
        return b"\\" not in name and self.action(name.decode(errors="replace")) is None

    def _without(self, value: Any, found: set[str]) -> Any:
        """*value* as JSON gave it; the secrets go into *found*."""
        if isinstance(value, list):
            return [self._without(each, found) for each in value]
        if not isinstance(value, dict):
            return value
        kept = {}
        for name, each in value.items():
            action = self.action(name)
            if action is None:
                kept[name] = self._without(each, found)
                continue
            found.update(_texts_in(each))
            if action == "mask":
                kept[name] = MASK
        return kept

    def _is_harmless(self, body: bytes) -> bool:
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return False
        return not any(self.action(word) for word in set(_WORD.findall(text)))


def without(text: str, secrets: Iterable[str]) -> str:
    """*text* with a mask in the place of *secrets*, longest first; those too short to be one are left."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST:
            text = text.replace(json.dumps(secret, ensure_ascii=False)[1:-1], MASK).replace(secret, MASK)
    return text


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts_in(each)


KEEP_ALL = Redactor()
