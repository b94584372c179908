"""Label matchers in Alertmanager's syntax: `severity="critical"`, `alertname=~"High.*"`, `job!="x"`, `job!~"x|y"`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

_MATCHER = re.compile(r"""^\s*([a-zA-Z_][a-zA-Z0-9_.]*)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|([^"\s,{}]*))\s*$""")
_ESCAPES = {r"\"": '"', r"\\": "\\", r"\n": "\n"}


@dataclass(frozen=True)
class Matcher:
    """One condition on one label; a label that is missing counts as empty."""

    label: str
    operator: str
    value: str

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(self.value)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Regular expressions are anchored at both ends, as in Prometheus."""
        actual = labels.get(self.label, "")
        if self.operator in ("=", "!="):
            return (actual == self.value) == (self.operator == "=")
        return (self._pattern.fullmatch(actual) is not None) == (self.operator == "=~")

    def __str__(self) -> str:
        escaped = self.value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
        return f'{self.label}{self.operator}"{escaped}"'


def parse_matcher(text: str) -> Matcher:
    """
    Read one matcher. Raises ValueError, which names the mistake.

        alertname=~"HighLatency.*"  →  Matcher("alertname", "=~", "HighLatency.*")
    """
    found = _MATCHER.match(text)
    if found is None:
        raise ValueError(f'{text!r} is no matcher; write label="value", or != =~ !~ in place of =')
    label, operator, quoted, bare = found.groups()
    value = re.sub(r"\\[\"\\n]", lambda escape: _ESCAPES[escape.group()], quoted) if quoted is not None else bare
    if operator in ("=~", "!~"):
        try:
            re.compile(value)
        except re.error as err:
            raise ValueError(f"{text!r}: {value!r} is no regular expression: {err}") from err
    return Matcher(label, operator, value)


def all_match(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether every matcher accepts *labels*; no matcher accepts everything."""
    return all(matcher.matches(labels) for matcher in matchers)
