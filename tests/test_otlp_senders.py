"""What others send with programs of their own: the OpenTelemetry SDK for Go and the collector, to the real service."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.processes import free_port, free_ports
from tests.otlp_collector import (
    Collector,
    build_sender,
    found,
    otlp_grpc,
    otlp_http,
    send,
    stop_and_start,
    wait_for_count,
)
from tests.service_process import ServiceProcess


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_sender(tmp_path_factory.mktemp("otlpsender"))


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


@pytest.mark.parametrize("exporter", [otlp_http, otlp_grpc])
def test_what_a_collector_delivers_survives_kill_9_and_is_there_once(tmp_path, sender, exporter):
    with (
        ServiceProcess(tmp_path, ingest={"otlp_grpc": f"127.0.0.1:{free_port()}"}) as service,
        Collector(tmp_path, service, exporter(service)) as collector,
    ):
        send(sender, "grpc", collector.address, 3000)
        wait_for_count(service, "SELECT count(*) FROM spans", 1)
        service.kill()
        send(sender, "grpc", collector.address, 3000)
        service.start()
        wait_for_count(service, "SELECT count(*) FROM spans", 6000)
        wait_for_count(service, "SELECT count(*) FROM metrics WHERE name LIKE 'sent%' AND source = 'prometheus'", 1)
        wait_for_count(service, "SELECT count(*) FROM metrics WHERE name = 'sent' AND source = 'otlp'", 2)

        assert 6000 == found(service, "SELECT count(*) FROM spans")
        assert 6000 == found(service, "SELECT count(DISTINCT span_id) FROM spans")
        assert 0 == found(service, "SELECT count(*) FROM metrics WHERE source = 'prometheus' AND value <> 3000")


def test_all_that_is_sent_while_collector_and_service_stop_and_start_is_there_once(tmp_path, sender):
    numbers = stop_and_start(tmp_path, sender, spans=300_000, a_second=20_000, every_s=2.0)

    assert numbers["sent"] == numbers["found"] == numbers["different"] == 300_000
    assert min(numbers["collector_stops"], numbers["service_stops"]) > 0
