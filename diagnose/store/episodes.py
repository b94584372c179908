"""
Which firing period an alert is about. No SQL here: `alerts.py` reads the periods, asks, and writes what changed.

A fingerprint is the same every time an alert fires, and startsAt may move earlier while it fires and differs between
the two halves of an HA pair. So neither names a period; this does:

    starts at or before the end of a known period   →  about that period, which is over: nothing changes any more
    later, and one is open                          →  about the open one
    later, and none is open                         →  a new period

    known: 10:00 to 10:20, and one open since 10:30
        a firing that started 10:05, late      →  the first; nothing happens
        a firing that started 10:29            →  the second; it began 10:29 then
        a resolve of 10:05 to 10:19, late      →  the first; the second stays open

An end that nobody told, but that was inferred from silence, is taken back when a sender of the present says otherwise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from diagnose.model import Alert, rfc3339

News = Literal["began", "revived", "moved", "ended"]


@dataclass
class Member:
    """One fingerprint as sent. Several are one alert when they differ only in ignored labels (`replica`)."""

    fires_from: datetime | None = None
    ended_at: datetime | None = None

    @property
    def fires(self) -> bool:
        """An end that lies before the latest known start is the end of something earlier that we missed."""
        return self.fires_from is not None and (self.ended_at is None or self.fires_from > self.ended_at)

    def hear(self, starts_at: datetime, ended_at: datetime | None) -> None:
        if ended_at is None:
            self.fires_from = max(starts_at, self.fires_from or starts_at)
        else:
            self.ended_at = max(ended_at, self.ended_at or ended_at)


@dataclass
class Period:
    """
    One episode during the intake of messages.

    `news` is what the message at hand did to it, `has_changed` whether it must be written, `is_counted` whether its
    incident knows that it fires.
    """

    episode_id: str
    fingerprint: str
    incident_id: str | None
    starts_at: datetime
    ends_at: datetime | None
    ended_by: str | None = None
    expires_at: datetime | None = None
    members: dict[str, Member] = field(default_factory=dict)
    is_new: bool = False
    has_changed: bool = False
    is_counted: bool = False
    news: set[News] = field(default_factory=set)

    @property
    def is_open(self) -> bool:
        return self.ends_at is None

    def revive(self) -> None:
        self.ends_at, self.ended_by = None, None
        self._tell("revived")

    def renew(self, expires_at: datetime | None) -> None:
        """It was sent again without anything new: it ends later, unless it has ended already."""
        if self.is_open and expires_at and self.expires_at and expires_at > self.expires_at:
            self.expires_at = expires_at
            self.has_changed = True

    def hear(self, alert: Alert, ended_at: datetime | None) -> None:
        """Take in a firing (*ended_at* None) or an end. The period ends when the last of its members has."""
        if alert.expires_at and alert.expires_at > (self.expires_at or alert.starts_at):
            self.expires_at = alert.expires_at
            self.has_changed = True
        self.members.setdefault(alert.fingerprint, Member()).hear(alert.starts_at, ended_at)
        if alert.starts_at < self.starts_at:
            self.starts_at = alert.starts_at
            self._tell("moved")
        ends = [member.ended_at for member in self.members.values() if member.ended_at]
        if ends and not any(member.fires for member in self.members.values()):
            self.ends_at = max(ends)
            self._tell("ended")

    def _tell(self, news: News) -> None:
        self.news.add(news)
        self.has_changed = True


class Periods:
    """The periods of one alert that a message can be about: the open one, and those that ended late enough."""

    def __init__(self, fingerprint: str, periods: Iterable[Period]) -> None:
        self._fingerprint = fingerprint
        self._periods = list(periods)

    def take(self, alert: Alert, ended_at: datetime | None, *, is_present: bool = False) -> Period:
        """
        The period *alert* is about, changed if it was open and new if there was none.

        One whose end was only inferred goes on when *alert* fires and *is_present* (not a message that may be late).
        """
        period = self._about(alert.starts_at)
        if period is None:
            period = self._begin(alert.starts_at)
        if is_present and period.ended_by and ended_at is None and not any(each.is_open for each in self._periods):
            period.revive()
        if period.is_open:
            period.hear(alert, ended_at)
        return period

    def _about(self, starts_at: datetime) -> Period | None:
        over = [period for period in self._periods if period.ends_at and period.ends_at >= starts_at]
        if over:
            return min(over, key=lambda period: period.ends_at or starts_at)
        return next((period for period in self._periods if period.is_open), None)

    def _begin(self, starts_at: datetime) -> Period:
        """Two periods of one alert never start alike, so that names them."""
        name = hashlib.sha256(f"{self._fingerprint} {rfc3339(starts_at)}".encode()).hexdigest()[:16]
        period = Period(f"ep-{name}", self._fingerprint, None, starts_at, None, is_new=True, news={"began"})
        self._periods.append(period)
        return period
