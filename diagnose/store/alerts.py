"""
The intake of alerts: one message in, what it changed out, in one transaction.

    message  →  events, each once  →  episodes (firing periods, episodes.py)  →  incidents (folding.py)

What was seen before changes nothing, so a message may come any number of times, from any number of Alertmanagers, late
and out of order.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

import duckdb

from diagnose.model import Accepted, Alert, AlertGroup, IncidentKey, identity_of, new_id, rfc3339
from diagnose.store.db import Store, as_json, fetch
from diagnose.store.episodes import Member, Period, Periods
from diagnose.store.folding import Fold, Folded
from diagnose.store.queries import load_queries
from diagnose.store.timeline import Line, save_lines

SQL = load_queries("alerts")
Assign = Callable[[Alert], IncidentKey | None]


@dataclass(frozen=True)
class _Arrival:
    """One alert of the message. `fingerprint` leaves ignored labels out; `ended_at` is None while it fires."""

    alert: Alert
    fingerprint: str
    event_key: str
    key: IncidentKey | None
    ended_at: datetime | None


def save_group(
    store: Store, group: AlertGroup, assign: Assign, *, quiet: timedelta, ignore_labels: Collection[str] = ()
) -> Accepted:
    """
    Commit one message: its body, the alerts that are new in it, and what they do to episodes and incidents.

    *assign* names what an alert belongs to; an alert for which it answers None is stored and opens no incident. A
    re-fire that starts within *quiet* after an incident of its group ended opens that one again. Alerts that differ
    only in *ignore_labels* are one alert, which ends when the last of them does. A message without anything new stores
    nothing. Raises StoreBusy when it could not be made durable.
    """
    arrivals = list(_arrivals(group, assign, ignore_labels))
    if not arrivals:
        return Accepted(0, 0, ())
    return store.control.run(
        lambda cursor: _Intake(cursor, group, quiet).save(arrivals), size_bytes=3 * len(group.body) + 1000
    )


def save_enrichment(
    store: Store, episode_id: str, *, expr: str | None, active_at: datetime | None, value: float | None
) -> None:
    """
    Keep what Prometheus knows about an alert: its expression, since when it is pending, its value.

    None leaves what is stored. An earlier *active_at* moves the start of the incident. An unknown episode is ignored.
    """

    def save(cursor: duckdb.DuckDBPyConnection) -> None:
        changed = {"episode_id": episode_id, "expr": expr, "active_at": active_at, "value": value}
        for episode in fetch(cursor, SQL["enrich_episode"], changed):
            if active_at is not None:
                _start_earlier(cursor, episode["incident_id"], active_at)

    store.control.run(save)


def _start_earlier(cursor: duckdb.DuckDBPyConnection, incident_id: str | None, at: datetime) -> None:
    for moved in fetch(cursor, SQL["start_incident_earlier"], {"incident_id": incident_id, "at": at}):
        save_lines(cursor, [Line(moved["incident_id"], at, "started", "what the alert watches for began")])


def _arrivals(group: AlertGroup, assign: Assign, ignore_labels: Collection[str]) -> Iterator[_Arrival]:
    """In the order they started, a firing before its end."""
    for alert in sorted(group.alerts, key=lambda each: (each.starts_at, each.status)):
        yield _Arrival(
            alert=alert,
            fingerprint=identity_of(alert.fingerprint, alert.labels, ignore_labels),
            event_key=_event_key(group, alert),
            key=assign(alert),
            ended_at=(alert.ends_at or group.received_at) if alert.status == "resolved" else None,
        )


def _event_key(group: AlertGroup, alert: Alert) -> str:
    parts = [group.source, group.key_of(alert), alert.fingerprint, rfc3339(alert.starts_at), alert.status]
    return str(UUID(bytes=hashlib.sha256(json.dumps(parts).encode()).digest()[:16]))


@dataclass(frozen=True)
class _Heard:
    """An arrival and the episode it turned out to be about; `is_first` of this message for that episode."""

    arrival: _Arrival
    period: Period
    is_first: bool


class _Intake:
    """One message in one transaction; made anew for every attempt."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, group: AlertGroup, quiet: timedelta) -> None:
        self._cursor = cursor
        self._group = group
        self._quiet = quiet
        self._touched: dict[str, None] = {}
        self._lines: list[Line] = []

    def save(self, arrivals: Sequence[_Arrival]) -> Accepted:
        new = self._not_seen(arrivals)
        if not new:
            return Accepted(0, len(arrivals), tuple(self._touched))
        heard = self._hear(new)
        fold = self._place(heard)
        self._write(heard, fold)
        resolved = self._resolve(heard)
        save_lines(self._cursor, self._lines)
        return Accepted(
            accepted=len(new),
            duplicates=len(arrivals) - len(new),
            incidents=tuple(self._touched),
            opened=_changed(fold, "opened"),
            reopened=_changed(fold, "reopened"),
            grown=_changed(fold, "grown"),
            resolved=resolved,
        )

    def _not_seen(self, arrivals: Sequence[_Arrival]) -> list[_Arrival]:
        """Those whose event is not stored, each key once; what is stored names its incident."""
        unseen: dict[str, _Arrival] = {}
        renewed: list[dict[str, Any]] = []
        for arrival in arrivals:
            unseen.setdefault(arrival.event_key, arrival)
        for event in self._fetch("known_events", keys=list(unseen)):
            arrival = unseen[str(event["event_key"])]
            if self._group.tells_the_present and event["ended_by"] and arrival.ended_at is None:
                unseen[str(event["event_key"])] = replace(arrival, event_key=str(uuid4()))  # it goes on after all
                continue
            del unseen[str(event["event_key"])]
            self._touch(event["incident_id"])
            if arrival.alert.expires_at:
                renewed.append({"episode_id": event["episode_id"], "expires_at": arrival.alert.expires_at})
        self._save("renew_episodes", renewed)
        return list(unseen.values())

    def _hear(self, arrivals: Sequence[_Arrival]) -> list[_Heard]:
        known = self._known_periods(arrivals)
        seen: set[str] = set()
        heard: list[_Heard] = []
        for arrival in arrivals:
            period = known[arrival.fingerprint].take(
                arrival.alert, arrival.ended_at, is_present=self._group.tells_the_present
            )
            heard.append(_Heard(arrival, period, period.episode_id not in seen))
            seen.add(period.episode_id)
        return heard

    def _known_periods(self, arrivals: Sequence[_Arrival]) -> dict[str, Periods]:
        found: dict[str, list[Period]] = {arrival.fingerprint: [] for arrival in arrivals}
        earliest = min(arrival.alert.starts_at for arrival in arrivals)
        rows = self._fetch("find_periods", fingerprints=list(found), earliest=earliest)
        members = self._members([row["episode_id"] for row in rows if row["ends_at"] is None])
        for row in rows:
            found[row["fingerprint"]].append(Period(**row, members=members[row["episode_id"]]))
        return {fingerprint: Periods(fingerprint, periods) for fingerprint, periods in found.items()}

    def _members(self, episodes: list[str]) -> Mapping[str, dict[str, Member]]:
        members: dict[str, dict[str, Member]] = defaultdict(dict)
        for row in self._fetch("find_members", episodes=episodes) if episodes else ():
            members[row["episode_id"]][row["fingerprint"]] = Member(row["fires_from"], row["ended_at"])
        return members

    def _place(self, heard: Sequence[_Heard]) -> Fold:
        """Give every new episode its incident. One that ended already joins an open incident, but opens none."""
        new = [
            each
            for each in heard
            if each.is_first and (each.period.is_new or each.period.is_revived) and each.arrival.key
        ]
        fold = self._fold([each.arrival for each in new])
        for each in new:
            each.period.incident_id = self._incident_of(each.arrival, fold)
        return fold

    def _fold(self, arrivals: Sequence[_Arrival]) -> Fold:
        found: list[Folded] = []
        if groups := sorted({arrival.key.group_id for arrival in arrivals if arrival.key}):
            earliest = min(arrival.alert.starts_at for arrival in arrivals) - self._quiet
            found = [Folded(**row) for row in self._fetch("find_incidents", groups=groups, earliest=earliest)]
        return Fold(found, quiet=self._quiet, new_id=self._new_incident_id)

    def _incident_of(self, arrival: _Arrival, fold: Fold) -> str | None:
        if arrival.key is None:
            return None
        if arrival.ended_at is not None:
            open_one = fold.open_one(arrival.key.group_id)
            return open_one.incident_id if open_one else None
        incident, what = fold.join(arrival.key, arrival.alert, self._group.received_at)
        self._tell(incident.incident_id, what, f"{_name(arrival.alert)} {_TOLD[what]}")
        return incident.incident_id

    def _new_incident_id(self) -> str:
        """Ids are short enough to be said aloud, so they are checked: in a storm two could be alike."""
        incident_id = new_id("inc")
        while incident_id in self._touched or self._fetch("known_incident", incident_id=incident_id):
            incident_id = new_id("inc")
        self._touch(incident_id)
        return incident_id

    def _write(self, heard: Sequence[_Heard], fold: Fold) -> None:
        firsts = [each for each in heard if each.is_first]
        moved = [each.period for each in firsts if each.period.has_changed and not each.period.is_new]
        message_id = self._write_message()
        self._save("save_events", (self._event(message_id, each) for each in heard))
        self._save("save_episodes", (self._episode(each) for each in firsts if each.period.is_new))
        self._save("change_episodes", map(_state, moved))
        self._save("save_incidents", (vars(each) for each in fold.incidents if each.change == "opened"))
        changed = (each for each in fold.incidents if each.change != "opened" and each.has_changed)
        self._save("change_incidents", map(vars, changed))
        for each in firsts:
            self._touch(each.period.incident_id)
        self._start_earlier(moved)

    def _write_message(self) -> str:
        message_id = f"msg-{secrets.token_hex(8)}"
        columns = vars(self._group) | {
            "message_id": message_id,
            "route_labels": as_json(dict(self._group.route_labels)),
        }
        del columns["alerts"]
        self._cursor.execute(SQL["save_message"], columns)
        return message_id

    def _event(self, message_id: str, heard: _Heard) -> dict[str, Any]:
        return {
            "event_key": heard.arrival.event_key,
            "message_id": message_id,
            "episode_id": heard.period.episode_id,
            "fingerprint": heard.arrival.alert.fingerprint,
            "status": heard.arrival.alert.status,
            "starts_at": heard.arrival.alert.starts_at,
            "ends_at": heard.arrival.ended_at,
            "received_at": self._group.received_at,
        }

    def _episode(self, heard: _Heard) -> dict[str, Any]:
        alert = heard.arrival.alert
        return _state(heard.period) | {
            "fingerprint": heard.period.fingerprint,
            "alertname": alert.alertname,
            "source": self._group.source,
            "group_key": self._group.key_of(alert),
            "labels": dict(alert.labels),
            "annotations": dict(alert.annotations),
            "generator_url": alert.generator_url,
            "received_at": self._group.received_at,
            "rule_uid": alert.rule_uid or None,
            "values": dict(alert.values) or None,
        }

    def _start_earlier(self, periods: Sequence[Period]) -> None:
        if not periods:
            return
        for moved in self._fetch("lower_starts", episodes=[period.episode_id for period in periods]):
            self._lines.append(Line(moved["incident_id"], moved["started_at"], "started", "the alert began to fire"))

    def _resolve(self, heard: Sequence[_Heard]) -> tuple[str, ...]:
        """The incidents whose last episode ended with this message."""
        ended = [each for each in heard if each.is_first and each.period.has_changed and not each.period.is_open]
        incidents = list(dict.fromkeys(each.period.incident_id for each in ended if each.period.incident_id))
        if not incidents:
            return ()
        for each in ended:
            if each.period.incident_id:
                self._tell(each.period.incident_id, "alert", f"{_name(each.arrival.alert)} ended")
        resolved = {row["incident_id"] for row in self._fetch("resolve_incidents", incidents=incidents)}
        for incident_id in resolved:
            self._tell(incident_id, "resolved", "all alerts have ended")
        return tuple(incident_id for incident_id in incidents if incident_id in resolved)

    def _tell(self, incident_id: str, kind: str, text: str) -> None:
        self._lines.append(Line(incident_id, self._group.received_at, kind, text))

    def _touch(self, incident_id: str | None) -> None:
        if incident_id is not None:
            self._touched[incident_id] = None

    def _fetch(self, name: str, **params: Any) -> list[dict[str, Any]]:
        bound = {key: as_json(value) if isinstance(value, list) else value for key, value in params.items()}
        return fetch(self._cursor, SQL[name], bound)

    def _save(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        if together := list(rows):
            self._cursor.execute(SQL[name], {"rows": as_json(together)})


_TOLD = {"opened": "fired", "reopened": "fired again within the quiet period", "alert": "fired too"}


def _changed(fold: Fold, change: Literal["opened", "reopened", "grown"]) -> tuple[str, ...]:
    return tuple(each.incident_id for each in fold.incidents if each.change == change)


def _state(period: Period) -> dict[str, Any]:
    return {
        "episode_id": period.episode_id,
        "status": "firing" if period.is_open else "resolved",
        "incident_id": period.incident_id,
        "starts_at": period.starts_at,
        "ends_at": period.ends_at,
        "ended_by": period.ended_by,
        "expires_at": period.expires_at,
    }


def _name(alert: Alert) -> str:
    instance = alert.labels.get("instance")
    return f"{alert.alertname} ({instance})" if instance else alert.alertname
