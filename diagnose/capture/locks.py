"""
One round per process at a time, whoever asks.

Two alerts on one process may come as two incidents within seconds. The second waits for the round of the first and then
shares what it fetched, instead of asking a busy process again and being refused (there is one CPU profiler). A baseline
gives way to an alert at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from diagnose.model import Capture

_STEP_S = 0.1


class Interruption:
    """Why a round should end early: the service stops, or an alert needs the process that a baseline is using."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._give_way = threading.Event()

    def give_way(self) -> None:
        self._give_way.set()

    @property
    def gave_way(self) -> bool:
        return self._give_way.is_set() and not self._stop.is_set()

    def is_set(self) -> bool:
        return self._stop.is_set() or self._give_way.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep, but no longer than until interrupted; whether that is so."""
        deadline = time.monotonic() + seconds
        while not self.is_set() and (left_s := deadline - time.monotonic()) > 0:
            self._stop.wait(min(_STEP_S, left_s))
        return self.is_set()


class Turns:
    """Who is using which process (by its pprof URL), and what was captured from it last."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._holders: dict[str, Interruption] = {}
        self._yielding: set[str] = set()
        self._latest: dict[str, tuple[float, tuple[Capture, ...]]] = {}

    @contextmanager
    def take(self, process: str, interruption: Interruption, *, yields: bool, timeout_s: float) -> Iterator[bool]:
        """
        Wait for the turn at *process* and hold it inside the block; False when it did not come within *timeout_s*.

        A holder that *yields* is interrupted as soon as one comes that does not.
        """
        mine = self._wait(process, interruption, yields=yields, timeout_s=timeout_s)
        try:
            yield mine
        finally:
            if mine:
                with self._changed:
                    del self._holders[process]
                    self._yielding.discard(process)
                    self._changed.notify_all()

    def _wait(self, process: str, interruption: Interruption, *, yields: bool, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while process in self._holders:
                if process in self._yielding and not yields:
                    self._holders[process].give_way()
                left_s = deadline - time.monotonic()
                if left_s <= 0 or interruption.is_set():
                    return False
                self._changed.wait(min(_STEP_S, left_s))
            self._holders[process] = interruption
            if yields:
                self._yielding.add(process)
            return True

    def remember(self, process: str, captures: Sequence[Capture]) -> None:
        """Keep the outcome of a round for those who come next."""
        with self._changed:
            self._latest[process] = (time.monotonic(), tuple(captures))

    def latest(self, process: str, max_age_s: float) -> tuple[Capture, ...]:
        """What the last round at *process* captured, if it ended at most *max_age_s* ago."""
        with self._changed:
            ended_s, captures = self._latest.get(process, (0.0, ()))
            return captures if time.monotonic() - ended_s <= max_age_s else ()


TURNS = Turns()
