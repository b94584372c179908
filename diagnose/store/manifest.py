"""
Which Parquet files belong to the data, and the views that show their rows with those of the live tables.

The rows of table `segment` are the manifest. Whoever changes them calls `show_segments` in the same transaction, so a
reader finds every row exactly once, whatever moves meanwhile. A view reads its files in groups that grow from the
newest on; each group says between which times its rows are, so a query about some hours opens the files of few
groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path

import duckdb

from diagnose.store.queries import load_queries

QUERIES = load_queries("segments")
FOLDER = "segments"
NEWEST_GROUP = 2  # files: a group costs 0.25 ms, a file that is opened for all columns of a span three times that
GROUPS_OF_A_SIZE = 6  # then they double: 2 2 2 2 2 2 4 4 …


@dataclass(frozen=True)
class SegmentTable:
    """
    A table whose rows move into segments: from `live_<name>`, seen as `<name>`.

    *sorting* is the clause that brings the rows of a file into order, if they do not arrive in it; *time* is the column
    that queries bound; *row_group* is how many rows are unpacked together.
    """

    name: str
    sorting: str = ""
    time: str | None = None
    row_group: int = 8192

    @property
    def live(self) -> str:
        return f"live_{self.name}"

    @property
    def live_rows(self) -> str:
        """The query that shows the rows of the live table as those of the files."""
        return QUERIES[self.live]


SPAN_FILES = SegmentTable("span", "ORDER BY service_name, start_time", "start_time")
SAMPLE_FILES = SegmentTable("sample", row_group=65_536)  # merged far more often than searched for a trace
TABLES = (
    SPAN_FILES,
    SegmentTable("metric_point", 'ORDER BY series_id, "time"', '"time"'),
    SegmentTable("metric_histogram", 'ORDER BY series_id, "time"', '"time"'),
    SegmentTable("exemplar", 'ORDER BY series_id, "time"', '"time"'),
    SAMPLE_FILES,
)


@dataclass(frozen=True)
class Segment:
    """One row of table `segment`; see the comments of its columns."""

    file: str
    table: str
    pinned: bool
    arrived_since: datetime
    arrived_until: datetime
    since: datetime | None
    until: datetime | None
    row_count: int
    bytes: int


def read_segments(cursor: duckdb.DuckDBPyConnection) -> list[Segment]:
    """Oldest arrival first."""
    found = cursor.execute(QUERIES["all_segments"])
    names = [column[0] for column in found.description]
    return [Segment(**dict(zip(names, row, strict=True))) for row in found.fetchall()]


def show_samples_of_version_3(cursor: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """For the script that reads them: those that had moved where their files are now, the others as they were then."""
    files = [folder / each.file for each in read_segments(cursor) if each.table == SAMPLE_FILES.name]
    rows = f"UNION ALL SELECT * FROM {parquet(files)}" if files else ""  # noqa: S608  our own file names
    cursor.execute(f"CREATE OR REPLACE VIEW sample AS SELECT * FROM live_sample {rows}")  # noqa: S608


def show_segments(
    cursor: duckdb.DuckDBPyConnection, folder: Path, segments: Iterable[Segment], *, database: str | None = None
) -> None:
    """(Re)place the views of all TABLES in a database, over its live tables and *segments* below *folder*."""
    by_table: dict[str, list[Segment]] = {}
    for segment in segments:
        by_table.setdefault(segment.table, []).append(segment)
    place = f"{database}." if database else ""
    for table in TABLES:
        rows = rows_of(table, folder, by_table.get(table.name, []))
        cursor.execute(f"CREATE OR REPLACE VIEW {place}{table.name} AS {rows}")


def rows_of(table: SegmentTable, folder: Path, segments: Sequence[Segment]) -> str:
    """The query for all rows: of the live table and of every group of files."""
    groups = [_group_rows(table, folder, group) for group in _groups(segments)]
    return "\nUNION ALL\n".join([table.live_rows, *groups])


def files_between(
    cursor: duckdb.DuckDBPyConnection, table: SegmentTable, folder: Path, since: datetime, until: datetime
) -> list[Path]:
    """
    Those with rows in [since, until].

    To be asked, and read, in one transaction of *cursor*, or rows that move meanwhile are missed.
    """
    asked = {"table": table.name, "since": since, "until": until}
    return [folder / file for (file,) in cursor.execute(QUERIES["segments_between"], asked).fetchall()]


def rows_in(table: SegmentTable, files: Sequence[Path]) -> str:
    """The query for the rows of the live table and of *files*."""
    return f"{table.live_rows} UNION ALL SELECT * FROM {parquet(files)}" if files else table.live_rows  # noqa: S608


def _groups(segments: Sequence[Segment]) -> Iterable[Sequence[Segment]]:
    newest_first = sorted(segments, key=lambda each: (each.arrived_until, each.file), reverse=True)
    start = 0
    for number in count():
        size = NEWEST_GROUP * 2 ** (number // GROUPS_OF_A_SIZE)
        if start >= len(newest_first):
            return
        yield newest_first[start : start + size]
        start += size


def _group_rows(table: SegmentTable, folder: Path, group: Sequence[Segment]) -> str:
    rows = f"SELECT * FROM {parquet(folder / each.file for each in group)}"  # noqa: S608  our own file names
    sinces = [each.since for each in group if each.since is not None]
    untils = [each.until for each in group if each.until is not None]
    if table.time is None or not sinces:
        return rows
    return f"{rows} WHERE {table.time} BETWEEN {_literal(min(sinces))} AND {_literal(max(untils))}"


def parquet(files: Iterable[Path]) -> str:
    """The table function that reads *files*."""
    names = ", ".join(quoted(str(file)) for file in files)
    return f"read_parquet([{names}], hive_partitioning = false)"


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _literal(at: datetime) -> str:
    return f"TIMESTAMPTZ '{at.isoformat()}'"
