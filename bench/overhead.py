"""
What a capture costs the program it is taken from.

    python -m bench.overhead [--turns 5] [--seconds 12]

The sample system takes orders at a steady rate, and as many as it can; without a capture and with a round of all kinds
(10 s of CPU profile, polled goroutines beside it), by turns in one run. Shown are orders per second, their p50 and p99,
CPU of the checkout process per order, and what the capture rows say. Ratios are of neighbouring measurements. Writes
bench/results/overhead.json.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import click

from bench.environment import describe
from bench.shop import Shop, load_command, running_shop
from diagnose.capture.locks import Turns
from diagnose.capture.round import RoundRequest, run_round
from diagnose.model import Capture, new_id
from diagnose.store.db import Store

RESULTS = Path(__file__).parent / "results" / "overhead.json"
KINDS = ("goroutine", "heap", "mutex", "block", "cpu", "wall")
CPU_S = 10
STEADY_RPS, MOST_RPS = 40.0, 2000.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SUMMARY = re.compile(r"requests=(\d+) failed=(\d+) skipped=\d+ p50_ms=(\S+) p99_ms=(\S+)")


@click.command(help=__doc__)
@click.option("--turns", default=5, help="Measurements with and without, each.")
@click.option("--seconds", default=12, help="Length of one.")
def main(turns: int, seconds: int) -> None:
    found: dict[str, Any] = {"environment": describe(), "seconds": seconds, "turns": turns}
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "data") as store, running_shop() as shop:
        for name, rps in (("steady", STEADY_RPS), ("as many as it can", MOST_RPS)):
            _measure(store, shop, rps, 3, capture=False)  # connections, caches
            pairs = [
                (_measure(store, shop, rps, seconds, capture=False), _measure(store, shop, rps, seconds, capture=True))
                for _ in range(turns)
            ]
            found[name] = _compare(pairs)
            print(json.dumps({name: found[name]}, indent=1), flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def _measure(store: Store, shop: Shop, rps: float, seconds: int, *, capture: bool) -> dict[str, Any]:
    """One run of the load, and of a round beside it."""
    before_s = _cpu_s(shop.pids["checkout"])
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(_round, store, shop) if capture else None
        command = load_command(shop, rps, f"{seconds}s", seed=1)
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        captures = beside.result() if beside else []
    result = _read(told, seconds)
    result["cpu_ms_per_order"] = 1000 * (_cpu_s(shop.pids["checkout"]) - before_s) / result["orders"]
    return result | {"captures": [_cost(each) for each in captures]}


def _round(store: Store, shop: Shop) -> list[Capture]:
    request = RoundRequest(new_id("inc"), "alert", KINDS, CPU_S)
    return run_round(store, shop.checkout, request, on_cheap=lambda: None, stop=threading.Event(), turns=Turns())


def _cpu_s(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def _read(told: str, seconds: int) -> dict[str, Any]:
    match = SUMMARY.search(told)
    assert match, told
    orders = int(match[1])
    return {
        "orders": orders,
        "failed": int(match[2]),
        "orders_per_s": orders / seconds,
        "p50_ms": float(match[3]),
        "p99_ms": float(match[4]),
    }


def _cost(capture: Capture) -> dict[str, Any]:
    return {
        "kind": capture.kind,
        "phase": capture.phase,
        "status": capture.status,
        "requests": capture.requests,
        "took_ms": round(capture.took_ms or 0, 1),
        "bytes": capture.bytes,
    }


def _compare(pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    """Medians, and the median of the ratios of neighbouring measurements."""
    names = ("orders_per_s", "p50_ms", "p99_ms", "cpu_ms_per_order")
    compared: dict[str, Any] = {
        name: {
            "without": round(median(without[name] for without, _ in pairs), 3),
            "with": round(median(with_[name] for _, with_ in pairs), 3),
            "ratio": round(median(with_[name] / without[name] for without, with_ in pairs), 3),
            "ratios": [round(with_[name] / without[name], 2) for without, with_ in pairs],
        }
        for name in names
    }
    return compared | {
        "failed": sum(one["failed"] for pair in pairs for one in pair),
        "captures": pairs[-1][1]["captures"],
    }


if __name__ == "__main__":
    main()
