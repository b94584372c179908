"""The scenarios of bench/ in small: the real service in its own process, killed under load and in a storm."""

from __future__ import annotations

from pathlib import Path

from bench.alert_storm import storm
from bench.intake_crash import crash


def test_what_was_acknowledged_survives_five_kills_under_load_and_is_there_once(tmp_path: Path):
    figures = crash(tmp_path, kills=5, seed=7)

    assert 5 == figures.kills
    assert (figures.acknowledged, 0) == (figures.found, figures.doubled)
    assert figures.acknowledged > 0
    assert figures.unanswered > 0


def test_a_storm_of_alerts_beside_ingest_is_stored_alert_for_alert(tmp_path: Path):
    result = storm(tmp_path, alerts=1000, spans_per_s=2000)

    assert (1000, 1000, 0) == (result.acknowledged, result.found, result.doubled)
    assert 8 == result.incidents
    assert 0 < result.spans_sent <= result.spans_found
