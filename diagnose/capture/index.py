"""
What a target offers, from the index page of net/http/pprof.

The page lists every named profile of the process as `<a href='heap?debug=1'>`; it is asked for once in a while.
"""

from __future__ import annotations

import re
import threading
import time

from diagnose.capture.fetch import Connection
from diagnose.errors import CaptureError

MAX_AGE_S = 600.0
_LINK = re.compile(r"""href=['"]([a-z]+)\?debug=""")


class Index:
    """Remembers the names by process; a process that has no index page offers nothing by name."""

    def __init__(self, max_age_s: float = MAX_AGE_S) -> None:
        self._max_age_s = max_age_s
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, frozenset[str]]] = {}

    def offers(self, connection: Connection, name: str) -> bool:
        """Whether the process behind *connection* has a profile *name*. Raises CaptureError when it cannot be asked."""
        url = connection.target.pprof_url
        with self._lock:
            asked_s, names = self._known.get(url, (0.0, frozenset()))
        if not asked_s or time.monotonic() - asked_s > self._max_age_s:
            answer, _ = connection.get("", {}, timeout_s=connection.limits.snapshot_s)
            if answer.status >= 500:
                raise CaptureError(f"HTTP {answer.status}: {answer.text}", http_status=answer.status, retryable=True)
            names = frozenset(_LINK.findall(answer.body.decode("utf-8", "replace")))
            with self._lock:
                self._known[url] = (time.monotonic(), names)
        return name in names


INDEX = Index()
