"""What every view needs to find: the running service and what is made from its settings once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from flask import current_app

from diagnose.errors import StoreBusy
from diagnose.redact import Redactor
from diagnose.web.service import Service

EXTENSION = "diagnose"
INGEST_AT_ONCE = 8  # of the server's threads; the others stay free for webhooks
EXPORTS_AT_ONCE = 2


class Slots:
    """So many threads may do one thing at once; one more is told to come back, instead of waiting in a thread."""

    def __init__(self, name: str, count: int) -> None:
        self._name = name
        self._free = threading.BoundedSemaphore(count)

    def take(self) -> None:
        """Raises StoreBusy when all are taken."""
        if not self._free.acquire(blocking=False):
            raise StoreBusy(f"too many {self._name} at once")

    def give_back(self) -> None:
        self._free.release()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Raises StoreBusy when all are taken."""
        self.take()
        try:
            yield
        finally:
            self.give_back()


@dataclass(frozen=True)
class Context:
    service: Service
    redactor: Redactor
    ingest_slots: Slots
    export_slots: Slots

    @classmethod
    def of(cls, service: Service) -> Context:
        settings = service.settings
        return cls(
            service,
            Redactor(settings.ingest.redact),
            ingest_slots=Slots("uploads", INGEST_AT_ONCE),
            export_slots=Slots("exports", EXPORTS_AT_ONCE),
        )


def current_context() -> Context:
    return cast("Context", current_app.extensions[EXTENSION])


def current_service() -> Service:
    return current_context().service
