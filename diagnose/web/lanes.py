"""
Which of the listener's threads a request may take: no kind of request can take them all.

    webhooks   alerts; each may wait for its commit, so this bounds the waiters too
    uploads    OTLP, remote write, profiles: those at work (Context.ingest_slots) and as many that are told to come back
    reads      everything else but health, which always finds a thread
"""

from __future__ import annotations

from flask import Flask, g, request

from diagnose.errors import StoreBusy
from diagnose.web.context import INGEST_AT_ONCE, Slots

WEBHOOKS = {"ingest.webhook", "ingest.direct_alerts"}
AT_ONCE = {"webhooks": 24, "uploads": 2 * INGEST_AT_ONCE, "reads": 16}
SPARE = 4  # for health, and for saying that a lane is full
THREADS = sum(AT_ONCE.values()) + SPARE


class Lanes:
    def __init__(self) -> None:
        self._slots = {name: Slots(name, count) for name, count in AT_ONCE.items()}

    def register(self, app: Flask) -> None:
        app.before_request(self.enter)
        app.teardown_request(_leave)

    def enter(self) -> None:
        """Raises StoreBusy when the lane is full; then the connection ends, since reading on would cost a thread."""
        lane = _lane()
        if lane is None:
            return
        try:
            self._slots[lane].take()
        except StoreBusy:
            g.body_broken = True
            raise
        g.slots = self._slots[lane]


def _leave(_error: BaseException | None) -> None:
    if slots := g.pop("slots", None):
        slots.give_back()


def _lane() -> str | None:
    if request.endpoint is None or request.blueprint == "health":
        return None
    if request.blueprint == "ingest":
        return "webhooks" if request.endpoint in WEBHOOKS else "uploads"
    return "reads"
