"""Numbers, times and sentences as people read them, for HTML and for Markdown."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from math import isfinite, isnan
from urllib.parse import quote, urlsplit

from markupsafe import Markup, escape

from diagnose.model import Finding
from diagnose.pprof.units import format_value

_NS = {
    "ns": 1,
    "nanoseconds": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "seconds": 1_000_000_000,
}
_SHARES = {"share": 100.0, "ratio": 100.0, "percent": 1.0, "%": 1.0}
LONGEST_QUERY_IN_URL = 4000


def duration(ns: float) -> str:
    """`31 ms`, `10.6 s`, `17 m 53 s`, `3 h 12 m`, `2 d 4 h`; nothing is `0 s`."""
    seconds = round(abs(ns) / 1e9)
    if round(ns) == 0:
        return "0 s"
    if seconds < 120:
        return format_value(round(ns), "nanoseconds")
    sign = "-" if ns < 0 else ""
    for size, unit, small, small_unit in ((86_400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if seconds >= size:
            rest = seconds % size // small
            return f"{sign}{seconds // size} {unit}" + (f" {rest} {small_unit}" if rest else "")
    raise AssertionError("120 s are two minutes")


def milliseconds(ms: float) -> str:
    return duration(ms * 1e6)


def share(value: float) -> str:
    """0.714 → `71 %`, 0.031 → `3.1 %`, 0.0004 → `0.04 %`."""
    percent = value * 100
    size = abs(percent)
    return f"{percent:.{0 if size == 0 or size >= 9.95 else 1 if size >= 0.1 else 2}f} %"


def number(value: float) -> str:
    """Three significant digits at least, never an exponent: `0.0312`, `12.5`, `1,989`."""
    if not isfinite(value):
        return "not a number" if isnan(value) else "∞" if value > 0 else "-∞"
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = 3 - len(str(int(abs(value)))) if abs(value) >= 1 else 3
    return f"{value:.{digits}f}".rstrip("0").rstrip(".") or "0"


def amount(value: float, unit: str) -> str:
    """
    A value with the unit of a finding's effect or of a chart; only the first word of a unit is converted.

        0.71 share   71 %         2.3e9 ns   2.3 s       2.1 seconds per request   2.1 s per request
        68 points    68 points    0.21 s     210 ms      88080384 bytes            84 MiB
    """
    first, _, rest = unit.partition(" ")
    if not isfinite(value):
        shown = number(value)
    elif first in _NS:
        shown = duration(value * _NS[first])
    elif first in _SHARES:
        shown = share(value * _SHARES[first] / 100)
    elif first == "bytes":
        shown = format_value(round(value), "bytes") if abs(value) >= 10 or value == 0 else f"{number(value)} B"
    elif first in ("", "count"):
        shown = number(value)
    else:
        shown, rest = number(value), unit
    return f"{shown} {rest}".rstrip()


def clock(at: datetime, digits: int = 0) -> str:
    """`10:04:30`, or `10:04:30.4` with one digit of the second."""
    text = at.astimezone(UTC).strftime("%H:%M:%S.%f")
    return text[: 9 + digits] if digits else text[:8]


def day(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d")


def period(started_at: datetime, ended_at: datetime | None) -> str:
    """`2026-11-24 10:02:11 – 10:20:04 UTC`; the day again when it is another one."""
    start = f"{day(started_at)} {clock(started_at)}"
    if ended_at is None:
        return f"since {start} UTC"
    end = clock(ended_at) if day(ended_at) == day(started_at) else f"{day(ended_at)} {clock(ended_at)}"
    return f"{start} – {end} UTC"


def kind_name(kind: str) -> str:
    """`hot_code` → `Hot code`."""
    words = kind.replace("_", " ")
    return {"gc": "Garbage collection", "n plus one": "N+1 requests"}.get(words, words[:1].upper() + words[1:])


def why(finding: Finding) -> str:
    """What makes a finding certain, in one line: the method, then z or p."""
    parts = [str(finding.significance.get("method") or "")]
    for name, digits in (("z", 1), ("p", 4)):
        value = finding.significance.get(name)
        if isinstance(value, int | float):
            parts.append(f"{name} = {value:.{digits}f}".rstrip("0").rstrip("."))
    return " · ".join(part for part in parts if part)


def web_link(url: str) -> str:
    """*url* when it is one a reader may follow (http or https), else an empty text: alerts bring any scheme."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return ""
    return url.strip() if parts.scheme in ("http", "https") and parts.netloc else ""


def sql_link(external_url: str, sql: str) -> str:
    """The SQL console with *sql* in it; empty when there is none or it is too long for an address."""
    query = quote(sql, safe="")
    return f"{external_url.rstrip('/')}/sql?q={query}" if sql and len(query) <= LONGEST_QUERY_IN_URL else ""


def pieces(sentence: str, names: tuple[str, ...] = ()) -> list[tuple[bool, str]]:
    """
    A sentence cut into (is code, text): code is what stands in backticks, and *names* wherever they occur.

        "`main.f` gained 3 points"   →   (True, "main.f"), (False, " gained 3 points")
    """
    found: list[tuple[bool, str]] = []
    in_code = False
    for is_name, part in _split_at_names(sentence, names):
        if is_name:
            found.append((True, part))
            continue
        for at, piece in enumerate(part.split("`")):
            in_code ^= at > 0
            found.append((in_code, piece))
    return [(is_code, text) for is_code, text in found if text]


def _split_at_names(text: str, names: tuple[str, ...]) -> list[tuple[bool, str]]:
    wanted = [re.escape(name) for name in sorted(names, key=len, reverse=True) if len(name) > 2]
    if not wanted:
        return [(False, text)]
    parts = re.split(rf"(?<![\w./])({'|'.join(wanted)})(?![\w])", text)
    return [(bool(at % 2), part) for at, part in enumerate(parts)]


def prose(sentence: str, *names: str) -> Markup:
    """A sentence as HTML, code marked."""
    return Markup("").join(
        Markup("<code>{}</code>").format(text) if is_code else escape(text) for is_code, text in pieces(sentence, names)
    )


def prose_md(sentence: str, *names: str) -> str:
    """A sentence as Markdown, code marked."""
    return "".join(code_md(text) if is_code else plain_md(text) for is_code, text in pieces(sentence, names))


def plain_md(text: str) -> str:
    """*text* on one line, meaning in Markdown exactly what it says: no markup, no HTML, no mention of a person."""
    text = re.sub(r"([\\`*_\[\]<>&|~#])", r"\\\1", re.sub(r"\s+", " ", text))
    return re.sub(r"@(?=\w)", "@\u200b", text)


def code_md(text: str) -> str:
    """*text* as an inline code span, whatever it contains."""
    line = " ".join(text.split()) or " "
    fence = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{space}{line}{space}{fence}"


def cell_md(markdown: str) -> str:
    """Markdown that goes into a cell of a table."""
    return re.sub(r"(?<!\\)\|", r"\|", markdown)
