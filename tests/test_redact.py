from __future__ import annotations

import pytest

from diagnose.config import Ingest, Redaction
from diagnose.redact import KEEP_ALL, MASK, Redactor


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("http.request.header.Authorization", "mask"),
        ("db.password", "mask"),
        ("X-Api-Key", "mask"),
        ("http.route", None),
        ("", None),
    ],
)
def test_the_default_rule_knows_the_usual_names_of_secrets(name, action):
    assert action == Redactor(Ingest().redact).action(name)


def test_the_first_rule_that_matches_decides():
    redactor = Redactor([Redaction(keys=["^user\\.email$"], action="drop"), Redaction(keys=["user"], action="mask")])

    assert {"user.name": MASK, "route": "/"} == redactor.labels({"user.email": "a@b", "user.name": "c", "route": "/"})


def test_without_rules_everything_is_kept():
    assert {"password": "x"} == KEEP_ALL.labels({"password": "x"})
