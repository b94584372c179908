"""
docker-compose.yml, Dockerfile and what they mount, checked without pulling an image: the schema, every path, every
port, every pin, and what the real programs say of the files.
"""

from __future__ import annotations

import http.server
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from demo.compose import FOLDER, files
from demo.golang import RELEASE
from demo.guard import Guard
from demo.processes import Children, free_ports, wait_ready
from demo.recipes import alertmanager_release, pinned, prometheus_release
from demo.render import collector_environ, compose_values
from demo.stack import PROMETHEUS_FEATURES
from demo.tools import ROOT, Tools
from diagnose.config import load_settings

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
VALUES = compose_values()
SHOP = {instance.name: instance for instance in VALUES.instances}
UPSTREAM = {name: service["image"] for name, service in SERVICES.items() if "build" not in service}
DOCKERFILE = (ROOT / "Dockerfile").read_text()
TOKEN = Path("secrets/diagnose_token")


def instructions(name: str) -> list[str]:
    """The arguments of every such instruction of the Dockerfile."""
    joined = DOCKERFILE.replace("\\\n", " ")
    return [line.removeprefix(f"{name} ").strip() for line in joined.splitlines() if line.startswith(f"{name} ")]


def mounts() -> Iterator[tuple[str, Path, str]]:
    """Service, path on this machine, path in the container."""
    for name, service in SERVICES.items():
        for volume in service.get("volumes", ()):
            source, target = volume.split(":")[:2]
            if source.startswith("."):
                yield name, ROOT / source, target


def test_it_is_what_the_compose_specification_allows() -> None:
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        "docker-compose.yml",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stdout


def test_what_it_mounts_is_what_the_templates_say_now() -> None:
    assert {path: text for path, text in files().items() if (FOLDER / path).read_text() != text} == {}
    assert files().keys() == {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file()}


def test_every_mounted_path_exists_and_is_read_only() -> None:
    assert [] == [(name, str(source)) for name, source, _ in mounts() if not source.exists()]
    assert all(
        volume.endswith(":ro")
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
        if "./" in volume
    )


def test_every_volume_and_secret_is_declared_and_the_secret_is_made_by_a_step_of_the_documents() -> None:
    volumes = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
        if not volume.startswith(".")
    }
    steps = (ROOT / "docs/how-to/compose.md").read_text()

    assert COMPOSE["volumes"].keys() == volumes
    assert COMPOSE["secrets"] == {"diagnose_token": {"file": f"./{TOKEN}"}}
    assert f'install -d -m 700 {TOKEN.parent} && printf %s "$(openssl rand -hex 32)" > {TOKEN}' in steps
    assert f"/run/secrets/{TOKEN.name}" == VALUES.token_file
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_every_upstream_image_is_pinned_to_the_version_the_demo_is_tested_with() -> None:
    assert {
        "prometheus": f"prom/prometheus:v{prometheus_release(ROOT)}",
        "alertmanager": f"prom/alertmanager:v{alertmanager_release(ROOT)}",
        "otelcol": "otel/opentelemetry-collector-contrib:"
        + pinned(ROOT, "collector-config/go.mod", "go.opentelemetry.io/collector/receiver/otlpreceiver"),
    } == UPSTREAM


def test_every_base_image_is_pinned_and_go_is_the_release_the_demo_builds_with() -> None:
    bases = {line.split()[0] for line in instructions("FROM")}

    assert {"scratch"} == {base for base in bases if not re.search(r":\d+\.\d+\.\d+-", base)}
    assert f"golang:{RELEASE.removeprefix('go')}-bookworm" in bases


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_can_write_nothing_but_its_volumes_and_has_no_privileges(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"]
    assert ["ALL"] == service["cap_drop"]
    assert ["no-new-privileges:true"] == service["security_opt"]


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_loopback_only_and_lead_to_one_that_is_listened_on(name: str) -> None:
    listening = {
        "diagnose": {VALUES.diagnose},
        "prometheus": {VALUES.prometheus},
        "alertmanager": {VALUES.alertmanager},
        "otelcol": {VALUES.collector.otlp_http, VALUES.collector.otlp_grpc},
        **{each.name: {each.traffic, each.admin} for each in VALUES.instances},
    }
    published = [port.split(":") for port in SERVICES[name].get("ports", ())]

    assert all(host == "127.0.0.1" for host, _, _ in published)
    assert {f"{name}:{inside}" for _, _, inside in published} <= listening.get(name, set())


def test_published_ports_are_all_different() -> None:
    published = [port.rsplit(":", 1)[0] for service in SERVICES.values() for port in service.get("ports", ())]

    assert len(published) == len(set(published))


def test_every_address_the_configuration_names_is_a_service() -> None:
    named = set(re.findall(r"([a-z][a-z0-9-]*):\d{4,5}\b", "\n".join(files().values())))

    assert {"diagnose", "prometheus", "alertmanager", "otelcol"} < named
    assert named <= SERVICES.keys()


@pytest.mark.parametrize("name", SHOP)
def test_an_instance_of_the_shop_runs_as_the_configuration_expects(name: str) -> None:
    instance, command = SHOP[name], SERVICES[name]["command"].split()
    options = dict(zip(command[1::2], command[2::2], strict=True))
    callees = {"gateway": ("checkout",), "checkout": ("pricing", "inventory")}.get(instance.service, ())

    assert "serve" == command[0]
    assert options == {
        "--service": instance.service,
        "--instance": name,
        "--listen": VALUES.listen(instance.traffic),
        "--admin": VALUES.listen(instance.admin),
        "--otlp": f"http://{VALUES.collector.otlp_http}",
        **{f"--{callee}": ",".join(f"http://{each.traffic}" for each in VALUES.of(callee)) for callee in callees},
    }


def test_prometheus_keeps_exemplars_and_takes_what_the_collector_writes() -> None:
    assert set(PROMETHEUS_FEATURES) < set(SERVICES["prometheus"]["command"])


def test_the_collector_gets_the_environment_its_file_reads() -> None:
    given = SERVICES["otelcol"]["environment"]

    assert {**collector_environ(VALUES), "DIAGNOSE_AUTHORIZATION": given["DIAGNOSE_AUTHORIZATION"]} == given


def test_the_rules_are_valid_and_watch_the_shop_alone() -> None:
    promtool = Tools().locate(["promtool"])["promtool"]
    rules = sorted((FOLDER / "rules").glob("*.yaml"))
    done = subprocess.run([promtool, "check", "rules", *rules], capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stderr
    assert [] == [path.name for path in rules if 'job=~".+"' in path.read_text()]
    assert {path.name for path in rules} == {path.name for path in (ROOT / "alert-rules").glob("*.yaml")}


def test_diagnose_accepts_its_file_with_the_token_in_place(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t\n")
    config = tmp_path / "diagnose.yaml"
    config.write_text((FOLDER / "diagnose.yaml").read_text().replace(str(VALUES.token_file), str(tmp_path / "token")))

    settings = load_settings(config, {})

    assert settings.server.listen == VALUES.listen(VALUES.diagnose)
    assert {str(settings.store.path), str(settings.sinks[0].path)} == {
        volume.split(":")[1] for volume in SERVICES["diagnose"]["volumes"] if not volume.startswith(".")
    }


def test_the_collector_sends_the_token_that_lies_in_the_secret(tmp_path: Path) -> None:
    """A reference to a file inside an environment variable is followed; `$$` is how compose writes `$`."""
    (tmp_path / "token").write_text("s3cret")
    seen: list[str] = []
    arrived = threading.Event()

    class Diagnose(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(self.headers["Authorization"])
            self.send_response(200)
            self.end_headers()
            self.close_connection = True  # the body stays unread
            arrived.set()

        def log_message(self, *args: object) -> None:
            """Silent."""

    reference = SERVICES["otelcol"]["environment"]["DIAGNOSE_AUTHORIZATION"].replace("$$", "$")
    otlp, grpc, health, telemetry = (f"127.0.0.1:{port}" for port in free_ports(4))
    with http.server.HTTPServer(("127.0.0.1", 0), Diagnose) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        environ = {
            "OTLP_HTTP_LISTEN": otlp,
            "OTLP_GRPC_LISTEN": grpc,
            "HEALTH_LISTEN": health,
            "TELEMETRY_PORT": telemetry.split(":")[1],
            "DIAGNOSE_URL": f"http://127.0.0.1:{server.server_port}",
            "DIAGNOSE_AUTHORIZATION": reference.replace(str(VALUES.token_file), str(tmp_path / "token")),
        }
        guard = Guard()
        children = Children(tmp_path, guard)
        try:
            command = [str(Tools().locate(["otelcol"])["otelcol"]), f"--config={ROOT}/collector-config/collector.yaml"]
            wait_ready(children.start("otelcol", command, environ), f"http://{health}/")
            send_a_span(otlp)
            assert arrived.wait(30)
        finally:
            children.stop_all()
            guard.close()
            server.shutdown()
            serving.join()

    assert "Bearer s3cret" == seen[0]


def send_a_span(otlp: str) -> None:
    span = {"traceId": "1" * 32, "spanId": "2" * 16, "name": "s", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    assert 200 == requests.post(f"http://{otlp}/v1/traces", json=body, timeout=10).status_code


def test_the_image_is_built_in_stages_and_runs_as_a_numbered_user_with_a_health_check() -> None:
    stages = re.findall(r"^FROM .* AS (\S+)$", DOCKERFILE, re.MULTILINE)
    copied = {stage for line in instructions("COPY") for stage in re.findall(r"--from=(\S+)", line)}

    assert {service["build"]["target"] for service in SERVICES.values() if "build" in service} | copied == set(stages)
    assert "diagnose" == stages[-1]
    assert {"10001:10001"} == set(instructions("USER"))
    assert 2 == len(instructions("USER"))
    assert "/readyz" in instructions("HEALTHCHECK")[0]


def test_everything_the_image_copies_exists_and_is_sent_to_the_builder() -> None:
    sources = [source for line in instructions("COPY") if not line.startswith("--from") for source in line.split()[:-1]]
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert sources
    assert [] == [source for source in sources if not (ROOT / source).exists()]
    assert {source.split("/")[0] for source in sources} == sent
