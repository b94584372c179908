"""What others send with programs of their own: the OpenTelemetry SDK for Go and the collector, to the real service."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo.processes import free_port, free_ports
from tests.pprof.conftest import GO_ENVIRONMENT
from tests.service_process import ServiceProcess
from tests.waiting import wait_until

SOURCE = Path(__file__).parent / "goprograms" / "otlpsender"
COLLECTOR = Path(__file__).parent.parent / ".tools" / "bin" / "otelcol"
PATIENCE_S = 120


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("otlpsender") / "otlpsender"
    subprocess.run(["go", "build", "-o", file, "."], cwd=SOURCE, env=GO_ENVIRONMENT, check=True, timeout=600)
    return file


def send(sender: Path, protocol: str, address: str, spans: int) -> None:
    """Returns when all was acknowledged."""
    done = subprocess.run(
        [sender, protocol, address, str(spans)], check=True, timeout=PATIENCE_S, capture_output=True, text=True
    )
    assert (str(spans), "") == (done.stdout.strip(), done.stderr)


def found(service: ServiceProcess, sql: str) -> int:
    """The number a query over the rows of this moment answers; -1 when all are busy."""
    status, answer = service.post("/api/v1/sql", {"sql": sql, "fresh": True})
    assert status in {200, 503}, answer
    return int(answer["rows"][0][0]) if status == 200 else -1


def wait_for_count(service: ServiceProcess, sql: str, count: int) -> None:
    wait_until(lambda: found(service, sql) >= count, PATIENCE_S)


def test_what_the_go_sdk_sends_over_http_and_grpc_is_stored_whole(tmp_path, sender):
    addresses = dict(zip(("http", "grpc"), (f"127.0.0.1:{port}" for port in free_ports(2)), strict=True))
    listeners = {f"otlp_{protocol}": address for protocol, address in addresses.items()}
    with ServiceProcess(tmp_path, ingest=listeners) as service:
        for protocol, address in addresses.items():
            send(sender, protocol, address, 700)
            whole = f"service_name = 'sender-{protocol}' AND status_code = 'ERROR' AND kind = 'CLIENT'"
            whole += " AND attributes['kinds'] = '[\"a\",\"b\"]' AND events[1].attributes['ok'] = 'true'"

            assert 700 == found(service, f"SELECT count(DISTINCT attributes['number']) FROM spans WHERE {whole}")  # noqa: S608
            sent = f"SELECT value::BIGINT FROM metrics WHERE name = 'sent' AND service_name = 'sender-{protocol}'"  # noqa: S608
            assert 700 == found(service, sent)


@contextmanager
def collector(folder: Path, service: ServiceProcess) -> Iterator[str]:
    """Its address for OTLP over gRPC. What it cannot deliver waits on disk."""
    listen = f"127.0.0.1:{free_port()}"
    queue = {
        "storage": "file_storage",
        "sizer": "items",
        "queue_size": 1_000_000,
        "batch": {"sizer": "items", "flush_timeout": "100ms", "min_size": 200, "max_size": 500},
    }
    exporters: dict[str, Any] = {
        "otlp_http": {
            "endpoint": service.url,
            "sending_queue": queue,
            "retry_on_failure": {"initial_interval": "100ms", "max_interval": "500ms", "max_elapsed_time": "0s"},
        },
        "prometheus_remote_write": {"endpoint": f"{service.url}/api/v1/write"},
    }
    config = {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": listen}}}},
        "exporters": exporters,
        "extensions": {"file_storage": {"directory": str(folder / "queue"), "create_directory": True}},
        "service": {
            "extensions": ["file_storage"],
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {
                "traces": {"receivers": ["otlp"], "exporters": ["otlp_http"]},
                "metrics": {"receivers": ["otlp"], "exporters": ["otlp_http", "prometheus_remote_write"]},
            },
        },
    }
    file = folder / "collector.yaml"
    file.write_text(yaml.safe_dump(config))
    with (folder / "collector.log").open("wb") as log:
        process = subprocess.Popen([COLLECTOR, "--config", file], stdout=log, stderr=log)
        try:
            yield listen
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def test_what_a_collector_delivers_survives_kill_9_and_is_there_once(tmp_path, sender):
    with ServiceProcess(tmp_path) as service, collector(tmp_path, service) as address:
        send(sender, "grpc", address, 3000)
        wait_for_count(service, "SELECT count(*) FROM spans", 1)
        service.kill()
        send(sender, "grpc", address, 3000)
        service.start()
        wait_for_count(service, "SELECT count(*) FROM spans", 6000)
        wait_for_count(service, "SELECT count(*) FROM metrics WHERE name LIKE 'sent%' AND source = 'prometheus'", 1)
        wait_for_count(service, "SELECT count(*) FROM metrics WHERE name = 'sent' AND source = 'otlp'", 2)

        assert 6000 == found(service, "SELECT count(*) FROM spans")
        assert 6000 == found(service, "SELECT count(DISTINCT span_id) FROM spans")
        assert 0 == found(service, "SELECT count(*) FROM metrics WHERE source = 'prometheus' AND value <> 3000")
