"""What the web needs of the running service; `app.Service` is it, tests have a small one."""

from __future__ import annotations

from typing import Protocol

from diagnose.config import Settings
from diagnose.model import Accepted, AlertGroup
from diagnose.query.question import QueryAnswer, Question
from diagnose.store.db import Store


class Service(Protocol):
    """Reading goes to `store` directly; what starts work or needs more than the database is a method."""

    @property
    def store(self) -> Store: ...
    @property
    def settings(self) -> Settings: ...

    def accept_alerts(self, group: AlertGroup) -> Accepted:
        """Returns after the commit. Raises StoreBusy when nothing became durable in time."""

    def run_sql(self, question: Question, *, who: str | None, client: int | None) -> QueryAnswer:
        """
        A reader's SQL over rows that are at most five seconds old. Raises QueryError.

        *who* shares the workers with others; *client* is the socket whose end stops the query.
        """

    def ready_problems(self) -> list[str]:
        """Why no alert can be taken now; empty when all is well."""
