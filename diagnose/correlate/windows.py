"""
The metrics around an incident, as Prometheus has them: what the alert watches, and how the service was doing.

They are kept with the incident, so that its page and SQL need no Prometheus later. Times are multiples of the scrape
interval, so asking again for a longer window brings the same points and new ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil

from diagnose.correlate.question import Readers, responsible
from diagnose.errors import UpstreamError
from diagnose.model import Episode, Labels
from diagnose.prometheus import Prometheus, Series
from diagnose.telemetry import get_logger

log = get_logger(__name__)
BEFORE = timedelta(hours=1)
MOST_POINTS = 1500  # of one series; a window that would have more has a coarser step
MOST_SERIES = 2000  # of one service; Prometheus is not asked for the points of more
SERVICE_LABELS = ("job", "service_name", "service")  # the first that the alert has names its service in Prometheus
PLACE_LABELS = ("namespace", "cluster", "environment")


@dataclass(frozen=True)
class Window:
    """The series of one metric or expression."""

    name: str
    series: tuple[Series, ...]


@dataclass(frozen=True)
class Span:
    """From an hour before the incident on, at the scrape interval or a multiple of it."""

    start: datetime
    end: datetime
    step_s: float

    @classmethod
    def of(cls, started_at: datetime, until: datetime, scrape_s: float) -> Span:
        """
        Both ends are multiples of the step.

            1 h and 10 min at 15 s → 15 s          2 days at 15 s → 2 min, 1,470 points
        """
        start_s, end_s = (started_at - BEFORE).timestamp(), until.timestamp()
        step_s = scrape_s * max(1, ceil((end_s - start_s) / scrape_s / MOST_POINTS))
        start_s, end_s = (ceil(at / step_s) * step_s for at in (start_s, end_s))
        return cls(datetime.fromtimestamp(start_s, UTC), datetime.fromtimestamp(end_s, UTC), step_s)


def metric_windows(
    episodes: Iterable[Episode], exprs: Mapping[str, Labels], readers: Readers, started_at: datetime, until: datetime
) -> Iterator[Window]:
    """
    The metrics of the services that alerts name, and *exprs* (with the labels of their alerts), from an hour before
    *started_at* to *until*.

    Which metrics those are is said by setting `incidents.metrics`. A server that does not answer is left out: it was
    asked for exemplars before, and the report says so.
    """
    for expr, labels in exprs.items():
        for server in responsible(readers.prometheus, labels):
            yield Window(expr, tuple(_asked(server, expr, started_at, until)))
    names = readers.settings.incidents.metrics
    for selector, labels in {selector_of(each.labels, names): each.labels for each in episodes}.items():
        for server in responsible(readers.prometheus, labels) if selector else ():
            if _is_bearable(server, selector, until):
                yield from _by_name(_asked(server, selector, started_at, until))


def _by_name(series: Iterable[Series]) -> Iterator[Window]:
    found: dict[str, list[Series]] = {}
    for each in series:
        labels = {name: value for name, value in each.labels.items() if name != "__name__"}
        found.setdefault(each.labels.get("__name__", ""), []).append(Series(labels, each.points))
    for name, of_name in found.items():
        yield Window(name, tuple(of_name))


def selector_of(labels: Labels, names: Sequence[str]) -> str:
    """
    What selects the metrics called *names* (regular expressions) of the service an alert is about; empty without one.

        {job="shop/checkout", alertname=…}, ["go_.*", "up"]     →     {__name__=~"go_.*|up", job="shop/checkout"}
    """
    service = next((name for name in SERVICE_LABELS if labels.get(name)), None)
    if service is None or not names:
        return ""
    named = [service, *(name for name in PLACE_LABELS if labels.get(name))]
    matchers = [f'__name__=~"{_escaped("|".join(names))}"', *(f'{name}="{_escaped(labels[name])}"' for name in named)]
    return "{" + ", ".join(matchers) + "}"


def _asked(server: Prometheus, expr: str, started_at: datetime, until: datetime) -> list[Series]:
    try:
        span = Span.of(started_at, until, server.scrape_interval_s)
        return server.query_range(expr, span.start, span.end, span.step_s)
    except UpstreamError as err:
        log.warning("no metric window", server=server.name, error=str(err))
        return []


def _is_bearable(server: Prometheus, selector: str, at: datetime) -> bool:
    """Whether it selects no more series than we want to keep."""
    try:
        count = sum(series.points[-1][1] for series in server.query(f"count({selector})", at))
    except UpstreamError as err:
        log.warning("no metric window", server=server.name, error=str(err))
        return False
    if count > MOST_SERIES:
        log.warning("a service has too many series to keep them", server=server.name, selector=selector, series=count)
    return count <= MOST_SERIES


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
