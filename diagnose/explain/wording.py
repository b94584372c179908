"""Numbers and names as the sentences of a report have them."""

from __future__ import annotations

from collections.abc import Sequence

ROUND_FROM = 10  # from here on no decimals


def number(value: float) -> str:
    """At least two digits that count, thousands separated: 0.034, 1.2, 34, 1,412."""
    size = abs(value)
    if size == 0:
        return "0"
    if size >= ROUND_FROM:
        return f"{value:,.0f}"
    if size >= 1:
        return f"{value:.1f}"
    return f"{value:.2g}" if size >= 0.001 else "0"


def percent(share: float) -> str:
    """A share of 1: 0.712 → 71 %, 0.0031 → 0.3 %."""
    value = 100 * share
    if 0 < value < 0.1:
        return "under 0.1 %"
    return f"{value:.1f} %" if 0 < value < 1 else f"{value:.0f} %"


def seconds(value_s: float) -> str:
    """2.3 s, 410 ms, 1.2 ms."""
    if abs(value_s) >= 1:
        return f"{number(value_s)} s"
    return f"{number(value_s * 1000)} ms"


def size(value_bytes: float) -> str:
    """Decimal units, as memory limits and dashboards have them: 84 MB, 1.2 GB."""
    value, unit = value_bytes, "B"
    for bigger in ("kB", "MB", "GB", "TB"):
        if abs(value) < 1000:
            break
        value, unit = value / 1000, bigger
    return f"{number(value)} {unit}"


def count(value: float, one: str, many: str = "") -> str:
    """1 goroutine, 1,412 goroutines."""
    return f"{value:,.0f} {one if round(value) == 1 else many or one + 's'}"


def short(function: str) -> str:
    """
    A Go name without the path of its package.

        example.com/shop/internal/price.(*Matcher).Match[go.shape.string]   →   price.(*Matcher).Match[...]
    """
    cut = min((at for at in map(function.find, "([") if at >= 0), default=len(function))
    name = function[function.rfind("/", 0, cut) + 1 :]
    bracket = name.find("[")
    return name if bracket < 0 else f"{name[:bracket]}[...]"


def place(file: str, line: int) -> str:
    """`shop/price_matcher.go:79`; empty when the file is unknown."""
    if not file:
        return ""
    name = "/".join(file.replace("\\", "/").split("/")[-2:])
    return f"{name}:{line}" if line else name


def listed(names: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def code(name: str) -> str:
    """In the mark the report sets as code; a mark inside would end it."""
    return "`" + name.replace("`", "'") + "`"
