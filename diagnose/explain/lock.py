"""
Locks: who holds the one that others wait for.

Needs mutex profiles as differences of two snapshots (they count since the process began), of the incident and of the
healthy time; without the latter, much waiting is a hint. Go books the waiting to the stack that gives the lock back:
the holder.
"""

from __future__ import annotations

from collections.abc import Sequence

from diagnose.explain.evidence import Evidence
from diagnose.explain.functions import Changes, FunctionChange, function_changes
from diagnose.explain.instances import where
from diagnose.explain.result import STRONG_Z, Result
from diagnose.explain.wording import code, count, number, seconds, short
from diagnose.model import Effect, Finding, Note, Subject

NS = 1e9
SMALLEST_S = 0.02  # of waiting per second
LARGE_S = 0.1  # without a healthy profile to compare with
HALF_S = 0.05  # waiting per second that counts as half a symptom: short waits are everywhere


def find_lock(evidence: Evidence) -> Result:
    changes = [function_changes(evidence, pair, "delay") for pair in evidence.pairs("mutex", "interval")]
    held = [(function, each) for each in changes for function in each.functions if _is_held(evidence, function, each)]
    if not held:
        compared = [each for each in changes if each.pair.before]
        return Result(ruled_out=(_unchanged(compared),) if compared else ())
    holder, of = max(held, key=lambda found: found[0].during)
    sizes = {
        each.pair.during.instance: found.during if (found := each.of(holder.function)) else 0.0 for each in changes
    }
    return Result(findings=(_finding(evidence, holder, of, where(sizes, of.pair.during.instance)),))


def _is_held(evidence: Evidence, function: FunctionChange, of: Changes) -> bool:
    added_s = (function.during - function.before) / NS
    is_much = added_s >= LARGE_S if of.pair.before is None else _is_more(function) and added_s >= SMALLEST_S
    return is_much and evidence.origin(function.function).is_own


def _is_more(function: FunctionChange) -> bool:
    return function.rate_has_risen and function.has_larger_share


def _finding(evidence: Evidence, holder: FunctionChange, of: Changes, instances: str) -> Finding:
    during, before = of.pair.during, of.pair.before
    waiting_s = (holder.during - holder.before) / NS
    line = evidence.hottest_line(during, "delay", holder.function)
    return Finding(
        kind="lock",
        statement=(
            f"Goroutines wait {seconds(holder.during / NS)} in every second for a lock that "
            f"{code(short(holder.function))} holds{instances}; {_before(holder, of)}."
            f"{_waiters(evidence, holder.function, during.instance)}"
        ),
        subject=Subject("function", holder.function, evidence.origin(holder.function).file or None, line or None),
        effect=Effect(
            waiting_s, "seconds of waiting per second", holder.before / NS if before else None, holder.during / NS
        ),
        significance={"method": "rate of contentions, Poisson with dispersion, FDR 1 %", "z": holder.z_rate},
        confidence="hint" if before is None else "strong" if holder.z_rate >= STRONG_Z else "likely",
        evidence=of.pair.profile_ids,
        sql=of.sql,
        weight=holder.gained * waiting_s / (waiting_s + HALF_S),
    )


def _before(holder: FunctionChange, of: Changes) -> str:
    seen = f"{count(holder.during_seen, 'contention')} in {seconds(of.pair.during.duration_s)}"
    if of.pair.before is None:
        return f"{seen}; there is no healthy profile to compare with"
    return f"{seconds(holder.before / NS)} before ({seen}, z = {number(holder.z_rate)})"


def _waiters(evidence: Evidence, holder: str, instance: str) -> str:
    """What the polled goroutines say about the same lock; empty when they were not polled."""
    polled = [each for each in evidence.during("wall", "interval") if each.instance == instance]
    if not polled or polled[0].duration_ns <= 0:
        return ""
    rows = evidence.ask("lock", "waiters", during=polled[0].profile_id, during_s=polled[0].duration_s).rows
    if not rows or rows[0]["waiting"] < 0.05:
        return ""
    at = "there" if rows[0]["function"] == holder else f"in {code(short(rows[0]['function'] or ''))}"
    return f" At any moment {number(rows[0]['waiting'])} of them are seen waiting {at}."


def _unchanged(changes: Sequence[Changes]) -> Note:
    of = max(changes, key=lambda each: each.all_during)
    return Note(
        f"Locks: {seconds(of.all_during / NS)} of waiting per second ({seconds(of.all_before / NS)} before)", sql=of.sql
    )
