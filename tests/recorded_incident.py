"""Recorded faults (data/explain) as an incident in a real store."""

from __future__ import annotations

import gzip
import json
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path

from diagnose.model import Alert, AlertGroup, Capture, CaptureStatus, IncidentKey, TraceRef, Trigger
from diagnose.pprof import codec
from diagnose.pprof.profile import Profile
from diagnose.pprof.subtract import subtract
from diagnose.receive.otlp import PROTOBUF, decode_traces
from diagnose.store.alerts import save_group
from diagnose.store.captures import plan_captures
from diagnose.store.db import Store
from diagnose.store.incidents import save_traces
from diagnose.store.profiles import Basis, save_profile
from diagnose.store.spans import save_spans

DATA = Path(__file__).parent / "data" / "explain"
FAULTS = ("cpu", "leak", "heap", "lock", "dependency", "errors")
INSTANCE = "checkout-2"
BASIS: dict[str, Basis] = {"cpu": "interval", "wall": "interval", "mutex": "since_start"}
KINDS = ("goroutine", "heap", "mutex", "cpu", "wall")
CUMULATIVE = ("heap", "mutex")


def open_incident(store: Store, start: datetime, end: datetime | None, *, service: str = "checkout") -> str:
    """An incident of *service*; its id."""
    incident = ""
    for status, ends_at in (("firing", None), ("resolved", end)):
        if status == "firing" or end is not None:
            labels = {"alertname": "HighLatency", "service": service, "severity": "critical"}
            alert = Alert("f" * 16, status, labels, {}, start, ends_at)
            group = AlertGroup("alertmanager", "{}", "diagnose", status, "http://alertmanager", (alert,), start, b"{}")
            accepted = save_group(store, group, lambda _: IncidentKey(service, service), quiet=timedelta(minutes=15))
            incident = incident or accepted.incidents[0]
    return incident


def save_capture(
    store: Store,
    incident: str | None,
    kind: str,
    *,
    trigger: Trigger = "alert",
    phase: str = "first",
    status: CaptureStatus = "done",
    reason: str = "",
    at: datetime | None = None,
    profile: Profile | None = None,
    body: bytes = b"",
    basis: Basis = "snapshot",
    instance: str = INSTANCE,
) -> str:
    """One capture and the profile it brought, if any; the profile's id."""
    capture_id = f"cap-{trigger}-{instance}-{kind}-{phase}"
    profile_id = ""
    if profile is not None:
        body = body or codec.encode(profile)
        profile_id = save_profile(
            store, profile, body, service="checkout", instance=instance, kind=kind, basis=basis, capture_id=capture_id
        ).profile_id
    capture = Capture(
        capture_id=capture_id,
        incident_id=incident,
        target="checkout",
        service_name="checkout",
        service_instance_id=instance,
        kind=kind,
        phase="again" if phase == "again" else "first",
        trigger=trigger,
        status=status,
        reason=reason,
        requested_at=at or datetime.now(UTC),
        profile_id=profile_id or None,
    )
    plan_captures(store, [capture])
    return profile_id


def load_recorded(
    store: Store,
    fault: str,
    *,
    service: str = "checkout",
    spans: bool = True,
    phases: Collection[str] = ("before", "during"),
    kinds: Collection[str] = KINDS,
) -> str:
    """
    Store what was recorded of *fault* the way the pipeline does; the incident's id.

    *phases* may leave out the healthy profiles (before) or those of the incident (during), *kinds* names profiles.
    """
    folder = DATA / fault
    times = json.loads((folder / "times.json").read_text())
    start, end = (datetime.fromtimestamp(times[name], UTC) for name in ("started_at", "ended_at"))
    incident = open_incident(store, start, end, service=service)
    for phase in phases:
        _load_round(store, folder / phase, incident if phase == "during" else None, kinds)
    if spans:
        body = gzip.decompress((folder / "traces.pb.gz").read_bytes())
        save_spans(store, decode_traces(body, PROTOBUF))
        rows = store.rows(
            "SELECT DISTINCT trace_id FROM span WHERE start_time > $start ORDER BY 1 LIMIT 12", {"start": start}
        )
        save_traces(store, incident, [TraceRef(row["trace_id"], "exemplar", 1.0) for row in rows])
    return incident


def _load_round(store: Store, folder: Path, incident: str | None, kinds: Collection[str]) -> None:
    trigger: Trigger = "alert" if incident else "baseline"
    firsts: dict[str, Profile] = {}
    for file in sorted(folder.iterdir(), key=lambda each: ("-again" in each.name, each.name)):
        kind, _, phase = file.name.removesuffix(".pb.gz").partition("-")
        if kind not in kinds:
            continue
        body = file.read_bytes()
        profile = codec.decode(body)
        basis = BASIS.get(kind, "snapshot")
        common = {"trigger": trigger, "phase": phase or "first"}
        save_capture(store, incident, kind, profile=profile, body=body, basis=basis, **common)  # type: ignore[arg-type]
        if kind in CUMULATIVE and phase == "again" and kind in firsts:
            between = subtract(profile, firsts[kind])
            save_capture(store, incident, kind, profile=between, basis="interval", **common)  # type: ignore[arg-type]
        firsts.setdefault(kind, profile)
