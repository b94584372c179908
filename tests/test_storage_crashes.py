"""Killed in the middle of moving, merging, retention or a migration: every span is there once."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from diagnose.store.db import Store
from tests.crash_trials import STEPS, all_versions, check_migrated, kill_while, kill_while_migrating, old_store

KILLS = 5


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_loses_nothing_and_doubles_nothing(tmp_path: Path, step: str):
    chance = random.Random(step)  # noqa: S311  when to kill
    known: set[int] = set()
    for _ in range(KILLS):
        known, _ = kill_while(tmp_path / "data", step, chance, known)

    assert known


def test_a_kill_during_a_migration_leaves_the_old_or_the_new(tmp_path: Path):
    chance = random.Random("migration")  # noqa: S311  when to kill
    for number in range(KILLS):
        kill_while_migrating(tmp_path / str(number), {"control": 1, "telemetry": 1}, chance)


@pytest.mark.parametrize("versions", all_versions(), ids=str)
def test_files_of_every_earlier_version_are_brought_up_to_date(tmp_path: Path, versions: dict[str, int]):
    old_store(tmp_path / "data", versions)
    with Store.open(tmp_path / "data") as store:
        check_migrated(store)
