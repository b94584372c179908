"""The two ways in which the pipeline does things beside each other."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait

from diagnose.model import Capture
from diagnose.telemetry import FAILURES, get_logger

log = get_logger(__name__)
Work = Callable[[], object]
CaptureRound = Callable[[Callable[[], None]], list[Capture]]


class OneAtATime:
    """Work of different keys runs beside each other, work of one key in the order it came."""

    def __init__(self, workers: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix=name)
        self._waiting: dict[str, deque[tuple[str, Work]]] = {}
        self._lock = threading.Lock()
        self._later: dict[tuple[str, str], threading.Timer] = {}
        self.is_stopped = False

    def submit_later(self, delay_s: float, key: str, name: str, work: Work) -> None:
        """As `submit`, after *delay_s*; instead of work of the same key and name that is still to come."""
        timer = threading.Timer(delay_s, self.submit, (key, name, work))
        timer.daemon = True
        with self._lock:
            if self.is_stopped:
                return
            if earlier := self._later.pop((key, name), None):
                earlier.cancel()
            self._later[key, name] = timer
            timer.start()

    def submit(self, key: str, name: str, work: Work) -> None:
        """
        Run *work* soon, unless work of the same *name* waits last in line: that will see the same rows. Once stopped it
        takes nothing any more.

        What it raises is counted and logged, but for CancelledError; the next work of the key runs all the same.
        """
        with self._lock:
            if self.is_stopped:
                return
            self._later.pop((key, name), None)
            running = key in self._waiting
            waiting = self._waiting.setdefault(key, deque())
            if waiting and waiting[-1][0] == name:
                return
            waiting.append((name, work))
            if not running:
                self._pool.submit(self._run, key)

    def _run(self, key: str) -> None:
        while found := self._next(key):
            name, work = found
            try:
                work()
            except CancelledError:
                log.info("work given up", what=name, key=key)
            except Exception:  # the one place where a mistake in a stage must not end the loop
                FAILURES.labels(name).inc()
                log.exception("work failed", what=name, key=key)

    def _next(self, key: str) -> tuple[str, Work] | None:
        with self._lock:
            if self._waiting[key]:
                return self._waiting[key].popleft()
            del self._waiting[key]
            return None

    def stop(self) -> None:
        """Wait for what runs; forget what waits (it is found again in the tables at the next start)."""
        with self._lock:
            self.is_stopped = True
            for timer in self._later.values():
                timer.cancel()
            for waiting in self._waiting.values():
                waiting.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)


class CaptureRounds:
    """Capture rounds beside each other, and the moment when the cheap part of all of them is over."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._cheap: list[threading.Event] = []
        self._futures: list[Future[list[Capture]]] = []

    def start(self, capture_round: CaptureRound) -> None:
        """Run *capture_round*; it calls what it is given once its cheap part is done, or just ends."""
        cheap = threading.Event()
        future = self._pool.submit(capture_round, cheap.set)
        future.add_done_callback(lambda _: cheap.set())
        self._cheap.append(cheap)
        self._futures.append(future)

    def wait_for_cheap(self, timeout_s: float) -> None:
        """Until the cheap part of every round is over, but no longer than *timeout_s* in all."""
        deadline = time.monotonic() + timeout_s
        for cheap in self._cheap:
            cheap.wait(max(0.0, deadline - time.monotonic()))

    def wait(self) -> list[Capture]:
        """What all of them did, once they are over. An error is a mistake of ours: a round records its failures."""
        wait(self._futures)
        done: list[Capture] = []
        for future in self._futures:
            if error := future.exception():
                FAILURES.labels("capture").inc()
                log.error("capture round failed", error=repr(error))
            else:
                done += future.result()
        return done
