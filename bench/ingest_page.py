"""
docs/performance/ingest.md out of bench/results/ingest.json.

    python -m bench.ingest && python -m bench.ingest_page
"""

from __future__ import annotations

import json
from pathlib import Path
from string import Template
from typing import Any

from bench.ingest import RESULTS

PAGE = Path("docs/performance/ingest.md")
COLUMNS = {
    "name": "what, read how",
    "a_request": "a request",
    "per_s": "per second",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "cpu_s_per_million": "CPU s per million",
    "bytes_each": "bytes each",
    "peak_rss_mb": "peak MB",
}
TEMPLATE = Path(__file__).with_name("ingest_page.md")


def main() -> None:
    results = json.loads(RESULTS.read_text())
    parts = {name: f"{_table(each['rows'])}\n\n{_ratios(each['rows'])}".strip() for name, each in results.items()}
    environment = next(iter(results.values()))["environment"]
    parts["environment"] = "\n".join(f"- {key}: {value}" for key, value in environment.items())
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(Template(TEMPLATE.read_text()).substitute(parts).rstrip("\n") + "\n")


def _table(rows: list[dict[str, Any]]) -> str:
    names = {key: COLUMNS.get(key, key.replace("_", " ")) for key in rows[0] if key not in ("items", "busy_answers")}
    lines = ["| " + " | ".join(names.values()) + " |", "|" + "---|" * len(names)]
    return "\n".join(lines + ["| " + " | ".join(_cell(row[key]) for key in names) + " |" for row in rows])


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _ratios(rows: list[dict[str, Any]]) -> str:
    """How much quicker the columns are, and what a busy thread costs."""
    said = []
    for first, second in zip(rows[::2], rows[1::2], strict=False):
        if first["name"].endswith("columns"):
            said.append(f"{first['per_s'] / second['per_s']:.1f} times at {first['a_request']:,} a request")
        elif first["name"].endswith("alone"):
            said.append(f"{1 - second['per_s'] / first['per_s']:.0%} at {first['name'].split(', ')[1]}")
    if not said:
        return ""
    lead = "`columns` against `objects`: " if "columns" in rows[0]["name"] else "The busy thread costs "
    return f"{lead}{', '.join(said)}."


if __name__ == "__main__":
    main()
