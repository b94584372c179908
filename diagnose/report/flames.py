"""Which profiles of an incident are drawn as flame graphs, and what each is compared with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from diagnose.errors import DecodeError, NotFound
from diagnose.model import Capture, Finding, Incident
from diagnose.pprof.codec import decode
from diagnose.pprof.diff import diff
from diagnose.pprof.filters import without_profiler
from diagnose.pprof.names import origin_of
from diagnose.pprof.profile import Profile
from diagnose.pprof.top import By, FunctionValue, function_values, stack_values
from diagnose.report.captures import Head, heads_of
from diagnose.report.flamegraph import flame_data, to_json
from diagnose.report.shape import Flame, FunctionRow, ProfileRef
from diagnose.store.captures import baseline_profiles
from diagnose.store.db import Store
from diagnose.store.profiles import profile_body

MOST_FLAMES = 6
MOST_FUNCTIONS = 8
MOST_BODY_BYTES = 4 << 20  # a larger file takes seconds to read, and the report is due in seconds
MOST_DATA_BYTES = 280_000
ORDER = ("cpu", "wall", "heap", "goroutineleak", "goroutine", "mutex", "block")
STATES = frozenset({"heap", "goroutine", "goroutineleak"})  # what is there, not what happened
LEAF_SAYS_IT = frozenset({"cpu", "heap"})  # in the others the leaf is where the runtime waits
KINDS_OF_FINDING = {
    "hot_code": ("cpu",),
    "gc": ("cpu", "heap"),
    "leak": ("goroutineleak", "goroutine", "heap"),
    "memory": ("heap",),
    "lock": ("mutex", "block", "wall"),
    "latency": ("wall", "cpu"),
    "downstream": ("wall",),
}
_PROFILE_ID = re.compile(r"\b[a-z]+-[0-9a-f]{16}\b")


def mentioned(findings: Iterable[Finding]) -> list[str]:
    """Ids of profiles that findings are based on, the first finding's first."""
    texts = (text for finding in findings for text in (*finding.evidence, finding.sql))
    return list(dict.fromkeys(found for text in texts for found in _PROFILE_ID.findall(text)))


@dataclass(frozen=True)
class Comparison:
    """A profile of the incident, a healthy one from before it, and one from after it."""

    during: Head
    before: Head | None
    after: Head | None


def choose_comparisons(
    store: Store, incident: Incident, captures: Sequence[Capture], findings: Sequence[Finding], sick: Sequence[str]
) -> list[Comparison]:
    """
    At most one per kind, the first finding's kind first.

    Of several profiles of a kind the one a finding is based on is taken, else one of a *sick* instance.
    """
    evidence = mentioned(findings)
    taken = heads_of(store, [each.profile_id for each in captures if each.profile_id])
    mine = {each.profile_id for each in captures if each.trigger != "resolved"}
    after = [taken[each.profile_id] for each in captures if each.trigger == "resolved" and each.profile_id in taken]
    named = heads_of(store, [each for each in evidence if each not in taken])
    chosen = []
    for kind in _kinds_in_order(findings, evidence):
        candidates = [head for head in taken.values() if head.kind == kind and head.profile_id in mine]
        if not candidates:
            continue
        during = max(candidates, key=lambda head: _fitness(head, evidence, sick))
        healthy = [head for head in named.values() if _comparable(head, during) and head.started_at < during.started_at]
        before = healthy[0] if healthy else _baseline(store, incident, during)
        chosen.append(Comparison(during, before, next((head for head in after if _same_process(head, during)), None)))
    return chosen[:MOST_FLAMES]


def _kinds_in_order(findings: Sequence[Finding], evidence: Sequence[str]) -> list[str]:
    told = [profile_id.partition("-")[0] for profile_id in evidence] if findings else []
    implied = [kind for finding in findings for kind in KINDS_OF_FINDING.get(finding.kind, ())]
    first = implied[:1] if implied and implied[0] in told else told[:1] or implied[:1]
    return list(dict.fromkeys((*first, *told, *implied, *ORDER)))


def _fitness(head: Head, evidence: Sequence[str], sick: Sequence[str]) -> tuple[bool, bool, bool, bool, Any]:
    return (
        head.profile_id in evidence,
        head.instance in sick,
        head.basis == ("snapshot" if head.kind in STATES else "interval"),
        head.total > 0,
        head.started_at,
    )


def _comparable(one: Head, other: Head) -> bool:
    return (one.kind, one.basis, one.value_type) == (other.kind, other.basis, other.value_type)


def _same_process(one: Head, other: Head) -> bool:
    return one.instance == other.instance and _comparable(one, other)


def _baseline(store: Store, incident: Incident, during: Head) -> Head | None:
    ids = baseline_profiles(
        store, incident.service_name, during.instance, during.kind, during.basis, before=incident.started_at
    )
    return next(iter(heads_of(store, ids).values()), None)


def build_flames(
    store: Store, comparisons: Sequence[Comparison], max_profile_bytes: int = MOST_BODY_BYTES
) -> list[Flame]:
    """The flame graphs that fit into the page, in the order given. Files above *max_profile_bytes* are not read."""
    flames: list[Flame] = []
    left = MOST_DATA_BYTES
    for comparison in comparisons:
        flame = _flame(store, comparison, max_profile_bytes)
        size = len(to_json(flame.data)) if flame else 0
        if flame and size <= left:
            flames.append(flame)
            left -= size
    return flames


def _flame(store: Store, comparison: Comparison, max_bytes: int) -> Flame | None:
    during = _load(store, comparison.during, max_bytes)
    if during is None or not during.samples:
        return None
    healthy = comparison.before or comparison.after
    before = _load(store, healthy, max_bytes) if healthy else None
    after = _load(store, comparison.after, max_bytes) if comparison.after and comparison.before else None
    data = flame_data(during, before)
    if len(data["strings"]) > 1500:
        data = flame_data(during, before, smallest_share=0.004)
    return Flame(
        kind=comparison.during.kind,
        during=_ref(comparison.during),
        before=_ref(healthy) if healthy and before else None,
        after=_ref(comparison.after) if comparison.after and after else None,
        data=data,
        functions=tuple(_functions(comparison.during.kind, during, before, after)),
    )


def _load(store: Store, head: Head, max_bytes: int) -> Profile | None:
    """None for a file too large to be read now, or one that retention has just taken."""
    if head.bytes > max_bytes:
        return None
    try:
        return decode(profile_body(store, head.profile_id))
    except (NotFound, DecodeError):
        return None


def _ref(head: Head) -> ProfileRef:
    return ProfileRef(head.profile_id, head.instance, head.started_at, head.duration_ns, head.total, head.unit)


def _functions(kind: str, during: Profile, before: Profile | None, after: Profile | None) -> Iterator[FunctionRow]:
    """Those that changed most, significant ones first; without a comparison those with most."""
    by: By = "flat" if kind in LEAF_SAYS_IT else "cum"
    if before is None:
        values = _values(during)
        ranked = sorted(values.values(), key=lambda each: -_column(each, by))
        rows = [FunctionRow(each.name, None, _part(values, each.name, by, during), None, False) for each in ranked]
    else:
        changes = diff(before, during, by=by)
        now, then = max(changes.new_total, 1), max(changes.base_total, 1)
        rows = [
            FunctionRow(
                each.name,
                (each.base_flat if by == "flat" else each.base_cum) / then,
                (each.new_flat if by == "flat" else each.new_cum) / now,
                each.z,
                each.significant,
            )
            for each in changes.functions
        ]
    files = {each.name: each.file for each in _values(during).values()}
    shown = [row for row in rows if by == "flat" or origin_of(row.name, files.get(row.name, "")).is_own]
    afterwards = _values(after) if after else {}
    for row in shown[:MOST_FUNCTIONS]:
        yield replace(row, after=_part(afterwards, row.name, by, after)) if after else row


def _values(profile: Profile) -> Mapping[str, FunctionValue]:
    kept = without_profiler(profile)
    return function_values(stack_values(kept, kept.value_index()))


def _column(value: FunctionValue, by: By) -> int:
    return value.flat if by == "flat" else value.cum


def _part(values: Mapping[str, FunctionValue], name: str, by: By, profile: Profile) -> float:
    total = without_profiler(profile).total()
    return _column(values[name], by) / total if name in values and total else 0.0
