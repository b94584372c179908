"""Work that is done again and again in a thread of its own, whatever goes wrong in one of its turns."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress

from diagnose.errors import DiagnoseError
from diagnose.telemetry import FAILURES, get_logger

log = get_logger(__name__)
AFTER_A_FAILURE_S = 5.0  # at least, so that a full disk does not fill the log as well


class Periodic:
    """
    A turn of *work* every *every_s* seconds from `start` on, and at once after `wake`.

    What a turn raises is counted under *name* and logged; the next one comes all the same. A turn that takes long looks
    at `stopping`. *niceness* is that of the thread, as in nice(1).
    """

    def __init__(
        self, name: str, work: Callable[[], object], every_s: Callable[[], float], *, niceness: int = 0
    ) -> None:
        self._name = name
        self._work = work
        self._every_s = every_s
        self._niceness = niceness
        self.stopping = threading.Event()
        self._awake = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Returns at once. During a turn: there will be another one after it."""
        self._awake.set()

    def stop(self) -> None:
        """Waits for the turn that runs. Calling it twice, or without `start`, is harmless."""
        self.stopping.set()
        self._awake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        with suppress(OSError, AttributeError):  # elsewhere than on Linux a thread has no niceness of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._niceness)
        wait_s = self._every_s()
        while not self._is_over(wait_s):
            wait_s = self._every_s() if self._turn() else max(self._every_s(), AFTER_A_FAILURE_S)

    def _is_over(self, wait_s: float) -> bool:
        self._awake.wait(wait_s)
        self._awake.clear()
        return self.stopping.is_set()

    def _turn(self) -> bool:
        """Whether it went well."""
        try:
            self._work()
        except DiagnoseError as err:  # the store is busy, somebody does not answer: said in one line
            FAILURES.labels(self._name).inc()
            log.warning("work failed", what=self._name, error=str(err))
        except Exception:  # a mistake of ours must not end all later turns
            FAILURES.labels(self._name).inc()
            log.exception("work failed", what=self._name)
        else:
            return True
        return False
