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
# Variance over that of a Poisson count while fewer than three healthy profiles tell it. Samples of CPU are nearly
# independent; a goroutine that stays where it is counts in every snapshot (bench/significance.py measures both).
DISPERSION = {"wall": 4.0}


@dataclass(frozen=True)
class FunctionChange:
    """
    One function, in the unit of the value type: per second for profiles of an interval, the state for snapshots.

    `before` is 0 without a baseline. `z` belongs to the weakest of the tests of the rate, of the share and, where
    requests were counted, of the rate per request; `z_rate` to the first alone: memory and waiting hurt whether or not
    the rest grows with them. Both are made smaller by the `dispersion`; `significant` and `rate_significant` say
    whether they stand out among all functions. `before_each` and `during_each` are per request, 0 where those are not
    counted. `gained` is the part of the whole during the incident that was not there before: of 0.5 cores now, 0.02
    before, 0.48/0.5.
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
    dispersion: float
    significant: bool
    rate_significant: bool
    before_each: float
    during_each: float
    all_before: float
    all_during: float

    @property
    def has_larger_share(self) -> bool:
        """By five points at least; a site that only keeps up with all others is not the cause of their growth."""
        return self.during_share >= self.before_share + 0.05

    @property
    def has_risen(self) -> bool:
        return self.significant and self.z > 0

    @property
    def rate_has_risen(self) -> bool:
        return self.rate_significant and self.z_rate > 0

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
        before_requests, during_requests = evidence.requests_beside(pair)
        answer = evidence.ask(
            "functions",
            "change",
            before=pair.before.profile_id,
            before_s=_seconds(pair.before),
            healthy=evidence.healthy_like(pair),
            dispersion=DISPERSION.get(pair.during.kind, 1.0),
            before_requests=before_requests,
            during_requests=during_requests,
            **during,
        )
    return Changes(pair, tuple(_change(row) for row in answer.rows), answer.sql)


def _seconds(profile: ProfileRef) -> float:
    """A snapshot is a state, not a rate."""
    return profile.duration_s if profile.basis == "interval" and profile.duration_ns > 0 else 1.0


def _change(row: dict[str, Any]) -> FunctionChange:
    values: dict[str, Any] = {
        name: value if isinstance(value, bool) else float(value or 0)
        for name, value in row.items()
        if name != "function"
    }
    return FunctionChange(row["function"] or NOT_RUN_YET, **values)
