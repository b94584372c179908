"""
How long `diagnose serve` takes until it is ready when ten thousand alerts fire: `python -m bench.startup`.

The control database is filled as the intake fills it; then the program is started a few times, in turn with one that
has no data: most of the time goes into loading the program.
"""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from bench.environment import describe
from diagnose.model import IncidentKey, utc_now
from diagnose.store.alerts import save_group
from diagnose.store.db import Store
from diagnose.store.reports import save_revision
from tests.builders import alert, group
from tests.service_process import ServiceProcess

SERVICES, ALERTS_EACH, STARTS = 100, 100, 5
RESULT = Path(__file__).parent / "results" / "startup.json"


def main() -> None:
    environment = describe()
    with TemporaryDirectory() as folder:
        full, empty = Path(folder) / "full", Path(folder) / "empty"
        full.mkdir()
        empty.mkdir()
        fill(full / "data")
        pairs = [(start(full, SERVICES), start(empty, 0)) for _ in range(STARTS)]
    found = {"open_episodes": SERVICES * ALERTS_EACH, **figures("", [full for full, _ in pairs])}
    found |= figures("_without_data", [empty for _, empty in pairs])
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"environment": environment, **found}, indent=1))
    print(json.dumps(found))


def fill(data: Path) -> None:
    """Each service has one incident with a report, so that a restart has nothing to take up."""
    now = utc_now()
    pages = {"html": "", "markdown": "", "json_text": "{}"}
    with Store.open(data) as store:
        for service in range(SERVICES):
            alerts = [alert(job=f"s{service}", pod=str(pod), starts_at=now) for pod in range(ALERTS_EACH)]
            key = IncidentKey(f"s{service}", f"s{service}")
            message = group(*alerts, received_at=now, external_url="http://am.test")
            [incident_id] = save_group(store, message, lambda _, key=key: key, quiet=timedelta(0)).opened
            save_revision(store, incident_id, 1, "profiles captured", [], ruled_out=[], missing=[], sinks=[], **pages)


def figures(name: str, starts: list[tuple[float, float]]) -> dict[str, Any]:
    return {
        f"ready{name}_s": [wall for wall, _ in starts],
        f"median{name}_s": round(median(wall for wall, _ in starts), 2),
        f"median_cpu{name}_s": round(median(cpu for _, cpu in starts), 2),
    }


def start(folder: Path, incidents: int) -> tuple[float, float]:
    """Seconds from the start of the process to the first 200 of /readyz, and its CPU seconds until then."""
    running = ServiceProcess(folder)
    began = time.monotonic()
    with running:
        took_s, cpu_s = time.monotonic() - began, running.cpu_s()
        assert incidents == len(running.get("/api/v1/incidents?status=open&limit=500")["incidents"])
    return round(took_s, 2), round(cpu_s, 2)


if __name__ == "__main__":
    main()
