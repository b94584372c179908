"""
Looks at the alerts of every Alertmanager now and then, first of all at start, and brings what we know up to date.

An open episode is ended when two looks in a row did not find its alert, and only when every Alertmanager answered and
had been running long enough to have its alerts back. Where no Alertmanager can tell, nothing is ended.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from diagnose.alertmanager import Alertmanager, ListedAlert
from diagnose.config import Settings
from diagnose.errors import UpstreamError
from diagnose.model import Alert, AlertGroup, utc_now
from diagnose.periodic import Periodic
from diagnose.reconcile.comparison import Comparison, candidates, compare, union
from diagnose.store.db import Store
from diagnose.store.endings import (
    OpenEpisode,
    end_episodes,
    expire_episodes,
    last_ends,
    mark_episodes,
    open_episodes,
    told_receivers,
)
from diagnose.telemetry import RECONCILED, get_logger

log = get_logger(__name__)
SOURCE = "reconciled"


@dataclass(frozen=True)
class Listing:
    """What one Alertmanager said."""

    alerts: list[ListedAlert]
    started_at: datetime


class Reconciler:
    """
    One thread; `start`, `stop`, and `wake` to look now.

    *accept* takes alerts as if they had been sent; *conclude* is told of incidents whose last alert has ended.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        accept: Callable[[AlertGroup], object],
        conclude: Callable[[Sequence[str]], None],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store = store
        self._accept = accept
        self._conclude = conclude
        self._clock = clock
        self._started_at = clock()
        self._absent_since: dict[str, datetime] = {}
        self._silent: set[str] = set()
        self._eager = False
        self.use(settings)
        self._thread = Periodic("reconcile", self._turn, self._every_s)

    def use(self, settings: Settings) -> None:
        """From the next look on."""
        self._settings = settings
        self._alertmanagers = [Alertmanager(server) for server in settings.alertmanagers]

    def start(self) -> None:
        self._thread.start()
        self._thread.wake()

    def stop(self) -> None:
        """Returns when the look that runs is over."""
        self._thread.stop()

    def wake(self) -> None:
        """Look now, and take in what is listed however new it is: a message said that alerts were left out of it."""
        self._eager = True
        self._thread.wake()

    def _every_s(self) -> float:
        return self._settings.reconcile.every.total_seconds()

    def _turn(self) -> None:
        eager, self._eager = self._eager, False
        self.look(eager=eager)

    def look(self, *, eager: bool = False) -> None:
        """One look at everything. With *eager*, alerts that began a moment ago count as missed too."""
        now = self._clock()
        if now >= self._started_at + self._settings.reconcile.settle:  # whoever sends them may just have found us again
            self._conclude(expire_episodes(self._store, now))
        if self._alertmanagers:
            episodes = open_episodes(self._store, [each.server.url for each in self._alertmanagers])
            self._bring_up_to_date(episodes, self._listings(), now, eager=eager)

    def _listings(self) -> list[Listing | None]:
        """One per Alertmanager; None for one that does not answer."""
        with ThreadPoolExecutor(len(self._alertmanagers), thread_name_prefix="alertmanager") as pool:
            return list(pool.map(self._ask, self._alertmanagers))

    def _ask(self, alertmanager: Alertmanager) -> Listing | None:
        try:
            listing = Listing(alertmanager.alerts(), alertmanager.started_at())
        except UpstreamError as err:
            if alertmanager.name not in self._silent:
                log.warning("Alertmanager cannot be asked; no alert is taken for ended", error=str(err))
            self._silent.add(alertmanager.name)
            return None
        self._silent.discard(alertmanager.name)
        return listing

    def _bring_up_to_date(
        self, episodes: Sequence[OpenEpisode], listings: Sequence[Listing | None], now: datetime, *, eager: bool
    ) -> None:
        answered = [listing for listing in listings if listing]
        found = self._compare(episodes, answered, now, eager=eager)
        mark_episodes(self._store, listed=found.newly_listed, suppressed=found.suppressed, now=now)
        if found.missed:
            RECONCILED.labels("opened").inc(len(found.missed))
            self._accept(self._message(found.missed, now))
        settled = now - self._settings.reconcile.settle
        complete = len(answered) == len(listings) and all(listing.started_at <= settled for listing in answered)
        self._end_absent(found.absent if complete else (), now)

    def _compare(
        self, episodes: Sequence[OpenEpisode], answered: Sequence[Listing], now: datetime, *, eager: bool
    ) -> Comparison:
        listed = union((listing.alerts for listing in answered), self._settings.incidents.ignore_labels)
        wanted = candidates(listed, episodes, self._receivers())
        earliest = min((alert.starts_at for alert in wanted.values()), default=now)
        ends = last_ends(self._store, wanted, earliest) if wanted else {}
        before = now if eager else now - self._settings.reconcile.every
        return compare(listed, episodes, wanted, ends, before=before)

    def _receivers(self) -> set[str]:
        """In a message the name stands with its special characters escaped: `team\\.a`."""
        told = {re.sub(r"\\(.)", r"\1", name) for name in told_receivers(self._store)}
        return told.union(*(server.receivers for server in self._settings.alertmanagers))

    def _message(self, missed: Sequence[ListedAlert], now: datetime) -> AlertGroup:
        log.info("alerts opened that nobody told us of", count=len(missed))
        return AlertGroup(
            source=SOURCE,
            group_key="",
            receiver="",
            status="firing",
            external_url="",
            alerts=tuple(map(_alert, missed)),
            received_at=now,
            body=b"",
            notification_reason="listed by Alertmanager",
        )

    def _end_absent(self, absent: Sequence[str], now: datetime) -> None:
        """Ends those that were absent at the last look already, as of then."""
        ends = {each: self._absent_since[each] for each in absent if each in self._absent_since}
        self._absent_since = {each: self._absent_since.get(each, now) for each in absent}
        if ends:
            log.info("alerts ended that no Alertmanager has any more", count=len(ends))
            RECONCILED.labels("vanished").inc(len(ends))
            self._conclude(end_episodes(self._store, ends, "vanished", now))


def _alert(listed: ListedAlert) -> Alert:
    return Alert(
        fingerprint=listed.fingerprint,
        status="firing",
        labels=listed.labels,
        annotations=listed.annotations,
        starts_at=listed.starts_at,
        ends_at=None,
        generator_url=listed.generator_url,
    )
