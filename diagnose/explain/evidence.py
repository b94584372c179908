"""
Everything a detector may look at, gathered once per explanation.

Two windows of spans: the healthy one ends before the incident began, the sick one begins with it. Each captured profile
has as its baseline the newest healthy one of the same process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar, cast

from diagnose.explain.render import Literal, render_sql, template
from diagnose.explain.result import Answer
from diagnose.model import Capture, Episode, Incident, TraceRef, utc_now
from diagnose.pprof.significance import FEWEST_BASELINES
from diagnose.store.captures import baseline_profiles, captures_of
from diagnose.store.db import Store
from diagnose.store.incidents import episodes_of, get_incident, traces_of

HEALTHY = timedelta(minutes=15)
SICK = timedelta(minutes=15)
MARGINS_S = (60, 30, 10, 0)
ENOUGH_REQUESTS = 50
MOST_HEALTHY = 8
RECENT_BUILD = timedelta(minutes=30)  # before the incident; a build that is older was healthy for a while
DURING = ("alert", "manual")
LABELLED_KINDS = ("cpu", "wall", "goroutine", "goroutineleak")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Window:
    """Spans that start in [since, until)."""

    since: datetime
    until: datetime


@dataclass(frozen=True)
class ProfileRef:
    """A stored profile and why it was taken."""

    profile_id: str
    service_name: str
    instance: str
    kind: str
    basis: str
    started_at: datetime
    duration_ns: int
    sample_count: int
    build_id: str
    trigger: str
    phase: str

    @property
    def duration_s(self) -> float:
        return self.duration_ns / 1e9


@dataclass(frozen=True)
class Pair:
    """A profile of the incident and its baseline, which another instance of the service may have had to lend."""

    before: ProfileRef | None
    during: ProfileRef

    @property
    def is_same_process(self) -> bool:
        return self.before is not None and self.before.instance == self.during.instance

    @property
    def profile_ids(self) -> tuple[str, ...]:
        return (self.during.profile_id, *([self.before.profile_id] if self.before else []))


@dataclass(frozen=True)
class NewBuild:
    """A build that appeared on an instance; `previous` ran there before, else elsewhere in the service."""

    instance: str
    build_id: str
    first_seen: datetime
    previous: str


@dataclass(frozen=True)
class FunctionOrigin:
    """`is_own`: of the program's own packages. The file is empty when unknown."""

    file: str
    is_own: bool


@dataclass(frozen=True)
class SpanShare:
    """How much of what was seen of a function was seen in spans of this name; `traces` is how many requests."""

    service: str
    name: str
    share: float
    traces: int


@dataclass
class Evidence:
    """Rows of one incident. Methods read the store; what they answer is in a fixed order."""

    store: Store
    incident: Incident
    episodes: tuple[Episode, ...]
    captures: tuple[Capture, ...]
    traces: tuple[TraceRef, ...]
    profiles: tuple[ProfileRef, ...]
    healthy: Window
    sick: Window
    _known: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def gather(cls, store: Store, incident_id: str) -> Self:
        """Raises NotFound."""
        incident = get_incident(store, incident_id)
        start = incident.started_at
        margin = timedelta(seconds=_margin_s(store, incident))
        end = min(incident.ended_at or utc_now(), start + SICK)
        rows = store.rows(render_sql(template("evidence", "profiles"), incident=incident_id))
        return cls(
            store=store,
            incident=incident,
            episodes=tuple(episodes_of(store, incident_id)),
            captures=tuple(captures_of(store, incident_id)),
            traces=tuple(traces_of(store, incident_id)),
            profiles=tuple(ProfileRef(**row) for row in rows),
            healthy=Window(start - HEALTHY, start - margin),
            sick=Window(start, max(end, start)),
        )

    @property
    def healthy_literals(self) -> dict[str, Literal]:
        """The healthy window as the templates name it."""
        return {"healthy_since": self.healthy.since, "healthy_until": self.healthy.until}

    @property
    def sick_literals(self) -> dict[str, Literal]:
        """The sick window as the templates name it."""
        return {"sick_since": self.sick.since, "sick_until": self.sick.until}

    def ask(self, subject: str, name: str, **literals: Literal) -> Answer:
        """The rows of the block *name* of `sql/<subject>.sql`, and the text that was run."""
        sql = render_sql(template(subject, name), **literals)
        return Answer(self.store.rows(sql), sql)

    def once(self, look: Callable[[Evidence], Found]) -> Found:
        """What *look* finds in this evidence; it looks the first time only."""
        return cast("Found", self._remember(look, lambda: look(self)))

    def _remember(self, key: Any, find: Callable[[], Any]) -> Any:
        if key not in self._known:
            self._known[key] = find()
        return self._known[key]

    def during(self, kind: str, basis: str, phase: str | None = None) -> list[ProfileRef]:
        """The newest profile of each captured instance while the alert fired, instances in the order of their names."""
        newest = {
            each.instance: each
            for each in self.profiles
            if (each.kind, each.basis) == (kind, basis)
            and each.trigger in DURING
            and (phase is None or each.phase == phase)
        }
        return [newest[instance] for instance in sorted(newest)]

    def pairs(self, kind: str, basis: str) -> tuple[Pair, ...]:
        """`during`, each with its baseline."""
        pairs: tuple[Pair, ...] = self._remember(
            (kind, basis), lambda: tuple(Pair(self._baseline(each), each) for each in self.during(kind, basis))
        )
        return pairs

    @property
    def new_builds(self) -> list[NewBuild]:
        """Those that appeared shortly before the incident or within it, the first one first."""
        found: list[NewBuild] = self._remember(
            "builds", lambda: [NewBuild(**row) for row in self.ask_for_builds().rows]
        )
        return found

    def ask_for_builds(self) -> Answer:
        return self.ask(
            "change",
            "new_builds",
            service=self.incident.service_name,
            since=self.incident.started_at - RECENT_BUILD,
            until=self.sick.until,
        )

    def _baseline(self, during: ProfileRef) -> ProfileRef | None:
        """
        Rather one from a minute before the incident than one from within it: an alert takes its time to fire.

        Of a build that is new, what the one before it did in health: it may have been sick since it was started.
        """
        start = self.incident.started_at
        is_new = any((each.instance, each.build_id) == (during.instance, during.build_id) for each in self.new_builds)
        found: list[ProfileRef] = []
        for other_build in (True, False) if is_new else (False,):
            for before in (start - timedelta(minutes=1), start):
                found += self._healthy(during, before, besides=during.build_id if other_build else None)
        if is_new and found:
            return found[0]
        return next((each for each in found if each.instance == during.instance), found[0] if found else None)

    def _healthy(
        self, during: ProfileRef, before: datetime, *, besides: str | None = None, limit: int = 1
    ) -> list[ProfileRef]:
        """The newest healthy profiles from before then, of another build than *besides*; its own instance's first."""
        ids = baseline_profiles(
            self.store,
            during.service_name,
            during.instance,
            during.kind,
            during.basis,
            before=before,
            besides_build=besides,
            limit=limit,
        )
        return [ProfileRef(**self.ask("evidence", "profile", profile=each).rows[0]) for each in ids]

    def healthy_like(self, pair: Pair) -> tuple[str, ...]:
        """
        Ids of healthy profiles like the baseline of *pair*, which tell how much functions vary by themselves.

        Of the same process and build when there are enough of those, else of the service.
        """
        found: tuple[str, ...] = self._remember(("healthy", pair.profile_ids), lambda: self._find_healthy_like(pair))
        return found

    def _find_healthy_like(self, pair: Pair) -> tuple[str, ...]:
        during = pair.during
        found = self._healthy(during, self.incident.started_at, limit=MOST_HEALTHY)
        known = [each for each in found if each.profile_id != during.profile_id]
        same = [
            each
            for each in known
            if pair.before and (each.instance, each.build_id) == (pair.before.instance, pair.before.build_id)
        ]
        return tuple(each.profile_id for each in (same if len(same) >= FEWEST_BASELINES else known))

    def requests_beside(self, pair: Pair) -> tuple[float, float]:
        """How many requests were served while the profiles of *pair* ran; (0, 0) unless both are known."""
        found: tuple[float, float] = self._remember(("requests", pair.profile_ids), lambda: self._count_requests(pair))
        return found

    def _count_requests(self, pair: Pair) -> tuple[float, float]:
        counted = [self._requests_during(each) for each in (pair.before, pair.during) if each]
        return (counted[0], counted[1]) if len(counted) == 2 and min(counted) >= ENOUGH_REQUESTS else (0.0, 0.0)

    def _requests_during(self, profile: ProfileRef) -> float:
        if profile.basis != "interval":
            return 0.0
        rows = self.ask(
            "functions",
            "requests",
            service=profile.service_name,
            instance=profile.instance,
            started_at=profile.started_at,
            seconds=profile.duration_s,
        ).rows
        return float(rows[0]["requests"] or 0) if rows else 0.0

    def origin(self, function: str) -> FunctionOrigin:
        origin: FunctionOrigin = self._remember(("origin", function), lambda: self._find_origin(function))
        return origin

    def _find_origin(self, function: str) -> FunctionOrigin:
        row = self.ask("evidence", "origin", function=function).rows[0]
        return FunctionOrigin(row["file"] or "", bool(row["is_own"]))

    def hottest_line(self, profile: ProfileRef, value_type: str, function: str) -> int:
        """The line in *function* that most of the value comes from; 0 when unknown."""
        rows = self.ask(
            "evidence", "hottest_line", profile=profile.profile_id, value_type=value_type, function=function
        ).rows
        return int(rows[0]["line"]) if rows else 0

    def spans_of(self, function: str) -> tuple[SpanShare, ...]:
        """
        In which spans goroutines were while they were seen in *function*, most first.

        Only profiles with labels know (cpu, wall, goroutine); empty without labels or without spans.
        """
        spans: tuple[SpanShare, ...] = self._remember(("spans", function), lambda: self._find_spans_of(function))
        return spans

    def _find_spans_of(self, function: str) -> tuple[SpanShare, ...]:
        labelled = [each.profile_id for each in self.profiles if each.kind in LABELLED_KINDS and each.trigger in DURING]
        if not labelled:
            return ()
        rows = self.ask(
            "evidence", "spans_of_function", profiles=labelled, function=function, since=self.healthy.since
        ).rows
        total = sum(row["observations"] for row in rows) or 1.0
        return tuple(
            SpanShare(row["service_name"], row["name"], row["observations"] / total, row["traces"]) for row in rows
        )


def _margin_s(store: Store, incident: Incident) -> int:
    """
    How long before the incident's start the healthy window ends: a fault begins before its alert does.

    As long as enough requests are known from before it, at most a minute.
    """
    sql = render_sql(template("evidence", "entries_before"), service=incident.service_name, start=incident.started_at)
    known = store.row(sql)
    return next((margin for margin in MARGINS_S if known[str(margin)] >= ENOUGH_REQUESTS), 0)
