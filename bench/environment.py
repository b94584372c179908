"""The machine and the versions a benchmark ran with, for its JSON and its page."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("duckdb", "pyarrow", "protobuf", "ptars", "cheroot", "flask")


def describe() -> dict[str, str]:
    """Name → text; what cannot be found out is left out."""
    known = {
        "cpu": _line("/proc/cpuinfo", "model name"),
        "cores": str(len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else str(os.cpu_count()),
        "memory": _line("/proc/meminfo", "MemTotal"),
        "system": f"{platform.system()} {platform.release()}",
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "python": platform.python_version(),
        "commit": _commit(),
        **{name: version(name) for name in PACKAGES},
    }
    return {name: text for name, text in known.items() if text}


def _line(path: str, name: str) -> str:
    """The value of `name : value` in a file of /proc."""
    file = Path(path)
    lines = file.read_text().splitlines() if file.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()
