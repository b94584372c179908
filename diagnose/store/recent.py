"""The traces that were asked for last: whoever looks at one asks for it again and again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Any

MOST_SPANS = 20_000

Spans = list[dict[str, Any]]


class RecentTraces:
    """
    Spans by trace id, each with what they were read from: as long as that is the same, so are they.

    For several threads. The lists belong to everybody; nobody changes them.
    """

    def __init__(self) -> None:
        self._traces: OrderedDict[str, tuple[Hashable, Spans]] = OrderedDict()
        self._lock = Lock()

    def get(self, trace_id: str, source: Hashable) -> Spans | None:
        with self._lock:
            known, spans = self._traces.get(trace_id, (None, None))
            if known != source:
                return None
            self._traces.move_to_end(trace_id)
            return spans

    def add(self, trace_id: str, source: Hashable, spans: Spans) -> None:
        """In place of what was known of it; those that nobody asked for lately make room."""
        with self._lock:
            self._traces.pop(trace_id, None)
            if len(spans) <= MOST_SPANS:
                self._traces[trace_id] = (source, spans)
            while sum(len(each) for _, each in self._traces.values()) > MOST_SPANS:
                self._traces.popitem(last=False)
