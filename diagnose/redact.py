"""What is never stored: attributes and labels whose names look like secrets (setting `ingest.redact`)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

Action = Literal["mask", "drop"]
MASK = "***"
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


KEEP_ALL = Redactor()
