"""
How fast alerts are taken in, and what it costs.

    python -m bench.intake [--seconds 10] [--rounds 3]

Three doors take turns in the same run, at 1 and at 16 clients, every post one new alert: one that parses and stores
nothing, one with a commit per request, and ours, where messages that wait together share statements and commit. CPU is
that of the server process. Then the whole service at 200 posts/s, alone and beside 20,000 spans/s: once with alerts
that open no incident, which is intake alone, and once with the investigation of eight incidents that grow by 25 alerts
a second each. Writes bench/results/intake.json.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import click

from bench.alert_load import Client, one_alert, pace, press
from bench.environment import describe
from bench.telemetry import trace_request
from tests.service_process import ServiceProcess

RESULTS = Path(__file__).parent / "results" / "intake.json"
DOORS = ("nothing", "single", "together")
SPANS_A_REQUEST = 1000
NO_INCIDENTS = [{"matchers": ['alertname="nothing"']}]
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
NAMES = itertools.count()


@click.command(help=__doc__)
@click.option("--seconds", default=6.0, help="Length of one measurement.")
@click.option("--rounds", default=3, help="Turns of each door; the median counts.")
def main(seconds: float, rounds: int) -> None:
    found: dict[str, Any] = {"environment": describe(), "doors": {}}
    for clients in (1, 16):
        measured: dict[str, list[dict[str, Any]]] = {mode: [] for mode in DOORS}
        for _, mode in itertools.product(range(rounds), DOORS):
            measured[mode].append(_press_door(mode, clients, seconds))
        found["doors"][str(clients)] = _compare(measured)
        print(json.dumps({f"{clients} clients": found["doors"][str(clients)]}, indent=1), flush=True)
    for rules, spans in itertools.product(({"rules": NO_INCIDENTS}, {}), (0, 20_000)):
        name = f"200 posts/s beside {spans} spans/s, {'no incidents' if rules else 'eight incidents'}"
        found[name] = _beside_ingest(spans, seconds * 2, **rules)
        print(json.dumps({name: found[name]}), flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def _press_door(mode: str, clients: int, seconds: float) -> dict[str, Any]:
    with _door(mode) as (pid, port):
        press("127.0.0.1", port, itertools.islice(_bodies(), 50), clients=clients, stop=lambda: False)
        until = time.perf_counter() + seconds
        cpu_s = _cpu_s(pid)
        tally = press("127.0.0.1", port, _bodies(), clients=clients, stop=lambda: time.perf_counter() > until)
        cpu_s = _cpu_s(pid) - cpu_s
    return tally.summary() | {"cpu_ms_per_post": round(cpu_s * 1000 / max(1, tally.accepted), 3)}


def _compare(measured: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    middle = {mode: sorted(runs, key=lambda run: run["posts_per_s"])[len(runs) // 2] for mode, runs in measured.items()}
    rounds = list(zip(*measured.values(), strict=True))
    return middle | {
        "rate_together_over_single": round(
            median(ours["posts_per_s"] / single["posts_per_s"] for _, single, ours in rounds), 2
        ),
        "cpu_together_over_nothing": round(
            median(ours["cpu_ms_per_post"] / nothing["cpu_ms_per_post"] for nothing, _, ours in rounds), 2
        ),
    }


def _beside_ingest(spans_per_s: int, seconds: float, **settings: Any) -> dict[str, Any]:
    """200 posts/s to the whole service while spans come in; how many of them really did."""
    with tempfile.TemporaryDirectory() as folder:
        service = ServiceProcess(Path(folder), **settings).start()
        host, port = service.url.removeprefix("http://").split(":")
        with sending_spans(host, int(port), spans_per_s) as sent:
            time.sleep(2)  # the first requests plan their statements
            before, began = sent[0], time.perf_counter()
            tally = pace(host, int(port), _bodies(), per_second=200, clients=16, seconds=seconds)
            rate = (sent[0] - before) / (time.perf_counter() - began)
        service.kill_for_good()
    return tally.summary() | {"spans_per_s": round(rate)}


@contextmanager
def sending_spans(host: str, port: int, per_s: int) -> Iterator[list[int]]:
    """Posts OTLP from two threads meanwhile. The list holds how many spans were acknowledged."""
    sent, stopping = [0], threading.Event()
    requests = [trace_request(SPANS_A_REQUEST, seed) for seed in range(64)] if per_s else []
    turns, lock = itertools.count(), threading.Lock()
    began = time.perf_counter()

    def work() -> None:
        client = Client(host, port)
        while not stopping.is_set():
            with lock:
                turn = next(turns)
            stopping.wait(max(0.0, began + turn * SPANS_A_REQUEST / per_s - time.perf_counter()))
            body = requests[turn % len(requests)] + _padding(turn)
            status, _ = client.post("/v1/traces", body, "application/x-protobuf")
            with lock:
                sent[0] += SPANS_A_REQUEST if status == 200 else 0
        client.close()

    threads = [threading.Thread(target=work, name="spans") for _ in range(2 if per_s else 0)]
    for thread in threads:
        thread.start()
    try:
        yield sent
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


def _padding(turn: int) -> bytes:
    """An unknown field (number 1000) with the turn in it: no two bodies are the same, so none is a repetition."""
    return b"\xc2\x3e\x08" + turn.to_bytes(8, "big")


@contextmanager
def _door(mode: str) -> Iterator[tuple[int, int]]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bench.door", mode, folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            yield process.pid, int(process.stdout.readline())
            process.communicate()


def _bodies() -> Iterator[bytes]:
    run = f"{os.getpid()}-{next(NAMES)}"
    return (one_alert(number, run) for number in itertools.count())


def _cpu_s(pid: int) -> float:
    """User and system time of a process; fields 14 and 15 of /proc/PID/stat (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


if __name__ == "__main__":
    main()
