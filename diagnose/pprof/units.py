"""Numbers for humans: three significant digits and a unit that fits."""

from __future__ import annotations

_STEPS = {
    "nanoseconds": ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs"), (1, "ns")),
    "bytes": ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")),
}


def format_value(value: int, unit: str) -> str:
    """
    A profile's value as people write it; counts get thin groups, an unknown unit is written out.

        1530000000 nanoseconds  1.53 s          5242880 bytes  5 MiB
        24 count                24              0 bytes        0 B
    """
    steps = _STEPS.get(unit)
    if steps is None:
        return f"{value:,}" if unit == "count" else f"{value:,} {unit}"
    size, name = next((step for step in steps if abs(value) >= step[0]), steps[-1])
    shown = f"{value / size:.3g}" if abs(value / size) < 1000 else f"{value / size:.0f}"
    return f"{shown} {name}"


def format_share(value: int, total: int) -> str:
    """`71 %`, `2.5 %`, `0.04 %`; `-` when there is no total."""
    if not total:
        return "-"
    percent = 100 * value / total
    digits = 0 if value == 0 or abs(percent) >= 10 else 1 if abs(percent) >= 0.1 else 2
    return f"{percent:.{digits}f} %"
