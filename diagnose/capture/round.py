"""
One round on one process: the evidence that tells most about it now, in the order in which it may get lost.

    goroutine → goroutineleak → heap, mutex, block     milliseconds each; the process may die any moment
    cpu, and goroutine snapshots polled (wall)         beside each other when a snapshot is cheap, else in turn
    trace                                              only where a rule asks for it
    heap, mutex, block, goroutine again                what happened in between is the difference

Rows are planned first and every outcome is recorded; nothing that a target does raises.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from diagnose.capture.evidence import Evidence
from diagnose.capture.fetch import (
    Connection,
    Fetched,
    Interrupted,
    ProfilerBusy,
    TooManySeconds,
    fetch,
    fetch_trace,
)
from diagnose.capture.index import INDEX
from diagnose.capture.ledger import Ledger, Phase, RoundRequest, Step
from diagnose.capture.limits import (
    began,
    is_since,
    polling_ended,
    recent_captures,
    seconds_left,
    was_left_alone,
    why_not,
)
from diagnose.capture.locks import TURNS, Interruption, Turns
from diagnose.capture.network import Unreachable
from diagnose.capture.wall import BUSY_COST, COST, TOO_SLOW_S, is_cheap, poll, too_slow
from diagnose.errors import CaptureError, DiagnoseError
from diagnose.kinds import PROFILE_KINDS
from diagnose.model import Capture, Target
from diagnose.store.db import Store
from diagnose.telemetry import FAILURES, get_logger

__all__ = ["RoundRequest", "run_round"]

log = get_logger(__name__)
Got = TypeVar("Got")

SHARED_S = 60.0  # a profile of another round that is no older is evidence of the same moment
BACK_OFF_S = (1.0, 2.0, 4.0)  # while somebody else uses the CPU profiler
BUSY_S = 0.25  # a first snapshot that takes longer comes from a process short of CPU,
MANY_NOT_RUN = 20  # and so does one with as many goroutines that were started and have not run yet
LONGEST_TRACE_S = 5  # megabytes a second
SHORTEST_CPU_S = 3
UNREACHABLE_LIMIT = 2  # failures in a row after which the rest is not tried
SPARE_S = 30.0
ALERTED = {"alert", "manual"}
CPU: Step = ("cpu", "first")
WALL: Step = ("wall", "first")
TRACE: Step = ("trace", "first")

FIRST_ORDER = tuple(name for name, kind in PROFILE_KINDS.items() if not kind.sampling)
SAMPLED = tuple(name for name, kind in PROFILE_KINDS.items() if kind.sampling)
AGAIN_ORDER = (*(name for name, kind in PROFILE_KINDS.items() if kind.grows), "goroutine")


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


def cpu_seconds(asked: int, *, busy: bool) -> int:
    """A busy process is profiled for a shorter time, but always: that it is busy is what the profile explains."""
    return max(min(asked, SHORTEST_CPU_S), asked // 2) if busy else asked


def is_busy(snapshot: Fetched) -> bool:
    """Whether a goroutine snapshot comes from a process that is short of CPU."""
    return snapshot.took_s > BUSY_S or snapshot.profile.without_frames >= MANY_NOT_RUN


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
        self.busy = False
        self.seconds = request.seconds
        self._failures_in_a_row: list[str] = []
        self._on_request = _Once(self._announce)

    def run(self, turns: Turns, on_cheap: Callable[[], None]) -> None:
        recent = recent_captures(self.store, self.target, self.request)
        has = {(capture.kind, capture.phase) for capture in recent}
        steps = [step for step in steps_for(self.request.kinds) if step not in has]
        if not steps:
            return
        continues = bool(recent) and not was_left_alone(recent)
        reason = why_not(self.store, self.target, self.request, continues=continues)
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
        """Evidence for another alert is evidence for this one; from before this began, or from health, it is not."""
        began_at = began(self.store, self.request)
        for capture in latest:
            step: Step = (capture.kind, capture.phase)
            alike = capture.trigger == self.request.trigger or {capture.trigger, self.request.trigger} == ALERTED
            if alike and step in self.ledger.planned and is_since(capture, began_at):
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
            self._trace(connection)
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

    def _try(
        self, connection: Connection, step: Step, get: Callable[[], Got], seconds: int | None = None
    ) -> Got | None:
        """What *get* fetched; None when it failed, which is recorded, or when it is not worth trying."""
        if self.interruption.is_set():
            return None
        if len(self._failures_in_a_row) >= UNREACHABLE_LIMIT:
            self.ledger.given_up(step, f"not tried, the process does not answer: {self._failures_in_a_row[-1]}")
            return None
        self.ledger.begin(step, seconds)
        before = connection.cost
        try:
            fetched = get()
        except Interrupted:
            return None
        except CaptureError as err:
            self._failures_in_a_row = [*self._failures_in_a_row, str(err)] if isinstance(err, Unreachable) else []
            self.ledger.charge(step, connection.cost.since(before))
            self.ledger.failed(step, err)
            return None
        self.ledger.charge(step, connection.cost.since(before))
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
            fetched = self._try(connection, step, partial(fetch, connection, PROFILE_KINDS[kind]))
            if fetched:
                if step == ("goroutine", "first"):
                    self.snapshot_s, self.busy = fetched.took_s, is_busy(fetched)
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
        """The CPU and the wall profile; without them the time over which things grow."""
        self._keep_to_budget()
        if not self._to_sample():
            if self.ledger.planned:
                self.interruption.wait(self.request.seconds)
            return
        if self.request.jitter_s:
            self.interruption.wait(random.uniform(0, self.request.jitter_s))  # noqa: S311  not for secrets
        cpu, wall = (step in self.ledger.planned for step in (CPU, WALL))
        if cpu and wall and self.snapshot_s is not None and is_cheap(self.snapshot_s, self.seconds):
            with ThreadPoolExecutor(1, thread_name_prefix="wall") as beside:
                polling = beside.submit(self._wall)
                self._cpu(connection)
            polling.result()
            return
        if cpu:
            self._cpu(connection)
        if WALL in self.ledger.planned:  # also when the CPU profiler was taken
            self._wall()

    def _to_sample(self) -> list[Step]:
        return [step for step in self.ledger.planned if step[0] in SAMPLED]

    def _keep_to_budget(self) -> None:
        """Shorten what is sampled to the seconds that are left of this hour; skip it when those are too few."""
        steps, left = self._to_sample(), seconds_left(self.store, self.target, self.request)
        if not steps or left is None:
            return
        self.seconds = min(self.request.seconds, left // len(steps))
        if self.seconds < min(SHORTEST_CPU_S, self.request.seconds):
            self.ledger.skip(steps, f"seconds_per_hour is {self.request.seconds_per_hour}, of which {left} are left")

    def _cpu(self, connection: Connection) -> None:
        seconds = cpu_seconds(self.seconds, busy=self.busy)
        fetched = self._try(connection, CPU, partial(self._patiently, connection, seconds), seconds)
        if fetched:
            short = f"{seconds} s in place of {self.request.seconds}: " + (
                "the process is short of CPU" if self.busy else "what is left of seconds_per_hour"
            )
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
        if reason := self._why_no_polling():
            self.ledger.skip([WALL], f"{reason}: polling would be a burden")
            return
        if self.interruption.is_set():
            return
        self.ledger.begin(WALL, self.seconds)
        with self._connect() as connection:
            try:
                cost = BUSY_COST if self.busy else COST
                polled = poll(connection, seconds=self.seconds, pause=self.interruption.wait, cost=cost)
            except Interrupted:
                return
            except CaptureError as err:
                self.ledger.charge(WALL, connection.cost)
                self.ledger.failed(WALL, err)
                return
            self.ledger.charge(WALL, connection.cost)
        self.evidence.keep_wall(WALL, polled)

    def _why_no_polling(self) -> str:
        if self.snapshot_s is not None and self.snapshot_s > TOO_SLOW_S:
            return too_slow(self.snapshot_s)
        return polling_ended(self.store, self.target, self.request)

    def _trace(self, connection: Connection) -> None:
        if TRACE not in self.ledger.planned:
            return
        if self.busy:
            self.ledger.skip([TRACE], "the process is short of CPU: an execution trace would be a burden")
            return
        seconds = min(self.seconds, LONGEST_TRACE_S)
        body = self._try(connection, TRACE, partial(fetch_trace, connection, seconds=seconds), seconds)
        if body:
            self.evidence.keep_trace(TRACE, body)


class _Once:
    """Calls a function the first time only."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._lock = threading.Lock()

    def __call__(self) -> None:
        if self._lock.acquire(blocking=False):
            self._call()
