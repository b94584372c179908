"""
Telemetry on which the database breaks, put aside as files: `spool/<kind>-<body id>.zip` in the data directory.

The sender is told that it is stored, so that it does not send it for ever. A file has the rows of one request as Arrow,
redacted as everything is, and what the database said. `replay` tries again, for after an upgrade.
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from diagnose.errors import NotFound, StoreError
from diagnose.model import rfc3339, utc_now
from diagnose.store.db import Store
from diagnose.store.metrics import Family, MetricBatch, insert_metrics
from diagnose.store.spans import SpanBatch, insert_spans
from diagnose.store.writer import refuse_poison
from diagnose.telemetry import get_logger

log = get_logger(__name__)
FOLDER = "spool"
SUFFIX = ".zip"
TABLES = {"spans": ("spans", "resources"), "metrics": ("resources", "series", "points", "histograms", "exemplars")}
_NAME = re.compile(r"(spans|metrics)-[0-9a-f]{16}")


@dataclass(frozen=True)
class Spooled:
    """One file: its name, when it was put aside and why, and how many rows it has."""

    name: str
    at: datetime
    reason: str
    rows: int
    bytes: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"at": rfc3339(self.at)}


class Spool:
    """Of one store. `put` is what `Writer.on_poison` wants; it runs in the writer's thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folder = store.path / FOLDER
        store.telemetry.on_poison = self.put

    def put(self, database: str, item: Any, err: Exception) -> bool:
        """False: safe, but not in the database. Raises Unstorable for no telemetry, StoreError when that fails."""
        kind = {SpanBatch: "spans", MetricBatch: "metrics"}.get(type(item))
        if kind is None:
            return bool(refuse_poison(database, item, err))
        about = {"at": rfc3339(utc_now()), "reason": str(err), "body_id": item.body_id}
        about |= {"families": [asdict(each) for each in getattr(item, "families", ())]}
        tables = {name: getattr(item, name) for name in TABLES[kind]}
        self._write(f"{kind}-{item.body_id & (2**64 - 1):016x}", about, tables)
        return False

    def list(self) -> list[Spooled]:
        """Oldest first."""
        found = [self._described(file) for file in self._folder.glob(f"*{SUFFIX}")]
        return sorted(found, key=lambda each: (each.at, each.name))

    def replay(self, name: str) -> None:
        """Store it and remove the file. Raises NotFound, and what the database still says; then the file stays."""
        file = self._file(name)
        about, tables = _read(file)
        self._store.telemetry.run(lambda cursor: _insert(cursor, name, about, tables), wait_s=60.0)
        file.unlink()
        log.info("spooled telemetry stored", name=name)

    def _file(self, name: str) -> Path:
        file = self._folder / f"{name}{SUFFIX}"
        if not _NAME.fullmatch(name) or not file.is_file():
            raise NotFound(f"nothing is spooled as {name!r}")
        return file

    def _described(self, file: Path) -> Spooled:
        about, tables = _read(file)
        rows = sum(table.num_rows for name, table in tables.items() if name not in ("resources", "series"))
        at = datetime.fromisoformat(about["at"])
        return Spooled(file.name.removesuffix(SUFFIX), at, about["reason"], rows, file.stat().st_size)

    def _write(self, name: str, about: Mapping[str, Any], tables: Mapping[str, pa.Table]) -> None:
        part = self._folder / f".{name}"
        try:
            self._folder.mkdir(exist_ok=True)
            with part.open("wb") as opened:
                with zipfile.ZipFile(opened, "w", zipfile.ZIP_DEFLATED) as archive:
                    archive.writestr("about.json", json.dumps(about))
                    for table_name, table in tables.items():
                        archive.writestr(f"{table_name}.arrow", _encoded(table))
                opened.flush()
                os.fsync(opened.fileno())
            part.replace(self._folder / f"{name}{SUFFIX}")
        except OSError as err:
            raise StoreError(f"{self._folder} cannot be written: {err.strerror}") from err
        log.error("telemetry put aside", name=name, reason=about["reason"])


def _insert(cursor: Any, name: str, about: Mapping[str, Any], tables: Mapping[str, pa.Table]) -> None:
    body_id = about["body_id"]
    if name.startswith("spans"):
        insert_spans(cursor, [SpanBatch(**tables, refused={}, body_id=body_id)])
    else:
        families = tuple(Family(**each) for each in about["families"])
        insert_metrics(cursor, [MetricBatch(**tables, refused={}, body_id=body_id, families=families)])


def _read(file: Path) -> tuple[dict[str, Any], dict[str, pa.Table]]:
    """Raises StoreError when the file is damaged."""
    try:
        with zipfile.ZipFile(file) as archive:
            about = json.loads(archive.read("about.json"))
            names = TABLES[file.name.split("-", maxsplit=1)[0]]
            return about, {name: pa.ipc.open_stream(archive.read(f"{name}.arrow")).read_all() for name in names}
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, pa.ArrowException) as err:
        raise StoreError(f"{file} is damaged: {err}") from err


def _encoded(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()
