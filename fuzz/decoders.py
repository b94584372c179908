"""
Mutated recorded bytes against every decoder, guided by coverage (atheris, libFuzzer).

    python -m fuzz.decoders [--seconds 600] [TARGET …]

Each target runs in a process of its own for its share of the time. Allowed is an answer or a DecodeError; anything else
ends with the bytes in fuzz/found/ and exit code 1. `stored` also stores what was read, in a real database.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import atheris
import click

with atheris.instrument_imports(include=["diagnose"]):
    from diagnose.errors import DecodeError
    from diagnose.model import IncidentKey, fingerprint_of
    from diagnose.pprof.codec import decode as decode_profile
    from diagnose.receive.alertmanager import decode as decode_webhook
    from diagnose.receive.direct import decode_direct
    from diagnose.receive.otlp import decode_metrics, decode_traces
    from diagnose.receive.remote_write import decode_write
    from diagnose.store.alerts import save_group
    from diagnose.store.db import Store

HERE = Path(__file__).parent
DATA = HERE.parent / "tests" / "data"
FOUND = HERE / "found"
NOW = datetime(2026, 11, 24, 10, 5, tzinfo=UTC)
PROTOBUF, JSON = "application/x-protobuf", "application/json"
LARGEST_BYTES = 20_000
MOST_MEMORY_MIB = 2048


def webhook(body: bytes) -> None:
    decoded = decode_webhook(body, received_at=NOW)
    for alert in decoded.group.alerts:
        assert alert.starts_at.tzinfo is not None
        assert len(fingerprint_of(alert.labels)) == 16
        "".join((*alert.labels, *alert.labels.values(), *alert.annotations.values())).encode()  # what a table can hold


def direct(body: bytes) -> None:
    decode_direct(body, received_at=NOW, group_by=("alertname", "job"))


def profile(body: bytes) -> None:
    decode_profile(body, max_inflated_bytes=10_000_000)


def remote_write(body: bytes) -> None:
    decode_write(body)


def _stored() -> Callable[[bytes], None]:
    store = Store.open(Path(tempfile.mkdtemp(prefix="fuzz-")))

    def stored(body: bytes) -> None:
        group = decode_webhook(body, received_at=NOW).group
        save_group(store, group, lambda alert: IncidentKey(alert.alertname, "checkout"), quiet=timedelta(minutes=15))

    return stored


TARGETS: dict[str, Callable[[], Callable[[bytes], None]]] = {
    "webhook": lambda: webhook,
    "stored": _stored,
    "direct": lambda: direct,
    "traces": lambda: lambda body: decode_traces(body, PROTOBUF) and None,
    "traces-json": lambda: lambda body: decode_traces(body, JSON) and None,
    "metrics": lambda: lambda body: decode_metrics(body, PROTOBUF) and None,
    "metrics-json": lambda: lambda body: decode_metrics(body, JSON) and None,
    "remote-write": lambda: remote_write,
    "profile": lambda: profile,
}
SEEDS = {
    "webhook": "alertmanager/*.json",
    "stored": "alertmanager/*.json",
    "direct": "direct/*.json",
    "traces": "otlp/*-traces.bin",
    "metrics": "otlp/*-metrics.bin",
    "profile": "pprof/*.pb.gz",
}


def _seed(target: str, folder: Path) -> None:
    """Recorded bytes to start from; of profiles what is inside the gzip, which no mutation survives."""
    for file in DATA.glob(SEEDS.get(target, "none")):
        body = file.read_bytes()
        (folder / file.name).write_bytes(gzip.decompress(body) if file.suffix == ".gz" else body)
    (folder / "empty").write_bytes(b"")
    (folder / "object").write_bytes(json.dumps({"resourceSpans": [], "resourceMetrics": []}).encode())


def _fuzz(target: str, seconds: int) -> None:
    """Never returns: libFuzzer ends the process."""
    test_one = TARGETS[target]()

    def allowed(body: bytes) -> None:
        try:
            test_one(body)
        except DecodeError:
            return

    with tempfile.TemporaryDirectory() as corpus:
        _seed(target, Path(corpus))
        options = [f"-max_total_time={seconds}", f"-max_len={LARGEST_BYTES}", f"-rss_limit_mb={MOST_MEMORY_MIB}"]
        options += [f"-artifact_prefix={FOUND}/{target}-", "-timeout=30", "-verbosity=0", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *options, corpus], allowed)
        atheris.Fuzz()


@click.command(help=__doc__)
@click.option("--seconds", default=600, help="For all targets together.")
@click.option("--alone", is_flag=True, hidden=True, help="Fuzz the one target in this process.")
@click.argument("targets", nargs=-1, type=click.Choice(list(TARGETS)))
def main(seconds: int, alone: bool, targets: tuple[str, ...]) -> None:
    FOUND.mkdir(exist_ok=True)
    if alone:
        _fuzz(targets[0], seconds)
    chosen = targets or tuple(TARGETS)
    failed = []
    for target in chosen:
        command = [sys.executable, "-m", "fuzz.decoders", "--alone", "--seconds", str(seconds // len(chosen)), target]
        run = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, check=False)
        executed = [line.split()[-1] for line in run.stderr.splitlines() if "number_of_executed_units" in line]
        print(f"{target}: {executed[0] if executed else '?'} inputs, {'failed' if run.returncode else 'nothing found'}")
        if run.returncode:
            failed.append(target)
            print(run.stderr[-6000:])
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
