"""What is not captured again: what the incident has, and what would be too much for the target."""

from __future__ import annotations

from datetime import timedelta

from diagnose.capture.ledger import RoundRequest
from diagnose.model import Capture, Target, utc_now
from diagnose.store.captures import captures_of, last_round, rounds_since
from diagnose.store.db import Store

HOUR = timedelta(hours=1)


def recent_captures(store: Store, target: Target, request: RoundRequest) -> list[Capture]:
    """What the incident of *request* got from *target* on the same trigger within the cooldown, failures apart."""
    if request.incident_id is None:
        return []
    since = utc_now() - request.cooldown
    return [
        capture
        for capture in captures_of(store, request.incident_id)
        if (capture.target, capture.service_instance_id) == (target.name, target.instance)
        and capture.trigger == request.trigger
        and capture.status in ("done", "refused", "skipped")
        and capture.requested_at >= since
    ]


def why_not(store: Store, target: Target, request: RoundRequest, *, continues: bool) -> str | None:
    """
    The reason to leave *target* alone now, or None. Call before the rows of the round are planned.

    A round that *continues* one of its own incident (it asks for kinds that are missing) needs no cooldown.
    """
    last = last_round(store, target.name, target.instance, request.trigger)
    if request.cooldown and not continues and last is not None and utc_now() - last < request.cooldown:
        minutes = request.cooldown.total_seconds() / 60
        return f"cooldown of {minutes:g} min: the last round on this process began at {last:%H:%M:%S}"
    if request.max_per_hour is not None:
        rounds = rounds_since(store, target.name, target.instance, utc_now() - HOUR)
        if rounds >= request.max_per_hour:
            return f"{rounds} rounds on this process within an hour; max_per_hour is {request.max_per_hour}"
    return None
