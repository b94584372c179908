"""The rows of one capture round: planned before the act, each with its outcome after it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from diagnose.capture.fetch import Cost
from diagnose.errors import CaptureError
from diagnose.model import Capture, CaptureStatus, Target, Trigger, new_id, utc_now
from diagnose.store.captures import finish_capture, plan_captures, start_capture
from diagnose.store.db import Store
from diagnose.telemetry import CAPTURES, get_logger

log = get_logger(__name__)
Phase = Literal["first", "again"]
Step = tuple[str, Phase]


@dataclass(frozen=True)
class RoundRequest:
    """
    What to capture and for whom. `incident_id` is None for a baseline.

    `seconds` is the length of the CPU profile. With a `cooldown`, what the incident got within that time is not taken
    again, and another incident's round is refused; `max_per_hour` counts rounds on the target, whoever asked, and
    `seconds_per_hour` those it is profiled for. Sampling starts up to `jitter_s` late, so that the instances of a
    service are not held up together. `on_first_request` is called once, when the first request has been sent.
    """

    incident_id: str | None
    trigger: Trigger
    kinds: tuple[str, ...]
    seconds: int
    cooldown: timedelta = timedelta(0)
    max_per_hour: int | None = None
    seconds_per_hour: int | None = None
    jitter_s: float = 0.0
    on_first_request: Callable[[], None] = lambda: None
    requested_at: datetime = field(default_factory=utc_now)


class Ledger:
    """The captures of one round by kind and phase. Every method writes to the store before it returns."""

    def __init__(self, store: Store, target: Target, request: RoundRequest) -> None:
        self._store = store
        self._target = target
        self._request = request
        self._rows: dict[Step, Capture] = {}
        self._lock = threading.Lock()

    @property
    def captures(self) -> list[Capture]:
        with self._lock:
            return list(self._rows.values())

    @property
    def planned(self) -> list[Step]:
        with self._lock:
            return [step for step, row in self._rows.items() if row.status == "planned"]

    def has(self, step: Step) -> bool:
        with self._lock:
            return step in self._rows

    def capture_id(self, step: Step) -> str:
        with self._lock:
            return self._rows[step].capture_id

    def plan(self, steps: Iterable[Step]) -> None:
        """New rows, in this order; a step that has one already is left alone."""
        rows = {step: self._new(step) for step in steps if not self.has(step)}
        if rows:
            plan_captures(self._store, list(rows.values()))
        with self._lock:
            self._rows |= rows

    def _new(self, step: Step) -> Capture:
        kind, phase = step
        return Capture(
            capture_id=new_id("cap"),
            incident_id=self._request.incident_id,
            target=self._target.name,
            service_name=self._target.service,
            service_instance_id=self._target.instance,
            kind=kind,
            phase=phase,
            trigger=self._request.trigger,
            status="planned",
            reason="",
            requested_at=self._request.requested_at,
        )

    def begin(self, step: Step, seconds: int | None = None) -> None:
        """The target is about to be asked, for a profile of so many *seconds* if it is one that takes its time."""
        started_at = utc_now()
        lag_ms = (started_at - self._request.requested_at).total_seconds() * 1000
        with self._lock:
            row = replace(self._rows[step], status="running", started_at=started_at, lag_ms=lag_ms, seconds=seconds)
            self._rows[step] = row
        start_capture(self._store, row.capture_id, started_at)

    def charge(self, step: Step, cost: Cost) -> None:
        """What asking cost the target; written with the outcome."""
        with self._lock:
            row = self._rows[step]
            self._rows[step] = replace(row, requests=cost.requests or None, took_ms=cost.took_s * 1000)

    def done(self, step: Step, *, profile_id: str | None, size_bytes: int, reason: str = "") -> None:
        self._finish(step, "done", reason, http_status=200, bytes=size_bytes, profile_id=profile_id)

    def failed(self, step: Step, err: CaptureError) -> None:
        """With the status that *err* carries: refused or failed."""
        status: CaptureStatus = "refused" if err.status == "refused" else "failed"
        seconds = {"seconds": None} if status == "refused" else {}
        self._finish(step, status, str(err), http_status=err.http_status, **seconds)

    def given_up(self, step: Step, reason: str) -> None:
        """Failed without asking, because what was asked before says it would."""
        self._finish(step, "failed", reason)

    def skip(self, steps: Iterable[Step], reason: str) -> None:
        for step in steps:
            self._finish(step, "skipped", reason)

    def skip_rest(self, reason: str) -> None:
        """All that is not finished."""
        with self._lock:
            rest = [step for step, row in self._rows.items() if row.status in ("planned", "running")]
        self.skip(rest, reason)

    def shared(self, step: Step, other: Capture) -> None:
        """The evidence is there already: another round on this process has just fetched it."""
        whose = other.incident_id or "a baseline"
        with self._lock:
            row = replace(
                self._rows[step], started_at=other.started_at, http_status=other.http_status, bytes=other.bytes
            )
            self._rows[step] = row
        reason = f"shared with {whose} ({other.capture_id})"
        self._finish(step, "done", reason, profile_id=other.profile_id, ended_at=other.ended_at)

    def _finish(self, step: Step, status: CaptureStatus, reason: str, **changes: Any) -> None:
        with self._lock:
            row = replace(self._rows[step], **{"ended_at": utc_now(), "status": status, "reason": reason, **changes})
            self._rows[step] = row
        finish_capture(self._store, row)
        CAPTURES.labels(row.kind, status).inc()
        write = log.info if status == "done" else log.warning
        write(
            "capture ended",
            target=row.target,
            instance=row.service_instance_id,
            kind=row.kind,
            phase=row.phase,
            status=status,
            reason=reason,
            incident=row.incident_id or "",
        )
