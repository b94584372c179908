"""
What goes when it is old, when the data takes too much space, or when the disk is nearly full.

Whole files of telemetry go by their arrival. What incidents need of them is written into a pinned file first, which
stays until the incident goes: the spans and exemplars of its traces, the metrics of its service from an hour before its
start to five minutes after its end, and the samples of the profiles that were taken for it or that a finding names.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from diagnose.config import Retention as RetentionSettings
from diagnose.model import utc_now
from diagnose.periodic import Periodic
from diagnose.store.artefacts import forget_artefacts
from diagnose.store.baselines import KEPT_SAMPLES, expired_baselines
from diagnose.store.bodies import remove_bodies
from diagnose.store.db import Store
from diagnose.store.manifest import TABLES, Segment
from diagnose.store.queries import load_queries
from diagnose.store.segments import MIB, Segments
from diagnose.telemetry import get_logger

log = get_logger(__name__)
QUERIES = load_queries("retention")
EVERY_S = 600.0
YOUNG_S = 3600.0  # a file of a profile that no row names may be about to be named
MIN_FREE_BYTES = 512 * MIB  # below this the oldest telemetry goes, whatever its age


@dataclass(frozen=True)
class Removed:
    """What one run did. `pinned_rows` stayed because incidents need them; `bytes` is the data directory afterwards."""

    files: int = 0
    pinned_rows: int = 0
    profiles: int = 0
    incidents: int = 0
    bytes: int = 0


class Retention:
    """`start` runs every ten minutes in a thread of its own until `stop`; `run` may be called at any time."""

    def __init__(
        self,
        store: Store,
        segments: Segments,
        settings: RetentionSettings,
        *,
        baselines: timedelta | None = None,
        min_free_bytes: int = MIN_FREE_BYTES,
    ) -> None:
        """*baselines*: age at which healthy profiles go; None as other profiles."""
        self.settings = settings
        self.baselines = baselines
        self._store = store
        self._segments = segments
        self._min_free_bytes = min_free_bytes
        self._lock = threading.Lock()
        self._thread = Periodic("retention", self.run, lambda: EVERY_S)

    def run(self, now: datetime | None = None) -> Removed:
        """Raises StoreError; what was done until then stays done."""
        with self._lock:
            now = now or utc_now()
            incidents = self._remove_incidents(now)
            old = self._too_old(now)
            rows = self._expire(old)
            too_much = self._too_much()
            rows += self._expire(too_much)
            gone = [*old, *too_much, *self._pinned_too_long(now)]
            self._segments.drop([each for each in gone if each.pinned])
            self._forget_traces(now)
            self._remove_old_baselines(now)
            profiles = self._remove_profiles(now) if any(each.table == "sample" for each in gone) else 0
            remove_bodies(self._store.path, time.time() - YOUNG_S, lambda: set(self._column("all_bodies", "sha256")))
            removed = Removed(len(gone), rows, profiles, len(incidents), self.used_bytes())
            log.info("retention", files=removed.files, pinned_rows=removed.pinned_rows, bytes=removed.bytes)
            return removed

    def used_bytes(self) -> int:
        """What the data directory takes, without files that are about to be removed."""
        path = self._store.path
        beside = [*path.glob("*.duckdb*"), *path.glob("artefacts/*"), *path.glob("spool/*"), *path.glob("profiles/*/*")]
        return sum(map(_size, beside)) + sum(each.bytes for each in self._segments.all())

    # --- telemetry ----------------------------------------------------------------------------------------------------

    def _too_old(self, now: datetime) -> list[Segment]:
        oldest = {table.name: now - self.settings.telemetry for table in TABLES}
        oldest["sample"] = now - self.settings.profiles
        return [each for each in self._unpinned() if each.arrived_until < oldest[each.table]]

    def _too_much(self) -> list[Segment]:
        """The oldest files that must go for the rest to fit."""
        free = shutil.disk_usage(self._store.path).free
        excess = max(self.used_bytes() - self.settings.max_bytes, self._min_free_bytes - free)
        chosen: list[Segment] = []
        for each in self._unpinned():
            if excess <= 0:
                break
            chosen.append(each)
            excess -= each.bytes
        if excess > 0:
            log.warning("retention cannot free enough: no telemetry is left to go", missing_bytes=excess)
        return chosen

    def _unpinned(self) -> list[Segment]:
        """Oldest arrival first."""
        return [each for each in self._segments.all() if not each.pinned]

    def _expire(self, old: Sequence[Segment]) -> int:
        """How many of their rows stay."""
        rows = 0
        for table in TABLES:
            group = [each for each in old if each.table == table.name]
            if group:
                kept = QUERIES[f"keep_{table.name}"]
                rows += self._segments.keep_only(group, f"{kept} OR {KEPT_SAMPLES}" if table.name == "sample" else kept)
        return rows

    def _pinned_too_long(self, now: datetime) -> list[Segment]:
        before = now - self.settings.incidents
        return [each for each in self._segments.all() if each.pinned and each.arrived_until < before]

    def _forget_traces(self, now: datetime) -> None:
        """Where the spans of traces were."""
        traces = {
            "before": now - self.settings.telemetry,
            "pinned_traces": self._column("pinned_traces", "trace_key"),
        }
        self._store.telemetry.run(lambda cursor: cursor.execute(QUERIES["forget_traces"], traces), wait_s=30.0)

    def _remove_profiles(self, now: datetime) -> int:
        """Those whose samples are gone, and the baselines that brought them."""
        before = now - self.settings.profiles

        def remove(cursor: duckdb.DuckDBPyConnection) -> int:
            [(count,)] = cursor.execute(QUERIES["remove_profiles"], {"before": before}).fetchall()
            cursor.execute(QUERIES["remove_weights"])
            return int(count)

        count = self._store.telemetry.run(remove, wait_s=60.0)
        baselines = {"before": before, "profiles": self._column("all_profiles", "profile_id")}
        self._store.control.run(lambda cursor: cursor.execute(QUERIES["remove_baselines"], baselines), wait_s=30.0)
        return count

    def _remove_old_baselines(self, now: datetime) -> None:
        """Healthy profiles, and files that captures brought; the samples go with the files they are in."""
        forget_artefacts(self._store, now - self.settings.profiles)
        old = expired_baselines(self._store, now - self.baselines) if self.baselines else []

        def remove(cursor: duckdb.DuckDBPyConnection) -> None:
            cursor.execute(QUERIES["remove_baseline_profiles"], {"old": old})
            cursor.execute(QUERIES["remove_weights"])

        if old:
            self._store.telemetry.run(remove, wait_s=60.0)

    # --- incidents ----------------------------------------------------------------------------------------------------

    def _remove_incidents(self, now: datetime) -> list[str]:
        """Ended incidents with all that names them, and messages that nothing needs any more."""
        before = now - self.settings.incidents
        incidents = self._column("old_incidents", "incident_id", {"before": before})
        tables = self._column("tables_of_incidents", "table_name")

        def remove(cursor: duckdb.DuckDBPyConnection) -> None:
            cursor.execute(QUERIES["remove_events"], {"incidents": incidents, "before": before})
            for table in tables:
                gone = f"DELETE FROM control.{table} WHERE incident_id IN (SELECT unnest($incidents::VARCHAR[]))"  # noqa: S608
                cursor.execute(gone, {"incidents": incidents})
            for name in ("remove_unmatched_episodes", "remove_messages", "remove_queries"):
                cursor.execute(QUERIES[name], {"before": before})

        self._store.control.run(remove, wait_s=30.0)
        return incidents

    def _column(self, query: str, column: str, params: dict[str, Any] | None = None) -> list[Any]:
        return [row[column] for row in self._store.rows(QUERIES[query], params)]

    # --- the thread ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Waits for a run. Calling it twice, or without `start`, is harmless."""
        self._thread.stop()


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # it got its name, or went, just now
        return 0
