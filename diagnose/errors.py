"""
Every error this package raises on purpose.

    DiagnoseError
    ├── ConfigError            the configuration is wrong; carries every mistake found
    ├── DecodeError            bytes from outside are not what they claim to be; names the field
    ├── StoreError
    │   ├── StoreBusy          not durable now (queue full, disk full, reopening); try again     retryable
    │   ├── StacksUnknown      a profile leaves out stacks that are not stored; to be read as a whole
    │   ├── Unstorable         the database breaks on it; put aside, trying again is no use
    │   └── NotFound           no such incident, profile, trace
    ├── UpstreamError          Prometheus or Alertmanager did not answer usefully                retryable
    ├── CaptureError           one profile could not be fetched; says why and the HTTP status
    ├── QueryError             a reader's SQL was refused, wrong or stopped
    ├── SinkError              a report could not be delivered; says whether to try again
    └── ServerUnreachable      the command line found no running server

Translate at the edge where the cause is known, `from err`. Whoever catches one may rely on `retryable`.
"""

from __future__ import annotations

from dataclasses import dataclass


class DiagnoseError(Exception):
    """Base of all; `code` is what the HTTP API and the logs show."""

    code = "internal"
    retryable = False


@dataclass(frozen=True)
class Mistake:
    """One mistake in a configuration file: where (`targets.0.pprof`, line 12) and what."""

    path: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        where = f"{self.path} (line {self.line})" if self.line else self.path
        return f"{where}: {self.message}"


class ConfigError(DiagnoseError):
    """The settings cannot be used; `mistakes` holds all of them, not only the first."""

    code = "config"

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("\n".join(str(mistake) for mistake in mistakes))
        self.mistakes = mistakes


class DecodeError(DiagnoseError):
    """Bytes that are not what they claim to be. `field` names the offending part when it is known."""

    code = "bad_request"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class StoreError(DiagnoseError):
    """The database could not do what was asked."""

    code = "store"


class StoreBusy(StoreError):
    """Nothing was made durable; the caller should come back after `retry_after_s`."""

    code = "busy"
    retryable = True

    def __init__(self, message: str, *, retry_after_s: int = 2) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unstorable(StoreError):
    """The database breaks on this, however often it is sent."""

    code = "unstorable"


class StacksUnknown(StoreError):
    """A profile leaves out what some of its stacks are made of, and they are not stored: to be read as a whole."""

    code = "stacks_unknown"


class NotFound(StoreError):
    """No such row."""

    code = "not_found"


class UpstreamError(DiagnoseError):
    """Prometheus or Alertmanager was unreachable, refused, or answered nonsense."""

    code = "upstream"
    retryable = True


class CaptureError(DiagnoseError):
    """
    One profile could not be had.

    `status` is the capture row's outcome: `refused` (the target or our own rules said no) or `failed`.
    """

    code = "capture"

    def __init__(
        self, message: str, *, status: str = "failed", http_status: int | None = None, retryable: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.http_status = http_status
        self.retryable = retryable


class QueryError(DiagnoseError):
    """A reader's SQL did not run; `code` is one of sql_error, refused, timeout, memory_limit, busy, cancelled."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class SinkError(DiagnoseError):
    """One delivery failed; a final one (`retryable=False`) is not tried again."""

    code = "sink"

    def __init__(self, message: str, *, retryable: bool, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after_s = retry_after_s


class ServerUnreachable(DiagnoseError):
    """No server answered at the address the command line was given."""

    code = "unreachable"
