"""The rows of the intake (intake.py): what the database knows of some messages, and what they add to it."""

from __future__ import annotations

from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import starmap
from typing import Any

import duckdb

from diagnose.model import Accepted, AlertGroup, new_id
from diagnose.store.episodes import Member, Period, Periods
from diagnose.store.folding import Fold, Folded
from diagnose.store.intake import Arrival, Event, Intake, Message, Picture, goes_on
from diagnose.store.prepared import fetch_prepared, insert_rows
from diagnose.store.queries import load_queries
from diagnose.store.rows import as_json, fetch
from diagnose.store.timeline import save_lines

SQL = load_queries("alerts")
IDS_AT_ONCE = 64


def take_in(cursor: duckdb.DuckDBPyConnection, messages: Sequence[Message]) -> list[Accepted]:
    """Store *messages* in the transaction of *cursor*; what each of them changed, in their order."""
    picture = _read(cursor, messages)
    answers = [Intake(picture, message).take() for message in messages]
    _write(cursor, picture)
    return answers


def _read(cursor: duckdb.DuckDBPyConnection, messages: Sequence[Message]) -> Picture:
    """Of messages that are known already only the events are looked up."""
    events = _known_events(cursor, [arrival for message in messages for arrival in message.arrivals])
    fresh = [
        (message, arrival)
        for message in messages
        for arrival in message.arrivals
        if (period := events.get(arrival.event_key)) is None or goes_on(message.group, arrival, period)
    ]
    known = {period.episode_id: period for period in events.values()}
    periods = _known_periods(cursor, [arrival for _, arrival in fresh], known) if fresh else {}
    found = _known_incidents(cursor, fresh, known) if fresh else []
    new_ids = _free_ids(cursor)
    return Picture(events, periods, Fold(found, new_id=lambda: next(new_ids)))


def _ask(cursor: duckdb.DuckDBPyConnection, name: str, **params: str) -> list[dict[str, Any]]:
    return fetch_prepared(cursor, name, SQL[name], params)


def _known_events(cursor: duckdb.DuckDBPyConnection, arrivals: Sequence[Arrival]) -> dict[str, Period]:
    keys = list({arrival.event_key: None for arrival in arrivals})
    rows = _ask(cursor, "known_events", keys=as_json(keys))
    if not rows:
        return {}
    ids = sorted({row["episode_id"] for row in rows})
    found = fetch(cursor, SQL["periods_by_id"], {"episodes": as_json(ids)})
    episodes = {row["episode_id"]: _period(row) for row in found}
    return {str(row["event_key"]): episodes[row["episode_id"]] for row in rows}


def _known_periods(
    cursor: duckdb.DuckDBPyConnection, arrivals: Sequence[Arrival], known: dict[str, Period]
) -> dict[str, Periods]:
    """By fingerprint, for those of *arrivals*. What is found is added to *known*, by episode."""
    found: dict[str, list[Period]] = {arrival.fingerprint: [] for arrival in arrivals}
    earliest = _earliest((arrival.fingerprint, arrival.alert.starts_at) for arrival in arrivals)
    asked = [{"fingerprint": fingerprint, "earliest": at} for fingerprint, at in earliest.items()]
    for row in _ask(cursor, "find_periods", fingerprints=as_json(asked)):
        period = known.setdefault(row["episode_id"], _period(row))
        found[period.fingerprint].append(period)
    still_open = [period.episode_id for periods in found.values() for period in periods if period.is_open]
    for episode_id, members in _members(cursor, still_open).items():
        known[episode_id].members = members
    return {fingerprint: Periods(fingerprint, periods) for fingerprint, periods in found.items()}


def _earliest(times: Iterable[tuple[str, datetime]]) -> dict[str, datetime]:
    earliest: dict[str, datetime] = {}
    for name, at in times:
        earliest[name] = min(at, earliest.get(name, at))
    return earliest


def _period(row: Mapping[str, Any]) -> Period:
    return Period(**row, is_counted=row["ends_at"] is None)


def _members(cursor: duckdb.DuckDBPyConnection, episodes: Sequence[str]) -> Mapping[str, dict[str, Member]]:
    members: dict[str, dict[str, Member]] = defaultdict(dict)
    for row in fetch(cursor, SQL["find_members"], {"episodes": as_json(episodes)}) if episodes else ():
        members[row["episode_id"]][row["fingerprint"]] = Member(row["fires_from"], row["ended_at"])
    return members


def _known_incidents(
    cursor: duckdb.DuckDBPyConnection, fresh: Sequence[tuple[Message, Arrival]], known: Mapping[str, Period]
) -> list[Folded]:
    """Those that new alerts may join, and those of the known episodes. Only an end asks how many others fire."""
    earliest = _earliest(
        (arrival.key.group_id, arrival.alert.starts_at - message.quiet) for message, arrival in fresh if arrival.key
    )
    groups = [{"group_id": group_id, "earliest": at} for group_id, at in earliest.items()]
    rows = _ask(cursor, "incidents_of_groups", groups=as_json(groups)) if groups else []
    found = {row["incident_id"]: row for row in rows}
    missing = {each.incident_id for each in known.values()} | {row["merged_into"] for row in rows}
    if missing := missing - found.keys() - {None}:
        by_id = {"incidents": as_json(sorted(missing))}
        found |= {row["incident_id"]: row for row in fetch(cursor, SQL["incidents_by_id"], by_id)}
    incidents = _folded(found.values())
    if any(arrival.ended_at for _, arrival in fresh):
        _count(cursor, incidents)
    return list(incidents.values())


def _folded(rows: Iterable[dict[str, Any]]) -> dict[str, Folded]:
    """One that was merged into another is that one, for its group too."""
    merged = [(row.pop("merged_into"), row) for row in rows]
    incidents = {row["incident_id"]: Folded(**row) for _, row in merged}
    for into, row in merged:
        if into in incidents:
            incidents[into].taken_over.append(row["group_id"])
            del incidents[row["incident_id"]]
    return incidents


def _count(cursor: duckdb.DuckDBPyConnection, incidents: Mapping[str, Folded]) -> None:
    for row in fetch(cursor, SQL["count_firing"], {"incidents": as_json(list(incidents))}):
        incident = incidents[row["incident_id"]]
        incident.firing, incident.last_ended_at = row["firing"], row["last_ended_at"]


def _free_ids(cursor: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """Ids are short enough to be said aloud, so they are checked: in a storm two could be alike."""
    given: set[str] = set()
    while True:
        ids = {new_id("inc"): None for _ in range(IDS_AT_ONCE)}
        taken = {row["incident_id"] for row in fetch(cursor, SQL["known_incidents"], {"incidents": as_json(list(ids))})}
        for incident_id in ids:
            if incident_id not in taken | given:
                given.add(incident_id)
                yield incident_id


def _write(cursor: duckdb.DuckDBPyConnection, picture: Picture) -> None:
    incidents = picture.fold.incidents.values()
    _insert(cursor, "save_messages", starmap(_message_row, picture.messages))
    _insert(cursor, "save_events", map(_event_row, picture.new_events))
    _insert(cursor, "save_episodes", map(_episode_row, picture.first.values()))
    _change(cursor, "change_episodes", map(_state, picture.changed_periods()))
    _insert(cursor, "save_incidents", (vars(each) for each in incidents if each.is_new))
    _change(cursor, "change_incidents", (vars(each) for each in incidents if each.has_changed and not each.is_new))
    save_lines(cursor, picture.lines)


def _insert(cursor: duckdb.DuckDBPyConnection, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
    insert_rows(cursor, name, SQL[name], rows)


def _change(cursor: duckdb.DuckDBPyConnection, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
    if together := list(rows):
        cursor.execute(SQL[name], {"rows": as_json(together)})


def _message_row(message_id: str, group: AlertGroup) -> dict[str, Any]:
    row = vars(group) | {
        "message_id": message_id,
        "route_labels": dict(group.route_labels),
        "body": b64encode(group.body).decode(),
    }
    del row["alerts"]
    return row


def _event_row(event: Event) -> dict[str, Any]:
    alert = event.arrival.alert
    return {
        "event_key": event.arrival.event_key,
        "message_id": event.message_id,
        "episode_id": event.period.episode_id,
        "fingerprint": alert.fingerprint,
        "status": alert.status,
        "starts_at": alert.starts_at,
        "ends_at": event.arrival.ended_at,
        "received_at": event.group.received_at,
    }


def _episode_row(event: Event) -> dict[str, Any]:
    alert = event.arrival.alert
    return _state(event.period) | {
        "fingerprint": event.period.fingerprint,
        "alertname": alert.alertname,
        "source": event.group.source,
        "group_key": event.group.key_of(alert),
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "generator_url": alert.generator_url,
        "received_at": event.group.received_at,
        "rule_uid": alert.rule_uid or None,
        "values": dict(alert.values) or None,
    }


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
