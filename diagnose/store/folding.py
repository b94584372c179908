"""Which incident a new episode belongs to. No SQL here, as in `episodes.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from diagnose.model import Alert, Episode, IncidentKey
from diagnose.store.episodes import Period

Change = Literal["opened", "reopened", "grown"]

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


def severity_of(alert: Alert | Episode) -> str:
    return alert.labels.get("severity") or UNKNOWN


def worst(alerts: Sequence[Episode]) -> Episode:
    """Of equals the first."""
    return max(alerts, key=lambda alert: badness(severity_of(alert)))


@dataclass
class Folded:
    """
    One incident during the intake of messages.

    `taken_over` are the groups of incidents that were merged into it, `firing` how many of its episodes are open,
    `last_ended_at` when the last of the others ended.
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
    firing: int = 0
    last_ended_at: datetime | None = None
    is_new: bool = False
    has_changed: bool = False  # and must be written; most that grow look the same afterwards

    def is_of(self, group_id: str) -> bool:
        return group_id == self.group_id or group_id in self.taken_over

    def add(self, alert: Alert) -> None:
        """The earliest alert gives the start; the worst, and of these the first, severity and title."""
        self.start_earlier(alert.starts_at)
        if badness(severity_of(alert)) > badness(self.severity):
            self.severity = severity_of(alert)
            self.title = title_of(alert, self.service_name)
            self.has_changed = True

    def start_earlier(self, at: datetime) -> bool:
        """Whether *at* was earlier than what was known."""
        if at >= self.started_at:
            return False
        self.started_at = at
        self.has_changed = True
        return True

    def count(self, period: Period) -> None:
        """Keep `firing` and `last_ended_at` true after *period*, one of its own, was heard of."""
        if period.is_open != period.is_counted:
            self.firing += 1 if period.is_open else -1
            period.is_counted = period.is_open
        if period.ends_at:
            self.last_ended_at = max(period.ends_at, self.last_ended_at or period.ends_at)

    def covers(self, at: datetime, quiet: timedelta) -> bool:
        """Whether an alert that started *at* continues this one, which has ended."""
        return self.ended_at is not None and self.started_at - quiet <= at <= self.ended_at + quiet

    def reopen(self) -> None:
        self.status, self.ended_at, self.has_changed = "open", None, True


def title_of(alert: Alert | Episode, service: str) -> str:
    return " · ".join(filter(None, (alert.alertname, service))) or "alert without a name"


class Fold:
    """The incidents of some groups: at most one of a group is open."""

    def __init__(self, found: Iterable[Folded], *, new_id: Callable[[], str]) -> None:
        self.incidents = {incident.incident_id: incident for incident in found}
        self._new_id = new_id

    def find(self, incident_id: str | None) -> Folded | None:
        return self.incidents.get(incident_id or "")

    def open_one(self, group_id: str) -> Folded | None:
        """Its own before one that took it over."""
        found = [each for each in self.incidents.values() if each.status == "open" and each.is_of(group_id)]
        return next((each for each in found if each.group_id == group_id), found[0] if found else None)

    def join(self, key: IncidentKey, alert: Alert, received_at: datetime, *, quiet: timedelta) -> tuple[Folded, Change]:
        """
        The incident a newly firing *alert* belongs to, and what that is to the incident.

        The open one of its group; else the last one, opened again, if the alert started before the *quiet* period after
        it was over; else a new one.
        """
        change: Change = "grown"
        if incident := self.open_one(key.group_id):
            pass
        elif incident := self._reopened(key, alert, quiet):
            change = "reopened"
        else:
            incident, change = self._opened(key, alert, received_at), "opened"
        incident.add(alert)
        return incident, change

    def resolve(self, incident_id: str) -> bool:
        """Whether it was open and none of its episodes is; it is over then."""
        incident = self.incidents[incident_id]
        if incident.status != "open" or incident.firing > 0:
            return False
        incident.status, incident.ended_at, incident.has_changed = "resolved", incident.last_ended_at, True
        return True

    def _reopened(self, key: IncidentKey, alert: Alert, quiet: timedelta) -> Folded | None:
        known = [each for each in self.incidents.values() if each.is_of(key.group_id)]
        last = max(known, key=lambda incident: incident.ended_at or incident.opened_at, default=None)
        if last is None or not last.covers(alert.starts_at, quiet):
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
            is_new=True,
        )
        self.incidents[incident.incident_id] = incident
        return incident
