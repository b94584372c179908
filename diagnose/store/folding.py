"""Which incident a new episode belongs to. No SQL here, as in `episodes.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from diagnose.model import Alert, IncidentKey

# Worst first. What nobody knows ranks above info: somebody took the trouble to say it.
SEVERITIES = (
    {"critical", "emergency", "fatal", "page", "p1", "sev1"},
    {"error", "high", "major", "p2", "sev2"},
    {"warning", "warn", "medium", "minor", "p3", "sev3"},
)
HARMLESS = {"info", "low", "debug", "none", ""}
UNKNOWN = "unknown"


def badness(severity: str) -> int:
    """Greater is worse."""
    word = severity.lower()
    for rank, words in enumerate(SEVERITIES):
        if word in words:
            return 5 - rank
    if word == UNKNOWN:
        return 0
    return 1 if word in HARMLESS else 2


def severity_of(alert: Alert) -> str:
    return alert.labels.get("severity") or UNKNOWN


@dataclass
class Folded:
    """
    One incident during the intake of one message; `change` is what the message did to it.

    `taken_over` are the groups of incidents that were merged into it.
    """

    incident_id: str
    group_id: str
    service_name: str
    status: Literal["open", "resolved"]
    title: str
    severity: str
    started_at: datetime
    ended_at: datetime | None
    opened_at: datetime
    taken_over: list[str] = field(default_factory=list)
    change: Literal["none", "opened", "reopened", "grown"] = "none"
    has_changed: bool = False  # and must be written; most that grow look the same afterwards

    def is_of(self, group_id: str) -> bool:
        return group_id == self.group_id or group_id in self.taken_over

    def add(self, alert: Alert) -> None:
        """The earliest alert gives the start; the worst, and of these the first, severity and title."""
        if alert.starts_at < self.started_at:
            self.started_at = alert.starts_at
            self.has_changed = True
        if badness(severity_of(alert)) > badness(self.severity):
            self.severity = severity_of(alert)
            self.title = title_of(alert, self.service_name)
            self.has_changed = True

    def covers(self, at: datetime, quiet: timedelta) -> bool:
        """Whether an alert that started *at* continues this one, which has ended."""
        return self.ended_at is not None and self.started_at - quiet <= at <= self.ended_at + quiet

    def reopen(self) -> None:
        self.status, self.ended_at, self.change, self.has_changed = "open", None, "reopened", True


def title_of(alert: Alert, service: str) -> str:
    return " · ".join(filter(None, (alert.alertname, service))) or "alert without a name"


class Fold:
    """The incidents of some groups: at most one of a group is open."""

    def __init__(self, found: Iterable[Folded], *, quiet: timedelta, new_id: Callable[[], str]) -> None:
        self.incidents = sorted(found, key=lambda incident: incident.ended_at or incident.opened_at)
        self._quiet = quiet
        self._new_id = new_id

    def open_one(self, group_id: str) -> Folded | None:
        return next((each for each in self.incidents if each.status == "open" and each.is_of(group_id)), None)

    def join(
        self, key: IncidentKey, alert: Alert, received_at: datetime
    ) -> tuple[Folded, Literal["opened", "reopened", "alert"]]:
        """
        The incident a newly firing *alert* belongs to, and what the timeline shall call it.

        The open one of its group; else the last one, opened again, if the alert started before the quiet period after
        it was over; else a new one.
        """
        what: Literal["opened", "reopened", "alert"] = "alert"
        if incident := self.open_one(key.group_id):
            incident.change = "grown" if incident.change == "none" else incident.change
        elif incident := self._reopened(key, alert):
            what = "reopened"
        else:
            incident, what = self._opened(key, alert, received_at), "opened"
        incident.add(alert)
        return incident, what

    def _reopened(self, key: IncidentKey, alert: Alert) -> Folded | None:
        last = next((each for each in reversed(self.incidents) if each.is_of(key.group_id)), None)
        if last is None or not last.covers(alert.starts_at, self._quiet):
            return None
        last.reopen()
        return last

    def _opened(self, key: IncidentKey, alert: Alert, received_at: datetime) -> Folded:
        incident = Folded(
            incident_id=self._new_id(),
            group_id=key.group_id,
            service_name=key.service,
            status="open",
            title=title_of(alert, key.service),
            severity=severity_of(alert),
            started_at=alert.starts_at,
            ended_at=None,
            opened_at=received_at,
            change="opened",
        )
        self.incidents.append(incident)
        return incident
