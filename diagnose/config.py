"""
The settings of diagnose.yaml (docs/reference/settings.md is generated from here).

`load_settings` reads the file, then the environment (`DIAGNOSE_SERVER__LISTEN`), then secrets from `…_file`, and reports
every mistake at once. Durations are written as in Prometheus (`10s`, `1h30m`, `3d`), sizes as `20GiB`; here they are
`timedelta` and bytes.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Duration = Annotated[timedelta, BeforeValidator(lambda value: parse_duration(value))]
Size = Annotated[int, BeforeValidator(lambda value: parse_size(value))]
MatcherText = Annotated[str, BeforeValidator(lambda value: value)]
Role = Literal["ingest", "read", "sql", "operate", "admin"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TlsServer(Section):
    cert_file: Path | None = Field(None, description="Certificate of the listener, PEM.")
    key_file: Path | None = Field(None, description="Its private key, PEM.")
    client_ca_file: Path | None = Field(None, description="Ask clients for a certificate signed by this CA.")


class Server(Section):
    listen: str = Field("127.0.0.1:9095", description="Address everything is served on.")
    external_url: str = Field("http://127.0.0.1:9095", description="How people reach it; links in reports start with it.")
    hosts: list[str] = Field([], description="Further host names clients may use.")
    tls: TlsServer = TlsServer()


class Token(Section):
    name: str = Field(description="Who it is, for the audit.")
    token: str | None = Field(None, description="The bearer token.")
    token_file: Path | None = Field(None, description="File that holds it.")
    roles: list[Role] = Field(description="What it may do: ingest, read, sql, operate, admin.")


class BasicUser(Section):
    user: str = Field(description="User name.")
    password: str | None = Field(None, description="Password.")
    password_file: Path | None = Field(None, description="File that holds it.")
    roles: list[Role] = Field(description="As for tokens.")


class Auth(Section):
    tokens: list[Token] = Field([], description="Bearer tokens. Without any credentials only loopback listeners are allowed.")
    basic: list[BasicUser] = Field([], description="Users with passwords.")


class Redaction(Section):
    keys: list[str] = Field(description="Regular expressions; an attribute or label whose name matches is masked.")
    action: Literal["mask", "drop"] = Field("mask", description="Put `***` in place of the value, or drop the pair.")


class Ingest(Section):
    max_body_bytes: int = Field(33_554_432, description="Largest OTLP or profile body, inflated.")
    webhook_max_bytes: int = Field(67_108_864, description="Largest webhook body.")
    queue_bytes: int = Field(268_435_456, description="Most telemetry that may wait for the database.")
    redact: list[Redaction] = Field(
        [Redaction(keys=["(?i)authorization|cookie|password|token|secret|api.?key"], action="mask")],
        description="What is never stored.",
    )


class Retention(Section):
    telemetry: Duration = Field(timedelta(hours=72), description="Age at which spans and metric points go.")
    profiles: Duration = Field(timedelta(days=30), description="Age at which profiles go.")
    incidents: Duration = Field(timedelta(days=400), description="Age at which incidents go.")
    max_bytes: Size = Field(20 * 2**30, description="Most the data directory may take.")


class StoreSettings(Section):
    path: Path = Field(Path("data"), description="The data directory.")
    retention: Retention = Retention()


class BasicAuth(Section):
    username: str = Field(description="User name.")
    password: str | None = Field(None, description="Password.")
    password_file: Path | None = Field(None, description="File that holds it.")


class Authorization(Section):
    type: str = Field("Bearer", description="Scheme.")
    credentials: str | None = Field(None, description="The token.")
    credentials_file: Path | None = Field(None, description="File that holds it.")


class TlsClient(Section):
    ca_file: Path | None = Field(None, description="CA that signed the server's certificate, PEM.")
    cert_file: Path | None = Field(None, description="Our client certificate, PEM.")
    key_file: Path | None = Field(None, description="Its private key, PEM.")
    insecure_skip_verify: bool = Field(False, description="Do not check the server's certificate.")


class Client(Section):
    """How an HTTP server is asked; the names are Prometheus' own."""

    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    tls_config: TlsClient | None = None
    http_headers: dict[str, str] = Field({}, description="Sent with every request.")


class PrometheusServer(Client):
    name: str = Field("main", description="Name in logs and reports.")
    url: str = Field(description="Base URL.")
    match: dict[str, str] = Field({}, description="Alerts with these labels are looked up here; without it all servers are asked.")


class AlertmanagerServer(Client):
    url: str = Field(description="Base URL.")


class TargetSettings(Client):
    name: str = Field(description="Name in captures and reports.")
    match: dict[str, str] = Field({}, description="Labels of the discovered targets it stands for.")
    service: str = Field(description="service.name of these processes.")
    pprof: str = Field(
        "http://{host}:6060/debug/pprof",
        description="Base URL of pprof; {host}, {port} and {address} are those Prometheus scrapes, or of `addresses`.",
    )
    networks: list[str] = Field(
        [], description="CIDR blocks the address must be in. Without it only the host Prometheus itself scrapes; link-local never."
    )
    source: Literal["prometheus", "static"] = Field("prometheus", description="Where addresses come from.")
    addresses: list[str] = Field([], description="host:port list for source static.")


class Rule(Section):
    matchers: list[str] = Field([], description="Alertmanager matchers; the first rule that matches wins.")
    capture: list[str] = Field(
        ["goroutine", "heap", "mutex", "block", "cpu", "wall"], description="Profile kinds to take; empty: none."
    )
    seconds: int = Field(10, ge=1, le=300, description="Length of the CPU profile.")
    instances: int = Field(2, ge=1, le=50, description="Sick instances to profile; one healthy peer comes on top.")
    cooldown: Duration = Field(timedelta(minutes=10), description="Least time between two rounds on one target.")
    max_per_hour: int = Field(6, ge=1, description="Most rounds per hour on one target.")


class Incidents(Section):
    group_by: list[str] = Field(
        ["service", "namespace", "cluster", "environment"], description="Labels that tell incidents apart."
    )
    quiet: Duration = Field(timedelta(minutes=15), description="A re-fire within this time continues the incident.")
    ignore_labels: list[str] = Field(["replica"], description="Labels that do not make another alert.")


class Baseline(Section):
    first: Duration = Field(timedelta(seconds=60), description="First healthy capture, after a target is seen.")
    every: Duration = Field(timedelta(hours=1), description="Time between later ones.")
    kinds: list[str] = Field(
        ["cpu", "heap", "goroutine", "wall", "mutex", "block"], description="Profile kinds to take."
    )
    seconds: int = Field(5, ge=1, le=60, description="Length of the CPU profile.")


class SqlSettings(Section):
    timeout: Duration = Field(timedelta(seconds=10), description="A query that takes longer is stopped.")
    rows: int = Field(10_000, ge=1, description="Most rows in an answer.")
    memory: Size = Field(2**30, description="Most memory of a query.")
    workers: int = Field(2, ge=1, le=16, description="Queries that run at once.")


class FileSink(Section):
    type: Literal["file"]
    name: str = Field(description="Name in deliveries.")
    path: Path = Field(description="Folder; each incident gets report.html, .md and .json in a folder of its own.")


class WebhookSink(Client):
    type: Literal["webhook"]
    name: str = Field(description="Name in deliveries.")
    url: str | None = Field(None, description="Where report.json is POSTed.")
    url_file: Path | None = Field(None, description="File that holds the URL.")


Sink = Annotated[FileSink | WebhookSink, Field(discriminator="type")]


class Settings(Section):
    """The whole file. Relative paths start at the file's folder."""

    server: Server = Server()
    auth: Auth = Auth()
    ingest: Ingest = Ingest()
    store: StoreSettings = StoreSettings()
    prometheus: list[PrometheusServer] = Field([], description="Prometheus servers that are asked for exemplars, rules and targets.")
    alertmanagers: list[AlertmanagerServer] = Field([], description="Alertmanagers that notify us.")
    targets: list[TargetSettings] = Field([], description="Processes that may be profiled, and how. Nothing else ever is.")
    rules: list[Rule] = Field(
        [Rule(matchers=['severity!~"none|info"', 'alertname!~"Watchdog|InfoInhibitor"'])],
        description="Which alerts open an incident and what is captured.",
    )
    incidents: Incidents = Incidents()
    baseline: Baseline = Baseline()
    sql: SqlSettings = SqlSettings()
    sinks: list[Sink] = Field([], description="Where reports are delivered.")


def parse_duration(value: Any) -> timedelta:
    """Prometheus durations: `500ms`, `10s`, `1h30m`, `3d`; a bare number is refused. Raises ValueError."""
    raise NotImplementedError


def parse_size(value: Any) -> int:
    """`512MiB`, `20GiB`, `1000` (bytes). Raises ValueError."""
    raise NotImplementedError
