"""
The wall-clock profile of a remote process: goroutine snapshots polled for a while, at a rate their own cost allows.

Waiting is invisible in a CPU profile, and the CPU profiler may be taken; the stacks of all goroutines can always be
asked for. Polling takes about 2 % of the process's time at most: with 10,000 goroutines, ten snapshots a second took
63 % of all CPU samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from diagnose.capture.fetch import Connection, fetch
from diagnose.errors import CaptureError
from diagnose.kinds import PROFILE_KINDS
from diagnose.pprof.pool import SHARED as PARSERS
from diagnose.pprof.pool import Wall

MIN_INTERVAL_S = 0.1
COST = 50  # an interval is at least this many times what a snapshot takes
ENOUGH_SNAPSHOTS = 10
BUSY_COST = 2 * COST  # while the process is short of CPU
TOO_SLOW_S = 1.0
TOO_SLOW = "a goroutine snapshot took"


@dataclass(frozen=True)
class Polled:
    """`cost_s`: what all snapshots took together. `ended_by`: why it was over before its time, or empty."""

    wall: Wall
    snapshots: int
    took_s: float
    cost_s: float
    bytes: int
    ended_by: str = ""

    def __str__(self) -> str:
        per_s = self.snapshots / self.took_s if self.took_s else 0.0
        share = self.cost_s / self.took_s if self.took_s else 0.0
        text = f"{self.snapshots} snapshots, {per_s:.1f}/s; one took {self.cost_s / self.snapshots * 1000:.0f} ms"
        return f"{text}, {share:.1%} of the time" + (f"; {self.ended_by}" if self.ended_by else "")


def interval_s(snapshot_s: float, cost: int = COST) -> float:
    """The shortest time between two snapshots that take *snapshot_s* each: 2 ms → 0.1 s, 30 ms → 1.5 s."""
    return max(MIN_INTERVAL_S, cost * snapshot_s)


def too_slow(snapshot_s: float) -> str:
    """What is said about a process whose goroutines are not polled any more."""
    return f"{TOO_SLOW} {snapshot_s:.1f} s"


def is_cheap(snapshot_s: float, seconds: int) -> bool:
    """Whether enough snapshots fit into *seconds* for polling beside a CPU profile; otherwise they come after it."""
    return seconds / interval_s(snapshot_s) >= ENOUGH_SNAPSHOTS


def poll(connection: Connection, *, seconds: float, pause: Callable[[float], bool], cost: int = COST) -> Polled:
    """
    Take snapshots for *seconds*, one per *cost* times what they take, by their own median.

    *pause* sleeps for so many seconds and says whether to stop. Ends early for that, when a snapshot takes longer than
    TOO_SLOW_S, or when one fails after the first. Raises CaptureError when nothing was got.
    """
    snapshots = _Snapshots()
    ended_by = ""
    while True:
        try:
            took_s = snapshots.take(connection)
        except CaptureError as err:
            if not snapshots.taken:
                raise
            ended_by = f"then: {err}"
            break
        if took_s > TOO_SLOW_S:
            ended_by = too_slow(took_s)
            break
        pause_s = max(0.0, interval_s(median(snapshots.costs_s), cost) - took_s)
        if snapshots.age_s() + pause_s > seconds or pause(pause_s):
            break
    return snapshots.combined(ended_by)


class _Snapshots:
    """What was taken so far. Times come from the monotonic clock, so that they rise whatever happens to the other."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, bytes]] = []
        self.costs_s: list[float] = []
        self._bytes = 0
        self._began_s, self._began_ns = time.monotonic(), time.time_ns()

    def age_s(self) -> float:
        return time.monotonic() - self._began_s

    def take(self, connection: Connection) -> float:
        """One more; returns the seconds it took."""
        fetched = fetch(connection, PROFILE_KINDS["goroutine"])
        self.taken.append((self._began_ns + int(self.age_s() * 1e9), fetched.body))
        self.costs_s.append(fetched.took_s)
        self._bytes += len(fetched.body)
        return fetched.took_s

    def combined(self, ended_by: str) -> Polled:
        return Polled(
            wall=PARSERS.combine(self.taken),
            snapshots=len(self.taken),
            took_s=self.age_s(),
            cost_s=sum(self.costs_s),
            bytes=self._bytes,
            ended_by=ended_by,
        )
