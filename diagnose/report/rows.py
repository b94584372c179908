"""What is stored about one incident, as far as a report shows it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from diagnose.model import Capture, Episode, Incident, TraceRef
from diagnose.report.captures import Head, heads_of
from diagnose.report.traces import Span, build_trace
from diagnose.store.captures import captures_of
from diagnose.store.db import Store
from diagnose.store.incidents import episodes_of, get_incident, incident_detail, traces_of
from diagnose.store.queries import load_queries

SQL = load_queries("report", Path(__file__).parent / "sql")
SHOWN_TRACES = 12
HEALTHY_TIME = timedelta(hours=1)


@dataclass(frozen=True)
class Rows:
    """Each part is read once, when it is first needed. *now* is when the report is made."""

    store: Store
    incident_id: str
    now: datetime

    @cached_property
    def incident(self) -> Incident:
        return get_incident(self.store, self.incident_id)

    @cached_property
    def episodes(self) -> tuple[Episode, ...]:
        return tuple(episodes_of(self.store, self.incident_id))

    @cached_property
    def captures(self) -> list[Capture]:
        return captures_of(self.store, self.incident_id)

    @cached_property
    def refs(self) -> list[TraceRef]:
        return traces_of(self.store, self.incident_id)

    @cached_property
    def detail(self) -> dict[str, Any]:
        return incident_detail(self.store, self.incident_id)

    @cached_property
    def heads(self) -> dict[str, Head]:
        """Profiles taken for this incident, by id."""
        return heads_of(self.store, [each.profile_id for each in self.captures if each.profile_id])

    @cached_property
    def traces(self) -> dict[str, list[Span]]:
        """Spans of the traces that are shown; those without spans are left out."""
        return self.spans_of([ref.trace_id for ref in self.refs[:SHOWN_TRACES]])

    @property
    def route(self) -> str | None:
        routes = {each.labels.get("route") or each.labels.get("http_route") for each in self.episodes}
        return routes.pop() if len(routes) == 1 else None

    def spans_of(self, trace_ids: Sequence[str]) -> dict[str, list[Span]]:
        since = self.incident.started_at - 2 * HEALTHY_TIME
        rows: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for row in self.store.rows(SQL["spans_of_traces"], {"since": since, "trace_ids": list(trace_ids)}):
            rows[row["trace_id"]].append(row)
        traces = {trace_id: build_trace(rows[trace_id]) for trace_id in trace_ids if trace_id in rows}
        return {trace_id: spans for trace_id, spans in traces.items() if spans}
