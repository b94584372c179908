"""What a command works with: the settings, the server, and whichever of both can be read from."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from diagnose.cli.api import Api, Refused
from diagnose.cli.reader import HttpReader, Reader
from diagnose.config import Settings, load_settings
from diagnose.config.values import split_address
from diagnose.errors import ConfigError, DecodeError, DiagnoseError, Mistake, QueryError, ServerUnreachable, StoreBusy

EXIT_CODES: tuple[tuple[type[DiagnoseError], int], ...] = (
    (ConfigError, 2),
    (DecodeError, 2),
    (ServerUnreachable, 3),
    (Refused, 4),
    (StoreBusy, 4),
)


def exit_code_of(err: DiagnoseError) -> int:
    """1 for what simply is not there or did not work."""
    if isinstance(err, QueryError):
        return 2 if err.code == "sql_error" else 4
    return next((code for kind, code in EXIT_CODES if isinstance(err, kind)), 1)


class Session:
    """Made once per command line. Nothing is read or asked before it is needed."""

    def __init__(self, options: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        self._options = options  # click's own map: still empty when this object is made
        self.environ = environ

    @property
    def config_file(self) -> Path | None:
        """As given on the command line."""
        return self._options.get("diagnose.config")

    @property
    def named_server(self) -> str | None:
        """The server somebody asked for by name; then no other place will do."""
        return self._options.get("diagnose.server") or self.environ.get("DIAGNOSE_URL") or None

    @cached_property
    def settings(self) -> Settings:
        """Raises ConfigError."""
        return load_settings(self.config_file, self.environ)

    @cached_property
    def api(self) -> Api:
        """The named server, else the one the settings describe."""
        if self.named_server:
            return Api(self.named_server, self._token())
        return Api(_url_of(self.settings), self._token())

    @cached_property
    def reader(self) -> Reader:
        """The server; when none is named and none runs, the data directory."""
        server = HttpReader(self.api)
        if self.named_server or self.api.answers():
            return server
        path = self.settings.store.path
        if not (path / "control.duckdb").exists():
            raise ServerUnreachable(f"no server answers at {self.api.url}, and {path} holds no data")
        from diagnose.cli.directory import DirectoryReader  # noqa: PLC0415  most commands never load the database

        return DirectoryReader(self.settings)

    def close(self) -> None:
        if reader := self.__dict__.get("reader"):
            reader.close()

    def _token(self) -> str | None:
        file: Path | None = self._options.get("diagnose.token_file")
        if file is None:
            return None
        try:
            return file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as err:
            raise ConfigError([Mistake("--token-file", f"cannot read {file}: {err}")]) from err


def _url_of(settings: Settings) -> str:
    """Where a server on this machine listens; with TLS its certificate is for the external name."""
    if settings.server.tls.cert_file:
        return settings.server.external_url
    host, port = split_address(settings.server.listen)
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
