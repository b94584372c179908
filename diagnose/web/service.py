"""What the web needs of the running service; `app.Service` is it, tests have a small one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from diagnose.by_hand import Wanted
from diagnose.config import Reloaded, Settings
from diagnose.model import Accepted, AlertGroup, Labels
from diagnose.query.question import QueryAnswer, Question
from diagnose.store.db import Store
from diagnose.store.retention import Removed
from diagnose.store.spool import Spool


class Service(Protocol):
    """Reading goes to `store` directly; what starts work or needs more than the database is a method."""

    @property
    def store(self) -> Store: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def spool(self) -> Spool: ...

    def accept_alerts(self, group: AlertGroup) -> Accepted:
        """Returns after the commit. Raises StoreBusy when nothing became durable in time."""

    def dry_run(self, group: AlertGroup) -> list[dict[str, Any]]:
        """What would be done about each alert and why, in the shape of `planning.dry_run`. Nothing is stored."""

    def close_incident(self, incident_id: str, why: str) -> None:
        """By hand, with a last report. Raises NotFound."""

    def merge_incidents(self, into: str, taken: Sequence[str]) -> None:
        """Raises NotFound, and DecodeError when they cannot be merged."""

    def split_incident(self, incident_id: str, episodes: Sequence[str]) -> str:
        """The id of the new incident. Raises NotFound, and DecodeError when they cannot be split."""

    def capture(self, incident_id: str, wanted: Wanted) -> None:
        """Once more by hand; returns at once. Raises NotFound."""

    def capture_targets(self, name: str | None, labels: Labels, wanted: Wanted, instances: int) -> str:
        """Profiles without an alert; the id of the incident they get. Raises NotFound when no target is meant."""

    def reload(self) -> Reloaded:
        """Read the settings again. Raises ConfigError with every mistake; then the old ones stay."""

    def run_sql(self, question: Question, *, who: str | None, client: int | None) -> QueryAnswer:
        """
        A reader's SQL over rows that are at most five seconds old. Raises QueryError.

        *who* shares the workers with others; *client* is the socket whose end stops the query.
        """

    def run_retention(self) -> Removed:
        """Remove what is old now. Raises StoreError."""

    def ready_problems(self) -> list[str]:
        """Why no alert can be taken now; empty when all is well."""
