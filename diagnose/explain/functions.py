"""
Before and after per function of the program's own.

The leaf is the culprit only for pure CPU; elsewhere it is `runtime.gopark` or `sync.(*Mutex).Unlock`. So values are
summed up by the function the store names for each stack: the first of the program's own packages from the leaf.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diagnose.explain.evidence import Evidence, Pair, ProfileRef
from diagnose.explain.render import Literal

NOT_RUN_YET = "(a goroutine that has not run yet)"


@dataclass(frozen=True)
class FunctionChange:
    """
    One function, in the unit of the value type: per second for profiles of an interval, the state for snapshots.

    `before` is 0 without a baseline. `z` belongs to the weaker of two tests, of the rate and of the share, `z_rate` to
    the first alone: memory and waiting hurt whether or not the rest grows with them. `gained` is the part of the whole
    during the incident that was not there before: of 0.5 cores now, 0.02 before, 0.48/0.5.
    """

    function: str
    before: float
    during: float
    before_share: float
    during_share: float
    before_seen: float
    during_seen: float
    z_rate: float
    z: float
    all_before: float
    all_during: float

    @property
    def has_larger_share(self) -> bool:
        """By five points at least; a site that only keeps up with all others is not the cause of their growth."""
        return self.during_share >= self.before_share + 0.05

    @property
    def gained(self) -> float:
        return max(0.0, self.during - self.before) / self.all_during if self.all_during > 0 else 0.0


@dataclass(frozen=True)
class Changes:
    """All functions of one process, the most added first; `sql` is what was asked."""

    pair: Pair
    functions: tuple[FunctionChange, ...]
    sql: str

    @property
    def all_before(self) -> float:
        return self.functions[0].all_before if self.functions else 0.0

    @property
    def all_during(self) -> float:
        return self.functions[0].all_during if self.functions else 0.0

    def of(self, function: str) -> FunctionChange | None:
        return next((each for each in self.functions if each.function == function), None)


def function_changes(evidence: Evidence, pair: Pair, value_type: str) -> Changes:
    """Without a baseline only the shares during the incident are known: `before` and `z` are 0."""
    during: dict[str, Literal] = {
        "during": pair.during.profile_id,
        "during_s": _seconds(pair.during),
        "value_type": value_type,
    }
    if pair.before is None:
        answer = evidence.ask("functions", "share", **during)
    else:
        answer = evidence.ask(
            "functions", "change", before=pair.before.profile_id, before_s=_seconds(pair.before), **during
        )
    return Changes(pair, tuple(_change(row) for row in answer.rows), answer.sql)


def _seconds(profile: ProfileRef) -> float:
    """A snapshot is a state, not a rate."""
    return profile.duration_s if profile.basis == "interval" and profile.duration_ns > 0 else 1.0


def _change(row: dict[str, Any]) -> FunctionChange:
    function = row["function"] or NOT_RUN_YET
    return FunctionChange(function, **{name: float(row[name]) for name in row if name != "function"})
