"""
The settings of diagnose.yaml as classes: one field a setting, with its default and what it means.

docs/reference/settings.md is generated from here. Durations are `timedelta` and sizes bytes once they are read.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from diagnose.config.units import parse_duration, parse_size
from diagnose.config.values import (
    Address,
    ExistingFile,
    FolderPath,
    Kind,
    MatcherText,
    Network,
    Pattern,
    PprofUrl,
    Subject,
    TargetAddress,
    Url,
    split_address,
)

Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Size = Annotated[int, BeforeValidator(parse_size)]
Role = Literal["ingest", "read", "sql", "operate", "admin"]


class Section(BaseModel):
    """
    A map in the file. An empty value (`tls:`) is the same as a missing one.

    A field x beside a field x_file is a secret: one of the two is given, and x holds it once the file is read.
    `needs` names the secrets that may not be missing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    needs: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, data: Any) -> Any:
        return {key: value for key, value in data.items() if value is not None} if isinstance(data, dict) else data


def _secret(description: str) -> Any:
    return Field(None, description=description, repr=False)


class TlsServer(Section):
    cert_file: ExistingFile | None = Field(None, description="Certificate of the listener, PEM.")
    key_file: ExistingFile | None = Field(None, description="Its private key, PEM.")
    client_ca_file: ExistingFile | None = Field(
        None, description="Only clients with a certificate signed by this CA may connect."
    )


class Server(Section):
    listen: Address = Field("127.0.0.1:9095", description="Address everything is served on.")
    external_url: Url = Field(
        "http://127.0.0.1:9095",
        description="How people reach it; links in reports start with it. Follows `listen` when not given.",
    )
    hosts: list[str] = Field([], description="Further host names clients may use.")
    tls: TlsServer = TlsServer()

    @model_validator(mode="before")
    @classmethod
    def _external_url_from_listen(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not data.get("listen") or data.get("external_url"):
            return data
        try:
            host, port = split_address(data["listen"])
        except (AttributeError, ValueError):
            return data  # the field says what is wrong
        name = f"[{host}]" if ":" in host else host
        scheme = "https" if (data.get("tls") or {}).get("cert_file") else "http"
        return {**data, "external_url": f"{scheme}://{name or '127.0.0.1'}:{port or 9095}"}


class Token(Section):
    needs = ("token",)
    name: str = Field(description="Who it is, for the audit.")
    token: str | None = _secret("The bearer token.")
    token_file: FolderPath | None = Field(None, description="File that holds it.")
    roles: list[Role] = Field(description="What it may do: ingest, read, sql, operate, admin.")


class BasicUser(Section):
    needs = ("password",)
    user: str = Field(description="User name.")
    password: str | None = _secret("Password.")
    password_file: FolderPath | None = Field(None, description="File that holds it.")
    roles: list[Role] = Field(description="As for tokens.")


class Hmac(Section):
    """Who signs its requests with a shared secret, as Grafana's webhooks do."""

    needs = ("secret",)
    name: str = Field(description="Who it is, for the audit.")
    secret: str | None = _secret("The shared secret.")
    secret_file: FolderPath | None = Field(None, description="File that holds it.")
    header: str = Field("X-Grafana-Alerting-Signature", description="Header with the signature, HMAC-SHA256 in hex.")
    timestamp_header: str | None = Field(
        None, description="Header with the Unix time that is signed too, if the sender is told to send one."
    )
    roles: list[Role] = Field(description="As for tokens.")


class Certificate(Section):
    """Who shows a client certificate that `server.tls.client_ca_file` signed."""

    subject: Subject = Field(
        description="Parts its subject must have, such as `CN=alertmanager,O=Example`; their order does not matter."
    )
    roles: list[Role] = Field(description="As for tokens.")


class Auth(Section):
    tokens: list[Token] = Field(
        [], description="Bearer tokens. Without any credentials only loopback listeners are allowed."
    )
    basic: list[BasicUser] = Field([], description="Users with passwords.")
    hmac: list[Hmac] = Field([], description="Senders that sign their requests.")
    certificates: list[Certificate] = Field([], description="Clients that show a certificate.")


class Redaction(Section):
    keys: list[Pattern] = Field(description="Regular expressions; an attribute or label whose name matches is masked.")
    action: Literal["mask", "drop"] = Field("mask", description="Put `***` in place of the value, or drop the pair.")


class Ingest(Section):
    otlp_http: Address | None = Field(
        None, description="Address of a listener for OTLP over HTTP only. `server.listen` takes OTLP too."
    )
    otlp_grpc: Address | None = Field(None, description="Address of a listener for OTLP over gRPC.")
    decoder: Literal["columns", "objects"] = Field(
        "columns", description="How protobuf is read: many rows at once (ptars), or one by one, slower, same rows."
    )
    max_body_bytes: Size = Field(33_554_432, ge=1024, description="Largest OTLP or profile body, inflated.")
    webhook_max_bytes: Size = Field(67_108_864, ge=1024, description="Largest webhook body.")
    queue_bytes: Size = Field(268_435_456, ge=1024, description="Most telemetry that may wait for the database.")
    group_by: list[str] = Field(
        ["alertname", "job"],
        description="Labels that group the alerts Prometheus sends directly, as `route.group_by` in Alertmanager.",
    )
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
    path: FolderPath = Field(Path("data"), description="The data directory.")
    retention: Retention = Retention()


class BasicAuth(Section):
    username: str = Field(description="User name.")
    password: str | None = _secret("Password.")
    password_file: FolderPath | None = Field(None, description="File that holds it.")


class Authorization(Section):
    needs = ("credentials",)
    type: str = Field("Bearer", description="Scheme.")
    credentials: str | None = _secret("The token.")
    credentials_file: FolderPath | None = Field(None, description="File that holds it.")


class TlsClient(Section):
    ca_file: ExistingFile | None = Field(None, description="CA that signed the server's certificate, PEM.")
    cert_file: ExistingFile | None = Field(None, description="Our client certificate, PEM.")
    key_file: ExistingFile | None = Field(None, description="Its private key, PEM.")
    insecure_skip_verify: bool = Field(False, description="Do not check the server's certificate.")


class Client(Section):
    """How an HTTP server is asked; the names are Prometheus' own."""

    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    tls_config: TlsClient | None = None
    http_headers: dict[str, str] = Field({}, description="Sent with every request.")


class PrometheusServer(Client):
    name: str = Field("main", description="Name in logs and reports.")
    url: Url = Field(description="Base URL.")
    match: dict[str, str] = Field(
        {}, description="Alerts with these labels are looked up here; without it all servers are asked."
    )


class AlertmanagerServer(Client):
    url: Url = Field(description="Base URL.")
    receivers: list[str] = Field(
        ["diagnose"],
        description="Its receivers that notify us; those that did so before are known. An alert of theirs opens an "
        "incident also when its notification got lost.",
    )


class TargetSettings(Client):
    name: str = Field(description="Name in captures and reports.")
    match: dict[str, str] = Field({}, description="Labels of the discovered targets it stands for.")
    service: str = Field(description="service.name of these processes.")
    pprof: PprofUrl = Field(
        "http://{host}:6060/debug/pprof",
        description="Base URL of pprof; {host}, {port} and {address} are those Prometheus scrapes, or of `addresses`.",
    )
    networks: list[Network] = Field(
        [],
        description="CIDR blocks the address must be in. Without it only the host Prometheus itself scrapes. "
        "Link-local and metadata addresses never.",
    )
    source: Literal["prometheus", "static"] = Field("prometheus", description="Where addresses come from.")
    addresses: list[TargetAddress] = Field([], description="host:port list for source static.")


class Rule(Section):
    matchers: list[MatcherText] = Field([], description="Alertmanager matchers; the first rule that matches wins.")
    capture: list[Kind] = Field(
        ["goroutine", "heap", "mutex", "block", "cpu", "wall"], description="Profile kinds to take; empty: none."
    )
    seconds: int = Field(10, ge=1, le=300, description="Length of the CPU profile.")
    instances: int = Field(2, ge=1, le=50, description="Sick instances to profile; one healthy peer comes on top.")
    cooldown: Duration = Field(timedelta(minutes=10), description="Least time between two rounds on one target.")
    max_per_hour: int = Field(6, ge=1, description="Most rounds per hour on one target.")
    seconds_per_hour: int = Field(
        180, ge=0, description="Most seconds per hour that one target is profiled for: cpu, wall and trace together."
    )


class Incidents(Section):
    group_by: list[str] = Field(
        ["service", "namespace", "cluster", "environment"], description="Labels that tell incidents apart."
    )
    quiet: Duration = Field(timedelta(minutes=15), description="A re-fire within this time continues the incident.")
    update_every: Duration = Field(
        timedelta(seconds=30),
        description="A report that says no more than that another alert joined comes this long after the last one.",
    )
    ignore_labels: list[str] = Field(["replica"], description="Labels that do not make another alert.")
    metrics: list[Pattern] = Field(
        ["up", "go_.*", "process_.*", "http_.*", "rpc_.*", "grpc_.*"],
        description="Metrics of the service, by name, that are asked of Prometheus and kept with an incident, from an "
        "hour before it; empty: only what its alerts watch.",
    )


class Reconcile(Section):
    every: Duration = Field(timedelta(seconds=30), description="Time between two looks at the alerts of Alertmanager.")
    settle: Duration = Field(
        timedelta(minutes=2),
        description="How long after a start of Alertmanager, or of diagnose, a missing alert is not taken for an ended "
        "one. Keep it above the `--rules.alert.resend-delay` of Prometheus (1m).",
    )


class Baseline(Section):
    first: Duration = Field(
        timedelta(seconds=60), description="First healthy capture, after a target or a new build of it is seen."
    )
    every: Duration = Field(timedelta(hours=1), description="Time between later ones.")
    keep: Duration = Field(
        timedelta(days=7), description="Age at which healthy profiles go; the last of each of two builds stay."
    )
    kinds: list[Kind] = Field(
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
    path: FolderPath = Field(
        description="Folder; each incident gets report.html, .md and .json in a folder of its own."
    )


class WebhookSink(Client):
    needs = ("url",)
    type: Literal["webhook"]
    name: str = Field(description="Name in deliveries.")
    url: Url | None = _secret("Where report.json is POSTed.")
    url_file: FolderPath | None = Field(None, description="File that holds the URL.")


Sink = Annotated[FileSink | WebhookSink, Field(discriminator="type")]


class Settings(Section):
    """The whole file. Relative paths start at the file's folder."""

    server: Server = Server()
    auth: Auth = Auth()
    ingest: Ingest = Ingest()
    store: StoreSettings = StoreSettings()
    prometheus: list[PrometheusServer] = Field(
        [], description="Prometheus servers that are asked for exemplars, rules and targets."
    )
    alertmanagers: list[AlertmanagerServer] = Field([], description="Alertmanagers that notify us.")
    targets: list[TargetSettings] = Field(
        [], description="Processes that may be profiled, and how. Nothing else ever is."
    )
    rules: list[Rule] = Field(
        [Rule(matchers=['severity!~"none|info"', 'alertname!~"Watchdog|InfoInhibitor"'])],
        description="Which alerts open an incident and what is captured.",
    )
    incidents: Incidents = Incidents()
    reconcile: Reconcile = Reconcile()
    baseline: Baseline = Baseline()
    sql: SqlSettings = SqlSettings()
    sinks: list[Sink] = Field([], description="Where reports are delivered.")
