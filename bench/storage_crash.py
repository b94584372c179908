"""
Kill a process that commits, moves, merges, prunes or migrates, again and again: is everything there, and nothing twice?

    python -m bench.storage_crash [--kills 50] [--seed 1]

Prints kills, spans and how long opening took after each; writes bench/results/storage_crash.json. It stops with an
error at the first span that is lost or doubled.
"""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

import click

from bench.environment import describe
from tests.crash_trials import STEPS, all_versions, kill_while, kill_while_migrating

RESULTS = Path(__file__).parent / "results" / "storage_crash.json"


@click.command()
@click.option("--kills", type=int, default=50, show_default=True, help="For each step.")
@click.option("--seed", type=int, default=1, show_default=True)
def main(kills: int, seed: int) -> None:
    """Kills at random moments."""
    result: dict[str, Any] = {"environment": describe(), "kills": kills, "seed": seed}
    chance = random.Random(seed)  # noqa: S311  when to kill
    with tempfile.TemporaryDirectory() as folder:
        for step in STEPS:
            result[step] = _kills(Path(folder) / step, step, kills, chance)
            print(f"{step}: {result[step]}", flush=True)
        versions = all_versions()
        opening_s = [
            kill_while_migrating(Path(folder) / f"migration-{number}", versions[number % len(versions)], chance)
            for number in range(kills)
        ]
        result["migration"] = {"kills": kills, "opening_s": _spread(opening_s)}
        print(f"migration: {result['migration']}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")


def _kills(path: Path, step: str, kills: int, chance: random.Random) -> dict[str, Any]:
    known: set[int] = set()
    opening_s = []
    for _ in range(kills):
        known, took_s = kill_while(path, step, chance, known)
        opening_s.append(took_s)
    return {"kills": kills, "spans": len(known), "opening_s": _spread(opening_s)}


def _spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {"p50": round(ordered[len(ordered) // 2], 3), "max": round(ordered[-1], 3)}


if __name__ == "__main__":
    main()
