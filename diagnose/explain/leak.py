"""
Goroutines: a group of blocked ones that grows.

Needs: a goroutine snapshot of the incident, and one of the healthy time or a second one of the incident. The runtime's
own leak detection (profile goroutineleak) makes it certain. Goroutines keep the labels of the request that started
them, so a leak is led back to its traces.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from diagnose.explain.evidence import Evidence, Pair, ProfileRef
from diagnose.explain.functions import NOT_RUN_YET, FunctionChange, function_changes
from diagnose.explain.instances import where
from diagnose.explain.result import LIKELY_Z, STRONG_Z, Result
from diagnose.explain.wording import code, count, number, percent, seconds, short
from diagnose.model import Confidence, Effect, Finding, Note, Subject
from diagnose.pprof.profile import Frame
from diagnose.pprof.significance import z_of_rate
from diagnose.pprof.wall import RUNNABLE, RUNNING, state_of

SMALLEST_GAIN = 0.2  # of all goroutines
NOT_OWN_FROM = 100  # a group without a frame of the program's own must be this large to be worth a sentence
NOT_BLOCKED = (RUNNING, RUNNABLE, "mutex", "gc")  # what waits for a lock is the lock's finding
UNSURE = 0.6


@dataclass(frozen=True)
class Group:
    """Goroutines with one own function: in health (0 without a baseline), first and last in the incident."""

    function: str
    state: str
    pair: Pair
    first_profile: ProfileRef
    before: float
    first: float
    again: float
    all_before: float
    all_again: float
    traces: int
    leaked: float
    sql: str
    change: FunctionChange | None = None

    @property
    def z(self) -> float:
        return self.change.z_rate if self.change else z_of_rate(self.before, self.again, 1, 1)

    @property
    def has_risen(self) -> bool:
        """Against health, beyond what varies there; without a healthy snapshot the count alone must do."""
        return self.change.rate_has_risen if self.change else self.z >= LIKELY_Z

    @property
    def gained(self) -> float:
        return max(0.0, self.again - self.before) / self.all_again if self.all_again else 0.0

    @property
    def apart_s(self) -> float:
        return (self.pair.during.started_at - self.first_profile.started_at).total_seconds()

    @property
    def has_grown(self) -> bool:
        """Between the two snapshots of the incident, beyond chance."""
        return z_of_rate(self.first, self.again, 1, 1) >= 2 and self.again > self.first

    @property
    def has_stopped(self) -> bool:
        """A second snapshot shows no growth: requests under way, not a leak."""
        return self.apart_s > 0 and not self.has_grown and not self.leaked


def find_leak(evidence: Evidence) -> Result:
    groups = [group for pair in evidence.pairs("goroutine", "snapshot") for group in _groups(evidence, pair)]
    if not groups:
        return Result()
    growing = [each for each in groups if _is_leak(evidence, each)]
    if not growing:
        return Result(ruled_out=_unchanged(groups))
    worst = max(growing, key=lambda each: each.gained)
    sizes = {group.pair.during.instance: 0.0 for group in groups} | {
        group.pair.during.instance: group.gained for group in growing if group.function == worst.function
    }
    return Result(findings=(_finding(evidence, worst, where(sizes, worst.pair.during.instance)),))


def _groups(evidence: Evidence, pair: Pair) -> list[Group]:
    firsts = {each.instance: each for each in evidence.during("goroutine", "snapshot", "first")}
    first = firsts.get(pair.during.instance, pair.during)
    answer = evidence.ask(
        "leak",
        "groups",
        before=pair.before.profile_id if pair.before else "",
        first=first.profile_id,
        again=pair.during.profile_id,
    )
    leaked = _leaked(evidence, pair.during.instance)
    changes = function_changes(evidence, pair, "goroutine") if pair.before else None
    groups = [_group(row, pair, first, leaked.get(row["function"], 0.0), answer.sql) for row in answer.rows]
    return [replace(each, change=changes.of(each.function or NOT_RUN_YET) if changes else None) for each in groups]


def _group(row: dict[str, Any], pair: Pair, first: ProfileRef, leaked: float, sql: str) -> Group:
    return Group(
        function=row["function"] or "",
        state=_state(row["functions"] or []),
        pair=pair,
        first_profile=first,
        before=float(row["before"]),
        first=float(row["first"]),
        again=float(row["again"]),
        all_before=float(row["all_before"] or 0),
        all_again=float(row["all_again"] or 0),
        traces=row["traces"],
        leaked=leaked,
        sql=sql,
    )


def _state(functions: list[str]) -> str:
    return state_of([Frame(name) for name in reversed(functions)])


def _leaked(evidence: Evidence, instance: str) -> dict[str, float]:
    found = [each for each in evidence.during("goroutineleak", "snapshot") if each.instance == instance]
    rows = evidence.ask("leak", "leaked", profile=found[0].profile_id).rows if found else []
    return {row["function"]: float(row["leaked"]) for row in rows}


def _is_leak(evidence: Evidence, group: Group) -> bool:
    if group.state in NOT_BLOCKED or group.has_stopped or group.gained < SMALLEST_GAIN or not group.has_risen:
        return False
    if group.pair.before is None and not group.has_grown and not group.leaked:
        return False
    return evidence.origin(group.function).is_own or group.again - group.before >= NOT_OWN_FROM


def _finding(evidence: Evidence, group: Group, instances: str) -> Finding:
    during, before = group.pair.during, group.pair.before
    origin = evidence.origin(group.function)
    line = evidence.hottest_line(during, "goroutine", group.function)
    sure = bool(group.leaked) or group.has_grown
    return Finding(
        kind="leak",
        statement=_statement(group, instances),
        subject=Subject("function", group.function, origin.file or None, line or None),
        effect=Effect(group.again - group.before, "goroutines", group.before if before else None, group.again),
        significance={"method": "difference of two counts, Poisson with dispersion, FDR 1 %", "z": group.z},
        confidence=_confidence(group, is_own=origin.is_own),
        evidence=tuple(
            dict.fromkeys([during.profile_id, group.first_profile.profile_id, *([before.profile_id] if before else [])])
        ),
        sql=group.sql,
        weight=group.gained * (1.0 if sure else UNSURE) * (1.0 if origin.is_own else 0.5),
    )


def _statement(group: Group, instances: str) -> str:
    state = f" ({group.state})" if group.state else ""
    waiting = f"{count(group.again, 'goroutine')} of {number(group.all_again)} wait"
    parts = [f"{waiting} in {code(short(group.function))}{state}{instances}"]
    parts.append(f"; {number(group.before)} before (z = {number(group.z)})." if group.pair.before else ".")
    if group.has_grown:
        added = group.again - group.first
        parts.append(f" {number(added)} of them came in the {seconds(group.apart_s)} between two snapshots.")
    elif group.apart_s == 0:
        parts.append(" A second snapshot will tell whether they go on growing.")
    if group.leaked:
        parts.append(f" The runtime's leak detection confirms {number(group.leaked)}: nothing can wake them any more.")
    if group.traces:
        parts.append(f" They were started by {count(group.traces, 'request')}.")
    return "".join(parts)


def _confidence(group: Group, *, is_own: bool) -> Confidence:
    if group.leaked or (group.z >= STRONG_Z and group.has_grown and is_own):
        return "strong"
    return "likely" if group.pair.before else "hint"


def _unchanged(groups: list[Group]) -> tuple[Note, ...]:
    largest = max(groups, key=lambda each: each.all_again)
    if largest.pair.before is None:
        return ()
    top = max(groups, key=lambda each: each.again)
    share = percent(top.again / top.all_again) if top.all_again else "none"
    return (
        Note(
            f"Goroutines: {number(largest.all_again)} ({number(largest.all_before)} before), no growing group; "
            f"the largest is {code(short(top.function))} with {share}",
            sql=largest.sql,
        ),
    )
