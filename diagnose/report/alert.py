"""The alert itself: its value over time, and the few numbers under the verdict."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from math import isfinite

from diagnose.model import Finding
from diagnose.report import text
from diagnose.report.chart import window
from diagnose.report.rows import SQL, Rows
from diagnose.report.series import Watched, watched
from diagnose.report.shape import Chart, Figure, Line, Mark
from diagnose.store.metrics import series_points

VALUE_OF = "value of "  # before the name of the alert, in the title of its chart


def build_chart(rows: Rows) -> Chart | None:
    """The number an alert of the incident watches, as Prometheus had it; else the p99 of the service from its spans."""
    since, until = window(rows.incident.started_at, rows.incident.ended_at, rows.now)
    for episode in rows.episodes:
        wanted = watched(episode.expr)
        lines = _stored_lines(rows, wanted, since, until) if wanted else ()
        if wanted and lines:
            return _chart(rows, f"{VALUE_OF}{episode.alertname}", wanted, lines)
    step_s = max(5, round((until - since).total_seconds() / 120))
    values = {"service": rows.incident.service_name, "since": since, "until": until, "route": rows.route}
    found = rows.store.rows(SQL["latency_series"], {**values, "step_s": step_s})
    if not found:
        return None
    line = Line(rows.incident.service_name, tuple((row["at"], row["p99_s"]) for row in found))
    title = f"p99 of {rows.route or 'all requests'}, from spans"
    return _chart(rows, title, Watched("", None, "s"), (line,))


def _stored_lines(rows: Rows, wanted: Watched, since: datetime, until: datetime) -> tuple[Line, ...]:
    """The series with the highest value first."""
    found = series_points(rows.store, wanted.expr, rows.incident.service_name, since, until)
    lines = [
        Line(
            " ".join(labels.values()) or rows.incident.service_name,
            tuple(point for point in points if isfinite(point[1])),
        )
        for labels, points in found
    ]
    known = [line for line in lines if line.points]  # a quantile of nothing is not a number
    return tuple(sorted(known, key=lambda line: -max(value for _, value in line.points)))


def _chart(rows: Rows, title: str, what: Watched, lines: tuple[Line, ...]) -> Chart:
    since, until = window(rows.incident.started_at, rows.incident.ended_at, rows.now)
    return Chart(
        title=title,
        unit=what.unit,
        source="alert" if what.expr else "spans",
        lines=lines,
        threshold=what.threshold,
        since=since,
        until=until,
        started_at=rows.incident.started_at,
        ended_at=rows.incident.ended_at,
        marks=tuple(_marks(rows)),
    )


def _marks(rows: Rows) -> Iterable[Mark]:
    started_at, ended_at = rows.incident.started_at, rows.incident.ended_at
    fired_at = min((each.starts_at for each in rows.episodes), default=started_at)
    if fired_at - started_at > timedelta(seconds=1):
        yield Mark(started_at, f"onset {text.clock(started_at)}")
    yield Mark(fired_at, f"fired {text.clock(fired_at)}")
    taken = [each for each in rows.captures if each.status == "done" and each.trigger == "alert" and each.started_at]
    taken_at = ((each.started_at, each.lag_ms) for each in taken if each.started_at)
    if profiled := min(taken_at, key=lambda pair: pair[0], default=None):
        at, lag_ms = profiled
        yield Mark(at, "profiled" if lag_ms is None else f"profiled +{text.milliseconds(lag_ms)}")
    if ended_at:
        yield Mark(ended_at, f"resolved {text.clock(ended_at)}")


def headline(rows: Rows, chart: Chart | None, verdict: Finding | None) -> Iterable[Figure]:
    """The few numbers under the verdict."""
    if chart and (figure := _alert_figure(chart)):
        yield figure
    if verdict is None:
        return
    effect = verdict.effect
    during = effect.during if effect.during is not None else effect.value
    before = "" if effect.before is None else f"← {text.amount(effect.before, effect.unit)}"
    yield Figure(_effect_label(verdict), text.amount(during, effect.unit), before)
    sure = [f"{name} = {verdict.significance[name]:.3g}" for name in ("z", "p") if verdict.significance.get(name)]
    yield Figure("certainty", verdict.confidence, ", ".join(sure))
    named_at = rows.store.row(
        SQL["first_named"],
        {"incident_id": rows.incident_id, "kind": verdict.kind, "subject": verdict.subject.name},
    )["at"]
    waited = (named_at or rows.now) - rows.incident.opened_at
    yield Figure("webhook → this cause", text.milliseconds(waited.total_seconds() * 1000))


def _alert_figure(chart: Chart) -> Figure | None:
    worst = chart.lines[0].points
    end = chart.ended_at or chart.until
    during = [value for at, value in worst if chart.started_at <= at <= end]
    before = sorted(value for at, value in worst if at < chart.started_at)
    if not during:
        return None
    is_below = chart.threshold is not None and max(during) < chart.threshold
    label = "p99" if chart.source == "spans" else chart.title.removeprefix(VALUE_OF)
    usual = f"← {text.amount(before[len(before) // 2], chart.unit)}" if before else ""
    return Figure(label, text.amount(min(during) if is_below else max(during), chart.unit), usual)


def _effect_label(finding: Finding) -> str:
    """`hot code, main.(*Matcher).match`"""
    name = finding.subject.name
    short = name[name.rfind("/") + 1 :]
    return f"{text.kind_name(finding.kind).lower()}, {short}" if len(short) <= 40 else text.kind_name(finding.kind)
