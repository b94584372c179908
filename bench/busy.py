"""
`diagnose serve` with a thread beside it that computes in Python without end, as reading a large profile does.

BENCH_SWITCH_INTERVAL sets how long that thread may keep the interpreter from the others; BENCH_BUSY=0 leaves it out.
"""

from __future__ import annotations

import os
import threading

import diagnose.app
from diagnose.cli import main


def compute() -> None:
    total = 0
    while True:
        total = (total * 31 + 7) % 1_000_003


if __name__ == "__main__":
    if interval := os.environ.get("BENCH_SWITCH_INTERVAL"):
        diagnose.app.SWITCH_INTERVAL_S = float(interval)
    if os.environ.get("BENCH_BUSY", "1") == "1":
        threading.Thread(target=compute, daemon=True).start()
    main()
