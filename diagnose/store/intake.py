"""
What messages do to episodes and incidents, in memory. No SQL here: `intake_rows.py` reads what is known and writes
what changed.

    message  →  events, each once  →  episodes (firing periods, episodes.py)  →  incidents (folding.py)

Messages that share a commit are taken in one after the other over the same picture, so that what the second changes
builds on the first, and the database is asked and told once for all of them.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import uuid4

from diagnose.model import Accepted, Alert, AlertGroup, IncidentKey
from diagnose.store.episodes import Period, Periods
from diagnose.store.folding import Change, Fold
from diagnose.store.timeline import Line


@dataclass(frozen=True)
class Arrival:
    """One alert of a message. `fingerprint` leaves ignored labels out; `ended_at` is None while it fires."""

    alert: Alert
    fingerprint: str
    event_key: str
    key: IncidentKey | None
    ended_at: datetime | None


@dataclass(frozen=True)
class Message:
    """Its alerts in the order they started, a firing before its end."""

    group: AlertGroup
    arrivals: tuple[Arrival, ...]
    quiet: timedelta


@dataclass(frozen=True)
class Event:
    """An arrival that was new, and the episode it turned out to be about."""

    message_id: str
    group: AlertGroup
    arrival: Arrival
    period: Period


@dataclass
class Picture:
    """
    What the database knows that some messages can be about, and what they add to it.

    `events` has the episode of every event key that is stored; `first` the arrival that began a new episode.
    """

    events: dict[str, Period]
    periods: Mapping[str, Periods]
    fold: Fold
    messages: list[tuple[str, AlertGroup]] = field(default_factory=list)
    new_events: list[Event] = field(default_factory=list)
    first: dict[str, Event] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)

    def changed_periods(self) -> list[Period]:
        """Those that are stored and must be written again."""
        periods = {id(period): period for period in self.events.values()}
        return [each for each in periods.values() if each.has_changed and not each.is_new]


class Intake:
    """Takes one message into the picture."""

    def __init__(self, picture: Picture, message: Message) -> None:
        self._picture = picture
        self._message = message
        self._group = message.group
        self._touched: dict[str, None] = {}
        self._changes: dict[str, Change] = {}

    def take(self) -> Accepted:
        arrivals = self._message.arrivals
        new = self._not_seen(arrivals)
        heard = self._hear(new)
        self._place(heard)
        self._start_earlier(heard)
        resolved = self._resolve(heard)
        for event in heard:
            self._touch(event.period.incident_id)
        for event in heard:
            event.period.news.clear()
        return Accepted(
            accepted=len(new),
            duplicates=len(arrivals) - len(new),
            incidents=tuple(self._touched),
            opened=self._that("opened"),
            reopened=self._that("reopened"),
            grown=self._that("grown"),
            resolved=resolved,
        )

    def _not_seen(self, arrivals: Sequence[Arrival]) -> list[Arrival]:
        """Those whose event is not stored, each key once. One that is stored names its incident and may renew it."""
        unseen: dict[str, Arrival] = {}
        for arrival in arrivals:
            period = self._picture.events.get(arrival.event_key)
            if period is None:
                unseen.setdefault(arrival.event_key, arrival)
            elif goes_on(self._group, arrival, period):
                unseen.setdefault(arrival.event_key, replace(arrival, event_key=str(uuid4())))
            else:
                self._touch(period.incident_id)
                period.renew(arrival.alert.expires_at)
        return list(unseen.values())

    def _hear(self, arrivals: Sequence[Arrival]) -> list[Event]:
        """The event of every arrival; only one that begins or continues an episode names the incident later."""
        if not arrivals:
            return []
        message_id = f"msg-{secrets.token_hex(8)}"
        self._picture.messages.append((message_id, self._group))
        is_present = self._group.tells_the_present
        heard = []
        for arrival in arrivals:
            period = self._picture.periods[arrival.fingerprint].take(
                arrival.alert, arrival.ended_at, is_present=is_present
            )
            event = Event(message_id, self._group, arrival, period)
            self._picture.events[arrival.event_key] = period
            if period.is_new:
                self._picture.first.setdefault(period.episode_id, event)
            heard.append(event)
        self._picture.new_events += heard
        return heard

    def _place(self, heard: Sequence[Event]) -> None:
        """Give every new episode its incident. One that ended already joins an open incident, but opens none."""
        for event in _firsts(heard):
            if event.period.news & {"began", "revived"} and event.arrival.key:
                event.period.incident_id = self._incident_of(event.arrival, event.arrival.key)

    def _incident_of(self, arrival: Arrival, key: IncidentKey) -> str | None:
        if arrival.ended_at is not None:
            open_one = self._picture.fold.open_one(key.group_id)
            return open_one.incident_id if open_one else None
        incident, what = self._picture.fold.join(key, arrival.alert, self._group.received_at, quiet=self._message.quiet)
        if self._changes.get(incident.incident_id) in (None, "grown"):
            self._changes[incident.incident_id] = what
        self._touch(incident.incident_id if what == "opened" else None)
        self._tell(incident.incident_id, _KIND[what], f"{_name(arrival.alert)} {_TOLD[what]}")
        return incident.incident_id

    def _start_earlier(self, heard: Sequence[Event]) -> None:
        """Incidents began when the first of their alerts did."""
        for event in _firsts(heard):
            incident = self._picture.fold.find(event.period.incident_id)
            if incident and _was_there(event.period) and incident.start_earlier(event.period.starts_at):
                line = Line(incident.incident_id, incident.started_at, "started", "the alert began to fire")
                self._picture.lines.append(line)

    def _resolve(self, heard: Sequence[Event]) -> tuple[str, ...]:
        """The incidents whose last episode ended with this message."""
        ended: dict[str, None] = {}
        for event in _firsts(heard):
            incident = self._picture.fold.find(event.period.incident_id)
            if incident is None:
                continue
            incident.count(event.period)
            if "ended" in event.period.news:
                ended[incident.incident_id] = None
                self._tell(incident.incident_id, "alert", f"{_name(event.arrival.alert)} ended")
        resolved = tuple(incident_id for incident_id in ended if self._picture.fold.resolve(incident_id))
        for incident_id in resolved:
            self._tell(incident_id, "resolved", "all alerts have ended")
        return resolved

    def _tell(self, incident_id: str, kind: str, text: str) -> None:
        self._picture.lines.append(Line(incident_id, self._group.received_at, kind, text))

    def _touch(self, incident_id: str | None) -> None:
        if incident_id is not None:
            self._touched[incident_id] = None

    def _that(self, change: Change) -> tuple[str, ...]:
        return tuple(incident_id for incident_id, each in self._changes.items() if each == change)


def goes_on(group: AlertGroup, arrival: Arrival, period: Period) -> bool:
    """Whether a state that was asked for shows an alert firing whose end was only inferred."""
    return group.tells_the_present and period.ended_by is not None and arrival.ended_at is None


def _was_there(period: Period) -> bool:
    """Whether the message changed what it did not begin."""
    return bool(period.news) and "began" not in period.news


def _firsts(heard: Iterable[Event]) -> list[Event]:
    """Of every episode the first event of the message."""
    firsts: dict[str, Event] = {}
    for event in heard:
        firsts.setdefault(event.period.episode_id, event)
    return list(firsts.values())


_KIND: Mapping[Change, str] = {"opened": "opened", "reopened": "reopened", "grown": "alert"}
_TOLD: Mapping[Change, str] = {
    "opened": "fired",
    "reopened": "fired again within the quiet period",
    "grown": "fired too",
}


def _name(alert: Alert) -> str:
    instance = alert.labels.get("instance")
    return f"{alert.alertname} ({instance})" if instance else alert.alertname
