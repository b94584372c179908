"""
The OpenTelemetry collector between a sender and the service, as it is built for the demo, and a scenario in which both
are stopped and started while spans come in. Its full length is in bench/collector_restarts.py.
"""

from __future__ import annotations

import subprocess
import threading
from itertools import cycle
from pathlib import Path
from typing import Any, Self

import yaml

from demo.processes import free_port
from demo.tools import Tools
from diagnose.store.db import Store
from tests.pprof.conftest import GO_ENVIRONMENT
from tests.service_process import ServiceProcess
from tests.waiting import wait_until

SOURCE = Path(__file__).parent / "goprograms" / "otlpsender"
PATIENCE_S = 120
AWAY_S = 1.0  # how long who was stopped stays away
RETRY = {"initial_interval": "100ms", "max_interval": "500ms", "max_elapsed_time": "0s"}
QUEUE = {
    "storage": "file_storage",
    "sizer": "items",
    "queue_size": 1_000_000,
    "batch": {"sizer": "items", "flush_timeout": "100ms", "min_size": 200, "max_size": 500},
}
LARGE = {"sizer": "items", "flush_timeout": "200ms", "min_size": 1000, "max_size": 4000}


def build_sender(folder: Path) -> Path:
    """The program of `goprograms/otlpsender`."""
    file = folder / "otlpsender"
    subprocess.run(["go", "build", "-o", file, "."], cwd=SOURCE, env=GO_ENVIRONMENT, check=True, timeout=600)
    return file


def send(sender: Path, protocol: str, address: str, spans: int) -> None:
    """Returns when all was acknowledged."""
    done = subprocess.run(
        [sender, protocol, address, str(spans)], check=True, timeout=PATIENCE_S, capture_output=True, text=True
    )
    assert (str(spans), "") == (done.stdout.strip(), done.stderr)


def otlp_http(service: ServiceProcess) -> dict[str, Any]:
    return {"otlp_http": {"endpoint": service.url}}


def otlp_grpc(service: ServiceProcess) -> dict[str, Any]:
    return {"otlp_grpc": {"endpoint": service.settings["ingest"]["otlp_grpc"], "tls": {"insecure": True}}}


class Collector:
    """
    It takes OTLP over gRPC at `address` and delivers it with *exporter*, metrics by remote write as well.

    What it cannot deliver waits on disk in *folder*.
    """

    def __init__(self, folder: Path, service: ServiceProcess, exporter: dict[str, Any], **queue: Any) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._folder = folder
        self._file = folder / "collector.yaml"
        self._file.write_text(yaml.safe_dump(_settings(self.address, folder, service, exporter, QUEUE | queue)))
        self._process: subprocess.Popen[bytes] | None = None
        self._program = Tools().locate(("otelcol",))["otelcol"]

    def start(self) -> Self:
        """Senders wait until it listens."""
        with (self._folder / "collector.log").open("ab") as log:
            self._process = subprocess.Popen([self._program, "--config", self._file], stdout=log, stderr=log)
        return self

    def stop(self) -> None:
        """What is under way is delivered first, or stays in its queue."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(PATIENCE_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _settings(
    address: str, folder: Path, service: ServiceProcess, exporter: dict[str, Any], queue: dict[str, Any]
) -> dict[str, Any]:
    [(name, settings)] = exporter.items()
    return {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": address}}}},
        "exporters": {
            name: settings | {"sending_queue": queue, "retry_on_failure": RETRY},
            "prometheus_remote_write": {"endpoint": f"{service.url}/api/v1/write"},
        },
        "extensions": {"file_storage": {"directory": str(folder / "queue"), "create_directory": True}},
        "service": {
            "extensions": ["file_storage"],
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {
                "traces": {"receivers": ["otlp"], "exporters": [name]},
                "metrics": {"receivers": ["otlp"], "exporters": [name, "prometheus_remote_write"]},
            },
        },
    }


def found(service: ServiceProcess, sql: str) -> int:
    """The number a query over the rows of this moment answers; -1 when all are busy."""
    status, answer = service.post("/api/v1/sql", {"sql": sql, "fresh": True})
    assert status in {200, 503}, answer
    return int(answer["rows"][0][0]) if status == 200 else -1


def wait_for_count(service: ServiceProcess, sql: str, count: int) -> None:
    wait_until(lambda: found(service, sql) >= count, PATIENCE_S)


# --- stopped and started ----------------------------------------------------------------------------------------------


def stop_and_start(folder: Path, sender: Path, *, spans: int, a_second: int, every_s: float) -> dict[str, int]:
    """
    *spans* go to the collector at that rate; every so many seconds the collector or the service, in turns, is stopped
    and started again, until all were sent.

    The spans that the sender counts, those that are found, the different ones among them, and how often each was
    stopped. Fails when the sender could not deliver all.
    """
    stops = {"collector": 0, "service": 0}
    with ServiceProcess(folder) as service, Collector(folder, service, otlp_http(service), batch=LARGE) as collector:
        command = [sender, "grpc", collector.address, str(spans), str(a_second)]
        sending = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        ended = threading.Event()
        answers: list[tuple[str, str]] = []
        waiter = threading.Thread(target=lambda: (answers.append(sending.communicate()), ended.set()))
        waiter.start()
        for name, one in cycle({"service": service, "collector": collector}.items()):
            if ended.wait(every_s):
                break
            one.stop()
            ended.wait(AWAY_S)
            one.start()
            stops[name] += 1
        waiter.join()
        [(counted, complaints)] = answers
        assert not complaints, complaints
        wait_for_count(service, "SELECT count(*) FROM spans", int(counted))
    with Store.open(folder / "data", read_only=True) as store:
        numbers = store.row("SELECT count(*) AS found, count(DISTINCT span_id) AS different FROM span")
    return {"sent": int(counted), **numbers, **{f"{name}_stops": count for name, count in stops.items()}}
