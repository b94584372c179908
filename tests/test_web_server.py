from __future__ import annotations

import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from diagnose.config import Auth, Certificate, Server, Settings, TlsServer, Token
from diagnose.errors import ConfigError
from diagnose.store.db import Store
from diagnose.telemetry import ALERTS
from diagnose.web.server import HttpServer
from tests.builders import webhook
from tests.serving import Answer, Serving, SmallService, create_app, serving


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(tmp_path_factory.mktemp("store")) as opened:
        yield opened


@pytest.fixture
def web(store: Store) -> Iterator[Serving]:
    with serving(store) as running:
        yield running


def test_a_port_in_use_names_the_setting(store, web):
    settings = Settings(server=Server(listen=f"127.0.0.1:{web.port}"))
    second = HttpServer(create_app(SmallService(store, settings), settings), settings)

    with pytest.raises(ConfigError, match=f"server.listen: 127.0.0.1:{web.port} is in use by another program"):
        second.start()
    second.stop()
    assert 200 == web.get("/healthz").status


def test_an_address_that_is_not_ours_names_the_setting(store):
    settings = Settings(server=Server(listen="192.0.2.1:9095"))

    with pytest.raises(ConfigError, match=r"server\.listen: cannot listen on 192\.0\.2\.1:9095"):
        HttpServer(create_app(SmallService(store, settings), settings), settings).start()


def test_a_stopped_server_frees_its_port(store):
    with serving(store) as running:
        port = running.port
    with socket.socket() as probe:
        assert 0 != probe.connect_ex(("127.0.0.1", port))


def test_one_connection_serves_many_requests(web):
    connection = web.connect()
    for path, status in (("/healthz", 200), ("/nowhere", 404), ("/webhook", 405), ("/readyz", 200)):
        connection.request("GET", path)
        assert status == Answer(connection.getresponse()).status
    connection.close()


def test_a_long_header_is_refused(web):
    assert 413 == web.get("/healthz", X_Long="x" * 100_000).status


def test_alive_is_not_the_same_as_ready(web):
    assert {"status": "ready", "reasons": []} == web.get("/readyz").json

    web.service.problems = ["the disk is full"]
    answer = web.get("/readyz")

    assert (503, ["the disk is full"]) == (answer.status, answer.json["reasons"])
    assert 200 == web.get("/healthz").status


def test_our_metrics_are_served_as_prometheus_and_openmetrics_text(web):
    ALERTS.labels("accepted").inc()
    plain = web.get("/metrics")
    open_metrics = web.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")

    assert "text/plain" in plain.headers["Content-Type"]
    assert re.search(r'^diagnose_alerts_total\{outcome="accepted"\} \d', plain.text, re.MULTILINE)
    assert open_metrics.text.endswith("# EOF\n")
    assert "_created" not in plain.text + open_metrics.text


def certificate(folder: Path, name: str, *options: str) -> tuple[Path, Path]:
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-keyout", key, "-out", cert, "-days", "2", "-subj", f"/CN={name}", *options]
    subprocess.run([*command, *subject], check=True, capture_output=True, timeout=30)
    return cert, key


def test_tls_with_client_certificates(store, tmp_path):
    cert, key = certificate(tmp_path, "localhost", "-addext", "subjectAltName=DNS:localhost")
    client, client_key = certificate(tmp_path, "client")
    tls = TlsServer(cert_file=cert, key_file=key, client_ca_file=client)

    with serving(store, Settings(server=Server(tls=tls))) as running, requests.Session() as session:
        session.trust_env = False
        url = f"https://localhost:{running.port}/healthz"
        assert 200 == session.get(url, verify=str(cert), cert=(str(client), str(client_key)), timeout=10).status_code
        context = ssl.create_default_context(cafile=str(cert))
        with pytest.raises((ssl.SSLError, ConnectionError)):
            _ask_without_certificate(running.port, context)


def test_the_subject_of_a_client_certificate_gives_the_roles(store, tmp_path):
    cert, key = certificate(tmp_path, "localhost", "-addext", "subjectAltName=DNS:localhost")
    clients = {name: certificate(tmp_path, name) for name in ("alertmanager", "reader", "stranger")}
    authorities = tmp_path / "authorities.pem"
    authorities.write_text("".join(path.read_text() for path, _ in clients.values()))
    tls = TlsServer(cert_file=cert, key_file=key, client_ca_file=authorities)
    certificates = [
        Certificate(subject="CN=alertmanager", roles=["ingest"]),
        Certificate(subject="CN=reader", roles=["read"]),
        Certificate(subject="CN=stranger,O=Elsewhere", roles=["admin"]),
    ]
    auth = Auth(certificates=certificates, tokens=[Token(name="ci", token="t-read", roles=["read"])])
    with serving(store, Settings(server=Server(tls=tls), auth=auth)) as running, requests.Session() as session:
        session.trust_env = False
        session.verify = str(cert)
        url = f"https://localhost:{running.port}"

        def post(name: str) -> int:
            files = tuple(map(str, clients[name]))
            return session.post(f"{url}/webhook", json=webhook(), cert=files, timeout=10).status_code

        assert {"alertmanager": 202, "reader": 403, "stranger": 401} == {name: post(name) for name in clients}
        stranger = tuple(map(str, clients["stranger"]))
        asked = {"cert": stranger, "headers": {"Authorization": "Bearer t-read"}, "timeout": 10}
        assert 200 == session.get(f"{url}/api/v1/incidents", **asked).status_code


def _ask_without_certificate(port: int, context: ssl.SSLContext) -> bytes:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as wrapped,
    ):
        wrapped.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return wrapped.recv(100)


def test_a_certificate_that_cannot_be_used_names_the_setting(store, tmp_path):
    cert, _ = certificate(tmp_path, "localhost")
    _, other_key = certificate(tmp_path, "other")
    settings = Settings(server=Server(tls=TlsServer(cert_file=cert, key_file=other_key)))

    with pytest.raises(ConfigError, match=r"server\.tls: certificate, key or client CA cannot be used"):
        HttpServer(create_app(SmallService(store, settings), settings), settings)
