"""Incidents that belong together, and alerts that do not: merging and splitting by hand, each in one transaction."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import duckdb

from diagnose.errors import DecodeError, NotFound
from diagnose.model import Episode, TraceRef, new_id, utc_now
from diagnose.store.db import Store
from diagnose.store.folding import badness, severity_of, title_of, worst
from diagnose.store.incidents import SQL as INCIDENTS
from diagnose.store.incidents import merge_traces
from diagnose.store.queries import load_queries
from diagnose.store.rows import as_json, fetch
from diagnose.store.timeline import Line, save_lines

SQL = load_queries("merging")


def merge_incidents(store: Store, into: str, taken: Sequence[str]) -> None:
    """
    Move the alerts, captures and traces of the incidents *taken* into another.

    It is open if one of them is. New alerts of the groups of *taken* go to it as long as it is open or quiet. Raises
    NotFound, and DecodeError when one of them is *into* or was merged before.
    """
    now = utc_now()

    def merge(cursor: duckdb.DuckDBPyConnection) -> None:
        found = _incidents(cursor, [into, *taken])
        for incident_id in dict.fromkeys(taken):
            _take_over(cursor, found[into], found[incident_id], now)

    if not taken:
        raise DecodeError("name at least one incident to merge", field="from")
    if into in taken:
        raise DecodeError("an incident cannot be merged into itself", field="from")
    store.control.run(merge)


def _incidents(cursor: duckdb.DuckDBPyConnection, ids: Collection[str]) -> dict[str, dict[str, Any]]:
    found = {row["incident_id"]: row for row in fetch(cursor, SQL["incidents"], {"ids": list(ids)})}
    for incident_id in ids:
        if incident_id not in found:
            raise NotFound(f"no incident {incident_id}")
        if merged_into := found[incident_id]["merged_into"]:
            raise DecodeError(f"{incident_id} was merged into {merged_into}", field="from")
    return found


def _take_over(cursor: duckdb.DuckDBPyConnection, into: dict[str, Any], taken: dict[str, Any], now: datetime) -> None:
    """*into* is changed as its row is, for the next one."""
    both = {"into": into["incident_id"], "taken": taken["incident_id"]}
    cursor.execute(SQL["move_episodes"], both)
    cursor.execute(SQL["move_captures"], both)
    _move_traces(cursor, **both)
    cursor.execute(SQL["take_over"], both | {"at": now})
    if badness(taken["severity"]) > badness(into["severity"]):
        into |= {"severity": taken["severity"], "title": taken["title"]}
    is_open = "open" in (into["status"], taken["status"])
    into |= {
        "status": "open" if is_open else "resolved",
        "started_at": min(into["started_at"], taken["started_at"]),
        "ended_at": None if is_open else max(into["ended_at"], taken["ended_at"]),
    }
    _change(cursor, into)
    lines = [
        Line(both["taken"], now, "merged", f"merged into {both['into']}"),
        Line(both["into"], now, "merged", f"took over {both['taken']}: {taken['title']}"),
    ]
    save_lines(cursor, lines)


def _move_traces(cursor: duckdb.DuckDBPyConnection, into: str, taken: str) -> None:
    refs = [
        TraceRef(**row)
        for incident_id in (into, taken)
        for row in fetch(cursor, INCIDENTS["traces_of"], {"incident_id": incident_id})
    ]
    for incident_id in (into, taken):
        cursor.execute(INCIDENTS["forget_traces"], {"incident_id": incident_id})
    rows = as_json([vars(ref) for ref in merge_traces(refs)])
    cursor.execute(INCIDENTS["save_traces"], {"incident_id": into, "rows": rows})


def split_incident(store: Store, incident_id: str, episodes: Collection[str], service: str) -> str:
    """
    Give some alerts of an incident an incident of *service* of their own, and return its id.

    What was captured of that service goes with them, if the old incident is about another. New alerts of the group go
    to the old one. Raises NotFound, and DecodeError when an episode is not of the incident, or none would be left.
    """
    now = utc_now()

    def split(cursor: duckdb.DuckDBPyConnection) -> str:
        old = _incidents(cursor, [incident_id])[incident_id]
        rows = fetch(cursor, INCIDENTS["episodes_of"], {"incident_id": incident_id})
        going, staying = _parted([Episode(**row) for row in rows], episodes)
        new = _new_incident(cursor, old, going, service)
        both = {"into": new, "taken": incident_id}
        cursor.execute(SQL["split_episodes"], both | {"episodes": list(episodes)})
        cursor.execute(SQL["split_captures"], both | {"service": service})
        was_closed = old["status"] == "resolved"
        _change(cursor, old | _state(staying, old["service_name"], is_closed=was_closed, ended_at=old["ended_at"]))
        names = ", ".join(sorted({episode.alertname for episode in going}))
        lines = [
            Line(incident_id, now, "split", f"{names} went to {new}"),
            Line(new, now, "split", f"split off {incident_id}"),
        ]
        save_lines(cursor, lines)
        return new

    return store.control.run(split)


def _parted(all_of_it: Sequence[Episode], wanted: Collection[str]) -> tuple[list[Episode], list[Episode]]:
    known = {episode.episode_id for episode in all_of_it}
    for episode_id in wanted:
        if episode_id not in known:
            raise DecodeError(f"{episode_id} is no alert of this incident", field="episodes")
    going = [episode for episode in all_of_it if episode.episode_id in wanted]
    staying = [episode for episode in all_of_it if episode.episode_id not in wanted]
    if not going or not staying:
        raise DecodeError("some of the alerts must go and some must stay", field="episodes")
    return going, staying


def _new_incident(
    cursor: duckdb.DuckDBPyConnection, old: dict[str, Any], going: Sequence[Episode], service: str
) -> str:
    """With a group of its own, which no new alert has."""
    new = new_id("inc")
    was_closed = old["status"] == "resolved"
    values = _state(going, service, is_closed=was_closed, ended_at=old["ended_at"]) | {
        "incident_id": new,
        "group_id": json.dumps({"split": new, "from": old["incident_id"]}),
        "service": service,
        "opened_at": min(episode.received_at for episode in going),
    }
    cursor.execute(SQL["save_incident"], values)
    return new


def _state(episodes: Sequence[Episode], service: str, *, is_closed: bool, ended_at: datetime | None) -> dict[str, Any]:
    """What the alerts make of an incident. One that was closed stays so, whatever its alerts do."""
    fires = any(episode.status == "firing" for episode in episodes) and not is_closed
    ends = [episode.ends_at for episode in episodes if episode.ends_at]
    return {
        "status": "open" if fires else "resolved",
        "title": title_of(worst(episodes), service),
        "severity": severity_of(worst(episodes)),
        "started_at": min(min(episode.starts_at, episode.active_at or episode.starts_at) for episode in episodes),
        "ended_at": None if fires else max(ends, default=ended_at),
    }


def _change(cursor: duckdb.DuckDBPyConnection, incident: dict[str, Any]) -> None:
    names = ("incident_id", "status", "title", "severity", "started_at", "ended_at")
    cursor.execute(SQL["change_incident"], {name: incident[name] for name in names})
