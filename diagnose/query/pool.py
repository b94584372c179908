"""
The children that answer queries, and who may have one.

So many queries run at once as there are workers. Beside them one process is always started and waiting: whoever loses
his worker, because it was killed, gets that one, and the next is being started by then.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from diagnose.errors import QueryError
from diagnose.query.child import Child

WAITING_PER_WORKER = 4  # each of them holds a thread of the server


class WorkerPool:
    """
    `start` before the first question, `close` at the end; both may be left out or repeated.

    A question waits at most *wait_s* for a worker: as long as another one may take.
    """

    def __init__(self, workers: int, *, wait_s: float = 10.0) -> None:
        self._workers = workers
        self._wait_s = wait_s
        self._changed = threading.Condition()
        self._idle: list[Child] = []  # the last one was used last; without queries the first one is the spare
        self._busy: dict[Child, str | None] = {}
        self._waiting = 0
        self._is_closed = False

    def start(self) -> None:
        """One process that waits for the first question."""
        with self._changed:
            self._have_a_spare()

    def close(self) -> None:
        """Running queries end with an error."""
        with self._changed:
            self._is_closed = True
            for child in self._idle:
                child.kill()
            for child in self._busy:
                child.stop()
            self._idle.clear()
            self._changed.notify_all()

    @property
    def spares(self) -> int:
        """Processes that wait for a question."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """Questions that wait for a process."""
        return self._waiting

    @contextmanager
    def worker(self, who: str | None) -> Iterator[Child]:
        """
        A child for one question; one that cannot be used again is replaced when the block ends.

        *who* has at most all workers but one at a time (of one worker, that one); None, where nobody is told apart, has
        all. Raises QueryError `busy` when none was free in time or too many wait already.
        """
        child = self._take(who)
        try:
            yield child
        finally:
            self._give_back(child)

    def _take(self, who: str | None) -> Child:
        with self._changed:
            if self._waiting >= self._workers * WAITING_PER_WORKER:
                raise QueryError("too many queries wait already", code="busy")
            self._waiting += 1
            try:
                if not self._changed.wait_for(lambda: self._may_start(who) or self._is_closed, self._wait_s):
                    raise QueryError("too many queries at once", code="busy")
            finally:
                self._waiting -= 1
            if self._is_closed:
                raise QueryError("the server stops", code="busy")
            self._have_a_spare()
            child = self._idle.pop()
            self._busy[child] = who
            self._have_a_spare()
            return child

    def _may_start(self, who: str | None) -> bool:
        if len(self._busy) >= self._workers:
            return False
        share = self._workers if who is None else max(1, self._workers - 1)
        return Counter(self._busy.values())[who] < share

    def _give_back(self, child: Child) -> None:
        with self._changed:
            del self._busy[child]
            if child.is_usable and not self._is_closed:
                self._idle.append(child)
            else:
                child.kill()
            while len(self._idle) > self._workers:
                self._idle.pop(0).kill()
            self._have_a_spare()
            self._changed.notify_all()

    def _have_a_spare(self) -> None:
        """At least one idle process that is alive."""
        self._idle = [child for child in self._idle if child.is_alive]
        if not self._idle and not self._is_closed:
            self._idle.append(Child())
