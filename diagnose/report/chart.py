"""A chart as numbers for SVG: where lines, ticks and labels go in a box of a given width."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import ceil, floor, isfinite, log10

from diagnose.report.shape import Chart, Line, Mark
from diagnose.report.text import amount, clock

RIGHT, BOTTOM, LABEL_ROW = 14, 24, 14
LETTER = 6.2  # width of one letter of a label
MAX_LINES = 5
STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)


@dataclass(frozen=True)
class Label:
    x: float
    y: float
    text: str
    anchor: str = "start"


@dataclass(frozen=True)
class Drawing:
    """Everything in pixels of the viewBox."""

    width: int
    height: int
    top: int
    left: float
    right: float
    bottom: float
    paths: tuple[str, ...]
    area: str
    grid: tuple[Label, ...]
    ticks: tuple[Label, ...]
    marks: tuple[Label, ...]
    threshold_y: float | None
    sick_from: float
    sick_to: float
    summary: str


def draw(chart: Chart, width: int, height: int) -> Drawing:
    """Lay *chart* out in *width* × *height*; labels of marks take as many rows on top as they need."""
    scale = _Scale(chart, width, height)
    marks = _place_marks(chart.marks, scale, width)
    scale.top = 12 + LABEL_ROW * len({mark.y for mark in marks})
    lines = [_thinned(line, width // 3) for line in chart.lines[:MAX_LINES]]
    paths = tuple(scale.path(line) for line in lines)
    return Drawing(
        width=width,
        height=height,
        top=scale.top,
        left=scale.left,
        right=scale.right,
        bottom=scale.bottom,
        paths=paths,
        area=_area(lines[0], scale) if len(lines) == 1 and lines[0].points else "",
        grid=tuple(Label(scale.left - 6, scale.y(value), amount(value, chart.unit), "end") for value in scale.values()),
        ticks=_time_ticks(scale, chart, width),
        marks=marks,
        threshold_y=None if chart.threshold is None else scale.y(chart.threshold),
        sick_from=scale.x(chart.started_at),
        sick_to=scale.x(chart.ended_at or chart.until),
        summary=summary(chart),
    )


def summary(chart: Chart) -> str:
    """The chart in one sentence, for those who do not see it."""
    points = [(value, at) for line in chart.lines for at, value in line.points if isfinite(value)]
    before = [value for value, at in points if at < chart.started_at]
    during = [(value, at) for value, at in points if chart.started_at <= at <= (chart.ended_at or chart.until)]
    if not during:
        return f"{chart.title}: no values during the incident"
    highest, at = max(during)
    text = f"highest {amount(highest, chart.unit)} at {clock(at)}"
    if before:
        text += f", before {amount(sorted(before)[len(before) // 2], chart.unit)}"
    if chart.threshold is not None:
        text += f", threshold {amount(chart.threshold, chart.unit)}"
    return f"{chart.title}: {text}"


class _Scale:
    """Values → pixels."""

    def __init__(self, chart: Chart, width: int, height: int) -> None:
        self.since = chart.since
        self.length_s = max((chart.until - chart.since).total_seconds(), 1.0)
        self.top = 12
        self.right = width - RIGHT
        self.bottom = height - BOTTOM
        values = [value for line in chart.lines for _, value in line.points if isfinite(value)]
        values += [chart.threshold] if chart.threshold is not None else []
        self.low = min(0.0, *values) if values else 0.0
        self.high = max(values, default=0.0)
        if self.high <= self.low:
            self.high = self.low + 1.0
        self.step = _round_step((self.high - self.low) / 4)
        self.low = floor(self.low / self.step) * self.step
        self.high = ceil(self.high / self.step + 0.05) * self.step
        self.left = 10 + round(LETTER * max(len(amount(value, chart.unit)) for value in self.values()))

    def x(self, at: datetime) -> float:
        part = (at - self.since).total_seconds() / self.length_s
        return round(self.left + min(max(part, 0.0), 1.0) * (self.right - self.left), 1)

    def y(self, value: float) -> float:
        part = (value - self.low) / (self.high - self.low)
        return round(self.bottom - min(max(part, 0.0), 1.0) * (self.bottom - self.top), 1)

    def values(self) -> list[float]:
        count = round((self.high - self.low) / self.step)
        return [self.low + self.step * number for number in range(count + 1)]

    def path(self, line: Line) -> str:
        """A gap in time longer than five usual steps is a gap in the line."""
        usual = _usual_step_s(line)
        parts: list[str] = []
        previous: datetime | None = None
        for at, value in line.points:
            apart = previous is None or (at - previous).total_seconds() > 5 * usual
            parts.append(f"{'M' if apart else 'L'}{self.x(at):g},{self.y(value):g}")
            previous = at
        return "".join(parts)


def _usual_step_s(line: Line) -> float:
    steps = sorted((later - earlier).total_seconds() for (earlier, _), (later, _) in pairwise(line.points))
    return steps[len(steps) // 2] if steps else 1.0


def _area(line: Line, scale: _Scale) -> str:
    first, last = scale.x(line.points[0][0]), scale.x(line.points[-1][0])
    outline = scale.path(line).replace("M", "L").replace("L", "M", 1)
    return f"{outline}L{last:g},{scale.bottom:g}L{first:g},{scale.bottom:g}Z"


def _thinned(line: Line, most: int) -> Line:
    """At most about *most* points; of each group the highest, so that no peak is lost."""
    points = [(at, value) for at, value in line.points if isfinite(value)]
    size = ceil(len(points) / most) if most else 1
    if size > 1:
        groups = [points[at : at + size] for at in range(0, len(points), size)]
        points = [max(group, key=lambda point: point[1]) for group in groups]
    return Line(line.label, tuple(points))


def _round_step(raw: float) -> float:
    """The next of 1, 2, 2.5, 5 × 10ⁿ."""
    power = 10.0 ** floor(log10(raw))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)


def _time_ticks(scale: _Scale, chart: Chart, width: int) -> tuple[Label, ...]:
    most = max(2, width // 130)
    step = next((each for each in STEPS_S if scale.length_s / each <= most), STEPS_S[-1])
    first = ceil(chart.since.timestamp() / step) * step
    times = [datetime.fromtimestamp(at, UTC) for at in range(int(first), int(chart.until.timestamp()) + 1, step)]
    digits = slice(0, 5) if step >= 60 else slice(0, 8)
    return tuple(Label(scale.x(at), scale.bottom + 17, clock(at)[digits], "middle") for at in times)


def _place_marks(marks: tuple[Mark, ...], scale: _Scale, width: int) -> tuple[Label, ...]:
    """Labels above the chart, each in the first row where it does not touch another."""
    placed: list[Label] = []
    taken: list[list[tuple[float, float]]] = []
    for mark in sorted(marks, key=lambda each: each.at):
        x, length = scale.x(mark.at), len(mark.text) * LETTER
        to_the_left = x + 4 + length > width
        start = x - 4 - length if to_the_left else x + 4
        span = (start - 8, start + length + 8)
        row = next((at for at, spans in enumerate(taken) if all(_apart(span, other) for other in spans)), len(taken))
        if row == len(taken):
            taken.append([])
        taken[row].append(span)
        placed.append(Label(x, 10 + LABEL_ROW * row, mark.text, "end" if to_the_left else "start"))
    return tuple(placed)


def _apart(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[1] <= other[0] or other[1] <= one[0]


def window(started_at: datetime, ended_at: datetime | None, now: datetime) -> tuple[datetime, datetime]:
    """What a chart shows: twice as long before as the incident lasts (3 minutes to an hour), and a little after it."""
    end = ended_at or now
    lead = min(max(2 * (end - started_at), timedelta(minutes=3)), timedelta(hours=1))
    return started_at - lead, min(now, end + lead / 3) if ended_at else now
