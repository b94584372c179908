"""
One round on one process: the evidence that tells most about it now, in the order in which it may get lost.

    goroutine → goroutineleak → heap, mutex, block     milliseconds each; the process may die any moment
    cpu, and goroutine snapshots polled (wall)         beside each other when a snapshot is cheap, else in turn
    heap, mutex, block, goroutine again                what happened in between is the difference

Rows are planned first and every outcome is recorded; nothing that a target does raises.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from diagnose.capture.evidence import Evidence
from diagnose.capture.fetch import (
    Connection,
    Fetched,
    Interrupted,
    ProfilerBusy,
    TooManySeconds,
    fetch,
)
from diagnose.capture.index import INDEX
from diagnose.capture.kinds import PROFILE_KINDS
from diagnose.capture.ledger import Ledger, Phase, RoundRequest, Step
from diagnose.capture.limits import recent_captures, why_not
from diagnose.capture.locks import TURNS, Interruption, Turns
from diagnose.capture.network import Unreachable
from diagnose.capture.wall import TOO_SLOW_S, is_cheap, poll
from diagnose.errors import CaptureError, DiagnoseError
from diagnose.model import Capture, Target
from diagnose.store.db import Store
from diagnose.telemetry import FAILURES, get_logger

__all__ = ["RoundRequest", "run_round"]

log = get_logger(__name__)

SHARED_S = 60.0  # a profile of another round that is no older is evidence of the same moment
BACK_OFF_S = (1.0, 2.0, 4.0)  # while somebody else uses the CPU profiler
BUSY_S = 0.25  # a first snapshot that takes longer comes from a process short of CPU
SHORTEST_CPU_S = 3
UNREACHABLE_LIMIT = 2  # failures in a row after which the rest is not tried
SPARE_S = 30.0
ALERTED = {"alert", "manual"}
CPU: Step = ("cpu", "first")
WALL: Step = ("wall", "first")

FIRST_ORDER = ("goroutine", "goroutineleak", "heap", "allocs", "mutex", "block")
SAMPLED = ("cpu", "wall")
AGAIN_ORDER = ("heap", "allocs", "mutex", "block", "goroutine")


def run_round(
    store: Store,
    target: Target,
    request: RoundRequest,
    *,
    on_cheap: Callable[[], None],
    stop: threading.Event,
    turns: Turns = TURNS,
    back_off_s: tuple[float, ...] = BACK_OFF_S,
) -> list[Capture]:
    """
    Capture what *request* asks for from *target*, and return the rows with their outcome.

    *on_cheap* is called once, after the first snapshots are stored or when the round ends without. A round on a process
    that another round is using waits for it and shares what that one got. An empty list means that the incident has
    everything already. When *stop* is set, rows that are not finished stay as they are, to be found at the next start.
    """
    cheap = _Once(on_cheap)
    round_ = _Round(store, target, request, Interruption(stop), back_off_s)
    try:
        round_.run(turns, cheap)
    except DiagnoseError:  # of the store: closing or full; there is no row to write it into
        FAILURES.labels("capture").inc()
        log.exception("capture round broken off", target=target.name, instance=target.instance)
    finally:
        cheap()
    return round_.ledger.captures


def steps_for(kinds: tuple[str, ...]) -> list[Step]:
    """
    The steps of a round in their order; nothing of a kind that is not known.

        (heap, cpu)  →  heap first, cpu first, heap again
        (cpu, wall)  →  goroutine first, cpu first, wall first, goroutine again     polling starts with a snapshot
    """
    wanted = {*kinds, *({"goroutine"} if "wall" in kinds else ())}
    first: list[Step] = [(kind, "first") for kind in FIRST_ORDER if kind in wanted]
    sampled: list[Step] = [(kind, "first") for kind in SAMPLED if kind in wanted]
    again: list[Step] = [(kind, "again") for kind in AGAIN_ORDER if kind in wanted]
    growing = any(PROFILE_KINDS[kind].grows for kind, _ in again)
    return first + sampled + (again if sampled or growing else [])


def cpu_seconds(asked: int, snapshot_s: float | None) -> int:
    """A busy process is profiled for a shorter time, but always: that it is busy is what the profile explains."""
    if snapshot_s is None or snapshot_s <= BUSY_S:
        return asked
    return max(min(asked, SHORTEST_CPU_S), asked // 2)


class _Round:
    """The protocol on one process: first whether and what, then, while it is ours, the captures."""

    def __init__(
        self,
        store: Store,
        target: Target,
        request: RoundRequest,
        interruption: Interruption,
        back_off_s: tuple[float, ...],
    ) -> None:
        self.store = store
        self.target = target
        self.request = request
        self.interruption = interruption
        self.back_off_s = back_off_s
        self.ledger = Ledger(store, target, request)
        self.evidence = Evidence(store, target, self.ledger)
        self.snapshot_s: float | None = None
        self._failures_in_a_row: list[str] = []
        self._on_request = _Once(self._announce)

    def run(self, turns: Turns, on_cheap: Callable[[], None]) -> None:
        recent = recent_captures(self.store, self.target, self.request)
        has = {(capture.kind, capture.phase) for capture in recent}
        steps = [step for step in steps_for(self.request.kinds) if step not in has]
        if not steps:
            return
        reason = why_not(self.store, self.target, self.request, continues=bool(recent))
        self.ledger.plan(steps)
        yields = self.request.trigger == "baseline"
        timeout_s = 2 * self.request.seconds + SPARE_S
        with turns.take(self.target.pprof_url, self.interruption, yields=yields, timeout_s=timeout_s) as mine:
            if mine:
                self._while_mine(turns, reason, on_cheap)
        if not mine and not self.interruption.is_set():
            self.ledger.skip_rest(f"another round held this process for more than {timeout_s:g} s")
        if self.interruption.gave_way:
            self.ledger.skip_rest("gave way to an alert on the same process")

    def _while_mine(self, turns: Turns, reason: str | None, on_cheap: Callable[[], None]) -> None:
        self._share(turns.latest(self.target.pprof_url, SHARED_S))
        if reason:
            self.ledger.skip_rest(reason)
        if not self.ledger.planned:
            return
        self._capture(on_cheap)
        turns.remember(self.target.pprof_url, [each for each in self.ledger.captures if each.status == "done"])

    def _share(self, latest: tuple[Capture, ...]) -> None:
        """Evidence for another alert is evidence for this one; what was taken in health is another matter."""
        for capture in latest:
            step: Step = (capture.kind, capture.phase)
            alike = capture.trigger == self.request.trigger or {capture.trigger, self.request.trigger} == ALERTED
            if alike and step in self.ledger.planned:
                self.ledger.shared(step, capture)

    def _capture(self, on_cheap: Callable[[], None]) -> None:
        try:
            connection = self._connect()
        except CaptureError as err:  # the URL itself is refused
            for step in self.ledger.planned:
                self.ledger.failed(step, err)
            return
        with connection:
            self._snapshots(connection, "first")
            on_cheap()
            self._sampled(connection)
            self._snapshots(connection, "again")

    def _connect(self) -> Connection:
        return Connection(self.target, interrupted=self.interruption.is_set, on_request=self._on_request)

    def _announce(self) -> None:
        """In a thread of its own, so that its database write is not taken for the time a snapshot takes."""
        threading.Thread(target=self._say_first_request, name="first-request", daemon=True).start()

    def _say_first_request(self) -> None:
        try:
            self.request.on_first_request()
        except DiagnoseError as err:
            log.warning("time of the first request not kept", error=str(err))

    def _try(self, step: Step, get: Callable[[], Fetched]) -> Fetched | None:
        """What *get* fetched; None when it failed, which is recorded, or when it is not worth trying."""
        if self.interruption.is_set():
            return None
        if len(self._failures_in_a_row) >= UNREACHABLE_LIMIT:
            self.ledger.given_up(step, f"not tried, the process does not answer: {self._failures_in_a_row[-1]}")
            return None
        self.ledger.begin(step)
        try:
            fetched = get()
        except Interrupted:
            return None
        except CaptureError as err:
            self._failures_in_a_row = [*self._failures_in_a_row, str(err)] if isinstance(err, Unreachable) else []
            self.ledger.failed(step, err)
            return None
        self._failures_in_a_row = []
        return fetched

    def _snapshots(self, connection: Connection, phase: Phase) -> None:
        """All of one phase are fetched before any is stored: the process may not last as long as that takes."""
        for step, fetched in list(self._fetch_phase(connection, phase)):
            self.evidence.keep(step, fetched)

    def _fetch_phase(self, connection: Connection, phase: Phase) -> Iterator[tuple[Step, Fetched]]:
        for kind in FIRST_ORDER if phase == "first" else AGAIN_ORDER:
            step: Step = (kind, phase)
            if kind == "goroutineleak":
                self._look_for_leaks(connection)
            if step not in self.ledger.planned:
                continue
            fetched = self._try(step, partial(fetch, connection, PROFILE_KINDS[kind]))
            if fetched:
                self.snapshot_s = fetched.took_s if step == ("goroutine", "first") else self.snapshot_s
                yield step, fetched

    def _look_for_leaks(self, connection: Connection) -> None:
        """A part of every goroutine capture where the target offers it (an experiment in Go 1.26, always in 1.27)."""
        step: Step = ("goroutineleak", "first")
        asked = step in self.ledger.planned
        if not asked and (self.snapshot_s is None or self.ledger.has(step)):
            return
        try:
            offered = INDEX.offers(connection, "goroutineleak")
        except CaptureError:  # the next snapshot will say what is wrong
            return
        if offered:
            self.ledger.plan([step])
        elif asked:
            self.ledger.skip(
                [step], "the target does not offer it: Go 1.27, or GOEXPERIMENT=goroutineleakprofile in 1.26"
            )

    def _sampled(self, connection: Connection) -> None:
        cpu, wall = (step in self.ledger.planned for step in (CPU, WALL))
        if cpu and wall and self.snapshot_s is not None and is_cheap(self.snapshot_s, self.request.seconds):
            with ThreadPoolExecutor(1, thread_name_prefix="wall") as beside:
                polling = beside.submit(self._wall)
                self._cpu(connection)
            polling.result()
            return
        if cpu:
            self._cpu(connection)
        if WALL in self.ledger.planned:  # also when the CPU profiler was taken
            self._wall()
        if not cpu and not wall and self.ledger.planned:
            self.interruption.wait(self.request.seconds)  # the time over which things grow

    def _cpu(self, connection: Connection) -> None:
        seconds = cpu_seconds(self.request.seconds, self.snapshot_s)
        fetched = self._try(CPU, partial(self._patiently, connection, seconds))
        if fetched:
            short = f"{seconds} s in place of {self.request.seconds}: the process answers slowly"
            self.evidence.keep(CPU, fetched, short if seconds < self.request.seconds else "")

    def _patiently(self, connection: Connection, seconds: int) -> Fetched:
        """The CPU profile: wait while the profiler is in use, ask for less where the server allows less."""
        for pause_s in (*self.back_off_s, None):
            try:
                return fetch(connection, PROFILE_KINDS["cpu"], seconds=seconds)
            except TooManySeconds:
                if pause_s is None or seconds == 1:
                    raise
                seconds = max(1, seconds // 2)
            except ProfilerBusy:
                if pause_s is None:
                    self.ledger.plan([WALL])  # what is left to see where time goes
                    raise
                self.interruption.wait(pause_s)
        raise AssertionError("the last attempt returns or raises")

    def _wall(self) -> None:
        if self.snapshot_s is not None and self.snapshot_s > TOO_SLOW_S:
            self.ledger.skip([WALL], f"a goroutine snapshot took {self.snapshot_s:.1f} s: polling would be a burden")
            return
        if self.interruption.is_set():
            return
        self.ledger.begin(WALL)
        try:
            with self._connect() as connection:
                polled = poll(connection, seconds=self.request.seconds, pause=self.interruption.wait)
        except Interrupted:
            return
        except CaptureError as err:
            self.ledger.failed(WALL, err)
            return
        self.evidence.keep_wall(WALL, polled)


class _Once:
    """Calls a function the first time only."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._lock = threading.Lock()

    def __call__(self) -> None:
        if self._lock.acquire(blocking=False):
            self._call()
