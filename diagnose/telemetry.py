"""
Our own logs and our own metrics.

A log line is an event phrase that never changes plus fields: `log.info("profile captured", kind="cpu", took_s=0.4)`
prints `2026-11-24T10:02:11.123Z INFO profile captured kind=cpu took_s=0.4`. The metrics below are served at /metrics.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics


class Logger:
    """A standard logger whose calls take fields."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, event: str, **fields: Any) -> None:
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._log(logging.ERROR, event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        """With the traceback of the exception being handled."""
        self._logger.error(event, extra={"fields": fields}, exc_info=True)  # noqa: LOG014  the caller handles one

    def _log(self, level: int, event: str, fields: dict[str, Any]) -> None:
        self._logger.log(level, event, extra={"fields": fields})


def get_logger(name: str) -> Logger:
    """The logger of one module."""
    return Logger(logging.getLogger(name))


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fields = getattr(record, "fields", {})
        parts = [
            at,
            record.levelname,
            record.getMessage(),
            *(f"{key}={_value(value)}" for key, value in fields.items()),
        ]
        line = " ".join(parts)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _value(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return json.dumps(text) if not text or any(character in text for character in ' "\n=') else text


def log_to_stderr(level: str = "INFO") -> None:
    """Send the package's logs to standard error; warnings of libraries too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter())
    logging.root.handlers = [handler]
    logging.root.setLevel(logging.WARNING)
    logging.getLogger("diagnose").setLevel(level)


disable_created_metrics()  # type: ignore[no-untyped-call]  # a time stamp beside every counter, without a unit in its name
REGISTRY = CollectorRegistry()
ALERTS = Counter("diagnose_alerts", "Alerts received, by what became of them.", ["outcome"], registry=REGISTRY)
REJECTED = Counter("diagnose_rejected_requests", "Request bodies refused.", ["path"], registry=REGISTRY)
INGESTED = Counter("diagnose_ingested", "Rows stored, by table.", ["table"], registry=REGISTRY)
RECONCILED = Counter(
    "diagnose_reconciled_alerts",
    "Alerts that Alertmanager's list showed to be firing (opened) or to have ended (vanished) without a message.",
    ["outcome"],
    registry=REGISTRY,
)
CAPTURES = Counter("diagnose_captures", "Captures, by kind and outcome.", ["kind", "status"], registry=REGISTRY)
DELIVERIES = Counter(
    "diagnose_deliveries", "Report deliveries, by sink and outcome.", ["sink", "outcome"], registry=REGISTRY
)
QUERIES = Counter("diagnose_sql_queries", "Queries of readers, by how they ended.", ["outcome"], registry=REGISTRY)
FAILURES = Counter("diagnose_failures", "Work that ended in an unexpected error.", ["stage"], registry=REGISTRY)
OPEN_INCIDENTS = Gauge("diagnose_open_incidents", "Incidents open now.", registry=REGISTRY)
QUEUE_JOBS = Gauge("diagnose_queue_jobs", "Jobs waiting for a database writer.", ["database"], registry=REGISTRY)
QUEUE_AGE = Gauge(
    "diagnose_queue_age_seconds",
    "Age of the oldest job waiting for a database writer.",
    ["database"],
    registry=REGISTRY,
)
READY = Gauge("diagnose_ready", "1 while the service can take and process alerts.", registry=REGISTRY)
DISK_FREE = Gauge("diagnose_disk_free_bytes", "Free space where the data directory is.", registry=REGISTRY)
REPORT_SECONDS = Histogram(
    "diagnose_report_seconds",
    "Time from the webhook to a report, by what it contains.",
    ["report"],
    buckets=(0.5, 1, 2, 5, 10, 15, 20, 30, 60),
    registry=REGISTRY,
)
