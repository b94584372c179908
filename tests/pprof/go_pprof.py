"""What `go tool pprof` says about a profile: the oracle."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.pprof.conftest import GO_ENVIRONMENT

EVERYTHING = ["-symbolize=none", "-nodecount=0", "-nodefraction=0", "-edgefraction=0"]
UNITS = {"nanoseconds": "nanoseconds", "bytes": "B", "count": "count"}
_ROW = re.compile(r"^\s*(-?\d\S*)\s+\S+%\s+\S+%\s+(-?\d\S*)\s+\S+%\s+(.+)$")
_NODE = re.compile(r"^\s*(-?\d\S*)\s+\S+%\s+\S+%\s+(-?\d\S*)\s+\S+%\s+\|\s(.+)$")
_EDGE = re.compile(r"^\s*(-?\d\S*)\s+\S+%\s+\|\s{3}(.+)$")
_INLINE = re.compile(r" \((partial-)?inline\)$")


def _run(report: str, file: Path, value_type: str, unit: str, *more: str) -> str:
    flags = [*EVERYTHING, f"-sample_index={value_type}", f"-unit={UNITS[unit]}", *more]
    command = ["go", "tool", "pprof", report, *flags, str(file)]
    done = subprocess.run(command, env=GO_ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _number(text: str) -> int:
    """`1530000000ns`, `524288B`, `24`: whole values."""
    return int(re.sub(r"[A-Za-z]+$", "", text))


def go_top(file: Path, value_type: str, unit: str, *more: str) -> dict[str, tuple[int, int]]:
    """Function name → (flat, cum)."""
    functions = {}
    for line in _run("-top", file, value_type, unit, *more).splitlines():
        row = _ROW.match(line)
        if row:
            functions[_INLINE.sub("", row[3])] = (_number(row[1]), _number(row[2]))
    return functions


def go_peek(file: Path, value_type: str, unit: str) -> dict[str, tuple[dict[str, int], dict[str, int]]]:
    """Function name → (callers, callees), each name → value."""
    found: dict[str, tuple[dict[str, int], dict[str, int]]] = {}
    for block in re.split(r"^-+\+-+$", _run("-peek=.", file, value_type, unit), flags=re.MULTILINE):
        callers: dict[str, int] = {}
        callees: dict[str, int] = {}
        side = callers
        for line in block.splitlines():
            if node := _NODE.match(line):
                found[_INLINE.sub("", node[3])] = (callers, callees)
                side = callees
            elif edge := _EDGE.match(line):
                side[_INLINE.sub("", edge[2])] = _number(edge[1])
    return found
