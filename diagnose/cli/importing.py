"""Where imported profiles go: to a running server, or into its data directory while none runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from diagnose.cli.api import Api
from diagnose.cli.session import Session
from diagnose.errors import ServerUnreachable
from diagnose.model import Labels
from diagnose.pprof.parse import Parsed
from diagnose.store.db import Store
from diagnose.store.profiles import import_profile


class Importer(Protocol):
    def store(
        self, parsed: Parsed, body: bytes, *, service: str, instance: str, kind: str, labels: Labels
    ) -> dict[str, Any]:
        """`{"id", "duplicate"}` once the profile is durable."""


@contextmanager
def importer(session: Session) -> Iterator[Importer]:
    """The server; when none is named and none runs, the data directory, if there is one."""
    path = session.settings.store.path
    if session.named_server or session.api.answers():
        yield _ToServer(session.api)
    elif (path / "control.duckdb").exists():
        with Store.open(path) as opened:
            yield _ToDirectory(opened)
    else:
        raise ServerUnreachable(f"no server answers at {session.api.url}, and {path} holds no data")


class _ToServer:
    def __init__(self, api: Api) -> None:
        self._api = api

    def store(
        self, _parsed: Parsed, body: bytes, *, service: str, instance: str, kind: str, labels: Labels
    ) -> dict[str, Any]:
        params = {"service": service, "instance": instance, "kind": kind}
        params |= {f"label.{key}": value for key, value in labels.items()}
        stored: dict[str, Any] = self._api.post_bytes("/api/v1/profiles", body, "application/octet-stream", params)
        return stored


class _ToDirectory:
    def __init__(self, store: Store) -> None:
        self._store = store

    def store(
        self, parsed: Parsed, body: bytes, *, service: str, instance: str, kind: str, labels: Labels
    ) -> dict[str, Any]:
        stored = import_profile(self._store, parsed, body, service=service, instance=instance, kind=kind, labels=labels)
        return {"id": stored.profile_id, "duplicate": stored.duplicate}
