"""What is not captured again: what the incident has, and what would be too much for the target."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from diagnose.capture.ledger import RoundRequest
from diagnose.capture.wall import TOO_SLOW
from diagnose.errors import NotFound
from diagnose.model import Capture, Episode, Target, Trigger, utc_now
from diagnose.store.captures import captures_of, last_incident, last_round, rounds_since, seconds_since
from diagnose.store.db import Store
from diagnose.store.incidents import episodes_of, get_incident

HOUR = timedelta(hours=1)
COOLDOWN = "cooldown of "
MUCH_WORSE = 1.5  # times what the alert saw at the last round
SEVERITIES = ("info", "warning", "error", "critical")
_ALIKE = {"page": "critical", "emergency": "critical", "high": "error", "ticket": "warning", "low": "info"}
_FIRES_WHEN_LOW = re.compile(r"<=?\s*(?:bool\s+)?[-+]?[\d.]")


def recent_captures(store: Store, target: Target, request: RoundRequest) -> list[Capture]:
    """
    What the incident of *request* got from *target* on the same trigger within the cooldown, failures apart.

    Nothing when all it got is that the cooldown was not over, and its alert is worse by now than it seemed.
    """
    if request.incident_id is None:
        return []
    since = utc_now() - request.cooldown
    recent = [
        capture
        for capture in captures_of(store, request.incident_id)
        if is_of(capture, target, request.trigger)
        and capture.status in ("done", "refused", "skipped")
        and capture.requested_at >= since
    ]
    return [] if was_left_alone(recent) and worse_than_last(store, target, request) else recent


def is_of(capture: Capture, target: Target, trigger: Trigger) -> bool:
    """Whether *capture* was one of *target* for that reason."""
    whose = (capture.target, capture.service_instance_id, capture.trigger)
    return whose == (target.name, target.instance, trigger)


def began(store: Store, request: RoundRequest) -> datetime | None:
    """When what the incident of *request* is about began; None without an incident."""
    if request.incident_id is None:
        return None
    try:
        return get_incident(store, request.incident_id).started_at
    except NotFound:
        return None


def is_since(capture: Capture, moment: datetime | None) -> bool:
    """Whether at least half of the time that *capture* looked at is after that."""
    if moment is None or capture.started_at is None or capture.ended_at is None:
        return True
    return capture.started_at + (capture.ended_at - capture.started_at) / 2 >= moment


def was_left_alone(captures: Sequence[Capture]) -> bool:
    """Whether all of *captures* were skipped because of the cooldown."""
    return bool(captures) and all(each.status == "skipped" and each.reason.startswith(COOLDOWN) for each in captures)


def why_not(store: Store, target: Target, request: RoundRequest, *, continues: bool) -> str | None:
    """
    The reason to leave *target* alone now, or None. Call before the rows of the round are planned.

    A round that *continues* one of its own incident (it asks for kinds that are missing) needs no cooldown, and neither
    does one whose alert is worse than what the last round was about.
    """
    last = last_round(store, target.name, target.instance, request.trigger)
    cooling = request.cooldown and not continues and last is not None and utc_now() - last < request.cooldown
    if cooling and not worse_than_last(store, target, request):
        minutes = request.cooldown.total_seconds() / 60
        return f"{COOLDOWN}{minutes:g} min: the last round on this process began at {last:%H:%M:%S}"
    if request.max_per_hour is not None:
        rounds = rounds_since(store, target.name, target.instance, utc_now() - HOUR)
        if rounds >= request.max_per_hour:
            return f"{rounds} rounds on this process within an hour; max_per_hour is {request.max_per_hour}"
    return None


def polling_ended(store: Store, target: Target, request: RoundRequest) -> str:
    """Why the goroutines of *target* are not polled again for this incident: a snapshot took too long; or empty."""
    captures = captures_of(store, request.incident_id) if request.incident_id else []
    for capture in captures:
        is_of_target = (capture.target, capture.service_instance_id) == (target.name, target.instance)
        if is_of_target and capture.kind == "wall" and TOO_SLOW in capture.reason:
            return capture.reason
    return ""


def seconds_left(store: Store, target: Target, request: RoundRequest) -> int | None:
    """For how many seconds *target* may still be profiled within this hour; None without a limit."""
    if request.seconds_per_hour is None:
        return None
    used = seconds_since(store, target.name, target.instance, utc_now() - HOUR)
    return max(0, request.seconds_per_hour - used)


def worse_than_last(store: Store, target: Target, request: RoundRequest) -> bool:
    """Whether the alerts of *request* are worse than those of the incident the process was last captured for."""
    if request.incident_id is None:
        return False
    last = last_incident(store, target.name, target.instance, request.trigger, request.incident_id)
    if last is None:
        return False
    then, now = episodes_of(store, last), episodes_of(store, request.incident_id)
    if max(map(_severity, now), default=0) > max(map(_severity, then), default=0):
        return True
    return any(_is_worse(each, earlier) for each in now for earlier in then)


def _severity(episode: Episode) -> int:
    name = episode.labels.get("severity", "").lower()
    name = _ALIKE.get(name, name)
    return SEVERITIES.index(name) if name in SEVERITIES else 1


def _is_worse(now: Episode, then: Episode) -> bool:
    """The same alert, half as far again as then; one that fires on a low value by two thirds of it."""
    if now.alertname != then.alertname or now.value is None or then.value is None:
        return False
    if _FIRES_WHEN_LOW.search(now.expr or ""):
        return now.value * MUCH_WORSE <= then.value and now.value < then.value
    return now.value >= then.value * MUCH_WORSE and now.value > then.value
