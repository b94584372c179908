"""What every correlation strategy gets to know, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from diagnose.config import Settings
from diagnose.model import Episode, Exemplar, Note, TraceRef
from diagnose.prometheus import Prometheus
from diagnose.store.db import Store


@dataclass(frozen=True)
class Readers:
    """Where traces are looked for."""

    store: Store
    prometheus: Sequence[Prometheus]
    settings: Settings

    def servers_for(self, episode: Episode) -> list[Prometheus]:
        """The servers whose `match` agrees with the alert; all that have none when no match does."""
        named = [each for each in self.prometheus if each.server.match and _agrees(each, episode)]
        return named or [each for each in self.prometheus if not each.server.match]


def _agrees(server: Prometheus, episode: Episode) -> bool:
    return all(episode.labels.get(name) == value for name, value in server.server.match.items())


@dataclass(frozen=True)
class Question:
    """
    One alert: `expr` is the PromQL of its rule ("" when unknown), [since, until] the time its traces may lie in.

    `service` is the service of the incident, `trace_limit` how many traces are wanted.
    """

    episode: Episode
    service: str
    expr: str
    since: datetime
    until: datetime
    trace_limit: int = 50


@dataclass(frozen=True)
class Found:
    """Traces best first; exemplars are kept even where they add no trace; `missing` says why there is nothing."""

    traces: tuple[TraceRef, ...] = ()
    exemplars: tuple[Exemplar, ...] = ()
    missing: tuple[Note, ...] = ()
