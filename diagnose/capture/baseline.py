"""
The same evidence when nothing is wrong: what a finding compares with.

Each target gets a first round a while after it is seen, is up again, or runs another build than before, then one every
hour or so, never while an incident of its service is open. A round that got nothing is tried again soon.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

from diagnose.capture.builds import look_at_build
from diagnose.capture.locks import TURNS, Turns
from diagnose.capture.round import RoundRequest, run_round
from diagnose.capture.targets import AllowedTarget, TargetDirectory
from diagnose.config import Settings
from diagnose.model import Target, utc_now
from diagnose.periodic import Periodic
from diagnose.store.captures import last_round
from diagnose.store.db import Store
from diagnose.telemetry import FAILURES, get_logger

log = get_logger(__name__)

ROUNDS_AT_ONCE = 4
JITTER = 0.1  # of the time between two rounds, so that the instances of a service do not stop together
RETRY_S = 60.0
BUILD_S = 30.0  # how often a process is asked which build it runs


class BaselineScheduler:
    """Starts with `start`; `stop` interrupts what runs and returns when it is over. *busy* says a service is sick."""

    def __init__(
        self,
        store: Store,
        directory: TargetDirectory,
        settings: Settings,
        busy: Callable[[str], bool],
        *,
        turns: Turns = TURNS,
        tick_s: float = 1.0,
        build_s: float = BUILD_S,
    ) -> None:
        self._store = store
        self._directory = directory
        self._settings = settings.baseline
        self._busy = busy
        self._turns = turns
        self._build_s = build_s
        self._lock = threading.Lock()
        self._due_s: dict[str, float] = {}
        self._running: set[str] = set()
        self._looked_s: dict[str, float] = {}
        self._pool = ThreadPoolExecutor(ROUNDS_AT_ONCE, thread_name_prefix="baseline")
        self._thread = Periodic("baseline", self._look, lambda: tick_s)

    def start(self) -> None:
        if self._settings.kinds:
            self._thread.start()

    def stop(self) -> None:
        self._thread.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _look(self) -> None:
        """Start what is due. A target that cannot be scraped is forgotten: it starts anew when it is back."""
        now_s = time.monotonic()
        up = {target.pprof_url: target for target in self._directory.all() if target.up}
        with self._lock:
            for url in self._due_s.keys() - up.keys() - self._running:
                del self._due_s[url]
            new = [target for url, target in up.items() if url not in self._due_s]
        for target in new:
            self._set_due(target, now_s + self._first_s(target))
        self._look_at_builds(up, now_s)
        for url, target in up.items():
            if self._due_s[url] <= now_s and url not in self._running and not self._busy(target.service):
                with self._lock:
                    self._running.add(url)
                self._pool.submit(self._round, target).add_done_callback(_report)

    def _look_at_builds(self, up: Mapping[str, AllowedTarget], now_s: float) -> None:
        """In the pool: a process that hangs must not hold up the others."""
        for url in self._looked_s.keys() - up.keys():
            del self._looked_s[url]
        for url, target in up.items():
            if url not in self._running and now_s - self._looked_s.get(url, -math.inf) >= self._build_s:
                self._looked_s[url] = now_s
                self._pool.submit(self._look_at_build, target).add_done_callback(_report)

    def _look_at_build(self, target: AllowedTarget) -> None:
        """A new build gets its first round as a new target does."""
        before = look_at_build(self._store, target, self._thread.stopping)
        if before is None:
            return
        log.info("new build", target=target.name, instance=target.instance, before=before.build_id)
        due_s = time.monotonic() + self._settings.first.total_seconds()
        with self._lock:
            self._due_s[target.pprof_url] = min(due_s, self._due_s.get(target.pprof_url, due_s))

    def _first_s(self, target: AllowedTarget) -> float:
        """Seconds until the first round; after a restart of ours the schedule goes on where it was."""
        first_s = self._settings.first.total_seconds() * random.uniform(1, 1 + JITTER)  # noqa: S311  not for secrets
        last = last_round(self._store, target.name, target.instance, "baseline")
        if last is None:
            return first_s
        return max(first_s, (last + self._settings.every - utc_now()).total_seconds())

    def _set_due(self, target: AllowedTarget, due_s: float) -> None:
        with self._lock:
            self._due_s[target.pprof_url] = due_s

    def _round(self, target: AllowedTarget) -> None:
        got_something = False
        try:
            got_something = capture_baseline(self._store, target, self._request(), self._thread.stopping, self._turns)
        finally:
            self._set_due(target, time.monotonic() + self._pause_s(got_something))
            with self._lock:
                self._running.discard(target.pprof_url)

    def _request(self) -> RoundRequest:
        kinds = tuple(kind for kind in self._settings.kinds if kind != "trace")  # nothing compares traces
        return RoundRequest(None, "baseline", kinds, self._settings.seconds)

    def _pause_s(self, got_something: bool) -> float:
        every_s = self._settings.every / timedelta(seconds=1)
        if not got_something:
            return min(RETRY_S, every_s)
        return every_s * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  not for secrets


def _report(finished: Future[None]) -> None:
    """A round records its failures itself; an error here is a mistake of ours."""
    if not finished.cancelled() and (error := finished.exception()):
        FAILURES.labels("baseline").inc()
        log.error("baseline round failed", error=repr(error))


def capture_baseline(
    store: Store, target: Target, request: RoundRequest, stop: threading.Event, turns: Turns = TURNS
) -> bool:
    """One round now; whether it got any profile."""
    captures = run_round(store, target, request, on_cheap=lambda: None, stop=stop, turns=turns)
    return any(capture.status == "done" for capture in captures)
