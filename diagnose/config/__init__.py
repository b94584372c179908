"""
The settings of diagnose.yaml.

    settings       the classes: one field a setting, with its default and help
    units          durations (`1h30m`) and sizes (`20GiB`)
    values         what else a value must look like: addresses, URLs, networks, matchers, profile kinds
    document       YAML → data with the line of every key
    shape          which class a piece of data is meant for
    environment    DIAGNOSE_SERVER__LISTEN and the like
    checks         what no single value can tell: unknown keys, secrets, what belongs together
    load           all of it in order; reports every mistake at once
    reload         what of new settings can take effect in a service that runs
"""

from __future__ import annotations

from diagnose.config.load import find_file, load_settings
from diagnose.config.reload import Reloaded, combine
from diagnose.config.settings import (
    AlertmanagerServer,
    Auth,
    Authorization,
    Baseline,
    BasicAuth,
    BasicUser,
    Certificate,
    Client,
    FileSink,
    Hmac,
    Incidents,
    Ingest,
    PrometheusServer,
    Reconcile,
    Redaction,
    Retention,
    Role,
    Rule,
    Section,
    Server,
    Settings,
    Sink,
    SqlSettings,
    StoreSettings,
    TargetSettings,
    TlsClient,
    TlsServer,
    Token,
    WebhookSink,
)
from diagnose.config.units import parse_duration, parse_size

__all__ = [
    "AlertmanagerServer",
    "Auth",
    "Authorization",
    "Baseline",
    "BasicAuth",
    "BasicUser",
    "Certificate",
    "Client",
    "FileSink",
    "Hmac",
    "Incidents",
    "Ingest",
    "PrometheusServer",
    "Reconcile",
    "Redaction",
    "Reloaded",
    "Retention",
    "Role",
    "Rule",
    "Section",
    "Server",
    "Settings",
    "Sink",
    "SqlSettings",
    "StoreSettings",
    "TargetSettings",
    "TlsClient",
    "TlsServer",
    "Token",
    "WebhookSink",
    "combine",
    "find_file",
    "load_settings",
    "parse_duration",
    "parse_size",
]
