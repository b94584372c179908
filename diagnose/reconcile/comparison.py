"""
The open episodes beside the lists of all Alertmanagers. No SQL and no HTTP here.

    listed, no episode is open      →  missed: the notification got lost, or we were not there
    listed, the episode is open     →  first time listed; silenced, inhibited, or notified again
    an episode is open, not listed  →  absent: it ended and nobody will tell, or its resolve is on the way
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime

from diagnose.alertmanager import ListedAlert
from diagnose.model import identity_of
from diagnose.store.endings import LastEnd, OpenEpisode

Listed = Mapping[str, ListedAlert]


@dataclass(frozen=True)
class Comparison:
    """`missed` are alerts; the others episode ids, `suppressed` with the new state."""

    missed: tuple[ListedAlert, ...]
    newly_listed: tuple[str, ...]
    suppressed: Mapping[str, str | None]
    absent: tuple[str, ...]


def union(lists: Iterable[Sequence[ListedAlert]], ignore_labels: Collection[str]) -> dict[str, ListedAlert]:
    """
    All listed alerts by identity: as the first to start, and suppressed only when it is so everywhere.

    The members of a cluster tell each other silences but not alerts, and a silence takes a moment to get around.
    """
    found: dict[str, ListedAlert] = {}
    for alert in (alert for alerts in lists for alert in alerts):
        identity = identity_of(alert.fingerprint, alert.labels, ignore_labels)
        known = found.get(identity)
        found[identity] = alert if known is None else _both(known, alert)
    return found


def _both(one: ListedAlert, other: ListedAlert) -> ListedAlert:
    first = min(one, other, key=lambda alert: alert.starts_at)
    return replace(
        first,
        receivers=tuple(dict.fromkeys((*one.receivers, *other.receivers))),
        suppressed=one.suppressed if other.suppressed else None,
    )


def candidates(listed: Listed, episodes: Iterable[OpenEpisode], receivers: AbstractSet[str]) -> dict[str, ListedAlert]:
    """What one of our *receivers* should have been notified of, and for which no episode is open."""
    is_open = {episode.fingerprint for episode in episodes}
    return {
        identity: alert
        for identity, alert in listed.items()
        if identity not in is_open and alert.suppressed is None and not receivers.isdisjoint(alert.receivers)
    }


def compare(
    listed: Listed, episodes: Sequence[OpenEpisode], wanted: Listed, ends: Mapping[str, LastEnd], *, before: datetime
) -> Comparison:
    """
    *wanted* are the `candidates`, and *ends* their last ends.

    Those that started at *before* or later may still be on their way and are not missed yet; nor are those that ended
    after they started, unless that end was only inferred.
    """
    present = [(episode, listed[episode.fingerprint]) for episode in episodes if episode.fingerprint in listed]
    return Comparison(
        missed=tuple(
            alert
            for identity, alert in wanted.items()
            if alert.starts_at < before and not _is_over(alert, ends.get(identity))
        ),
        newly_listed=tuple(episode.episode_id for episode, _ in present if not episode.is_listed),
        suppressed={
            episode.episode_id: alert.suppressed for episode, alert in present if episode.suppressed != alert.suppressed
        },
        absent=tuple(
            episode.episode_id for episode in episodes if episode.is_told_by_ours and episode.fingerprint not in listed
        ),
    )


def _is_over(alert: ListedAlert, end: LastEnd | None) -> bool:
    return end is not None and not end.is_inferred and end.ends_at >= alert.starts_at
