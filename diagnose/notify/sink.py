"""
What a sink is.

A new one: `notify/<name>.py` with one class, its settings class in config/settings.py, its line in `SINKS` and its line
in tests/contracts/test_sinks.py.
"""

from __future__ import annotations

from typing import Protocol

from diagnose.notify.message import Message


class Sink(Protocol):
    """Where reports go. One thread at a time calls one sink."""

    @property
    def name(self) -> str:
        """Its name in the settings and in `deliveries`."""
        ...

    def deliver(self, message: Message) -> str | None:
        """
        Send *message*; returns what identifies it over there (kept as external_ref), if anything does.

        Raises SinkError, which says whether to try again and whose text never holds a secret.
        """
        ...
