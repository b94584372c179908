"""The instances of a service side by side: is one of them sick, or all?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from diagnose.model import Episode, Finding, Incident
from diagnose.report.captures import Head, heads_of
from diagnose.report.shape import InstanceRow
from diagnose.store.captures import baseline_profiles
from diagnose.store.db import Store
from diagnose.store.queries import load_queries

SQL = load_queries("report", Path(__file__).parent / "sql")
INSTANCE_LABELS = ("instance", "service_instance_id", "pod")
HEALTHY_TIME = timedelta(hours=1)
SHOWN = (("cpu", "interval"), ("goroutine", "snapshot"), ("heap", "snapshot"))  # kinds of profiles, and their basis


def sick_instances(episodes: Iterable[Episode], findings: Iterable[Finding], profiled: Iterable[str]) -> list[str]:
    """Instances that an alert or a finding names, among those *profiled*; none when all are meant."""
    named = {each.labels.get(label) for each in episodes for label in INSTANCE_LABELS}
    named |= {each.subject.name for each in findings if each.subject.type == "instance"}
    return [each for each in dict.fromkeys(profiled) if each in named]


def build_instances(
    store: Store, incident: Incident, heads: Iterable[Head], sick: Sequence[str], now: datetime
) -> list[InstanceRow]:
    """Every instance that served requests or was profiled, the sick ones first."""
    served = _served(store, incident, now)
    taken: dict[str, dict[str, Head]] = {}
    for head in sorted(heads, key=lambda each: each.started_at, reverse=True):
        if (head.kind, head.basis) in SHOWN and (incident.ended_at is None or head.started_at < incident.ended_at):
            taken.setdefault(head.instance, {})[head.kind] = head  # the first of each kind stays
    names = sorted({*served, *taken}, key=lambda name: (name not in sick, name))
    return [
        _row(name, _role(name, sick, taken), served.get(name, {}), taken.get(name, {}), _healthy(store, incident, name))
        for name in names
        if name
    ]


def _served(store: Store, incident: Incident, now: datetime) -> dict[str, Mapping[str, Any]]:
    window = {
        "service": incident.service_name,
        "started_at": incident.started_at,
        "since": incident.started_at - HEALTHY_TIME,
        "until": incident.ended_at or now,
    }
    return {row["instance"]: row for row in store.rows(SQL["instances"], window)}


def _healthy(store: Store, incident: Incident, instance: str) -> dict[str, Head]:
    """The newest healthy profile of each kind, of this instance only."""
    ids: list[str] = []
    for kind, basis in SHOWN:
        ids += baseline_profiles(
            store,
            incident.service_name,
            instance=instance,
            kind=kind,
            basis=basis,
            before=incident.started_at,
        )
    return {head.kind: head for head in heads_of(store, ids).values() if head.instance == instance}


def _role(name: str, sick: Sequence[str], taken: Mapping[str, Any]) -> Any:
    if name in sick:
        return "sick"
    return "peer" if sick and name in taken else ""


def _row(
    name: str, role: Any, served: Mapping[str, Any], during: Mapping[str, Head], before: Mapping[str, Head]
) -> InstanceRow:
    return InstanceRow(
        instance=name,
        role=role,
        requests=served.get("requests", 0),
        errors=served.get("errors", 0),
        p99_before_ns=served.get("p99_before_ns"),
        p99_during_ns=served.get("p99_during_ns"),
        cores_before=_cores(before.get("cpu")),
        cores_during=_cores(during.get("cpu")),
        goroutines_before=_total(before.get("goroutine")),
        goroutines_during=_total(during.get("goroutine")),
        heap_before=_total(before.get("heap")),
        heap_during=_total(during.get("heap")),
        build_id=next((head.build_id for head in during.values() if head.build_id), ""),
    )


def _cores(head: Head | None) -> float | None:
    return head.total / head.duration_ns if head and head.duration_ns else None


def _total(head: Head | None) -> int | None:
    return head.total if head else None
