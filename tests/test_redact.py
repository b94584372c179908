from __future__ import annotations

import json

import pytest

from diagnose.config import Ingest, Redaction
from diagnose.redact import KEEP_ALL, LEFT_OUT, MASK, Redactor


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


DEFAULT = Redactor(Ingest().redact)
BODIES = [
    (b'{"labels": {"job": "a"}}', None),
    (b'{"labels": {"token": "abcd", "job": "a"}}', '{"labels":{"token":"***","job":"a"}}'),
    (b'{"token": "abcd", "text": "it is abcd."}', '{"token":"***","text":"it is ***."}'),
    (b'{"secrets": ["abcd", {"x": "efgh"}], "text": "abcdefgh"}', '{"secrets":"***","text":"******"}'),
    (b'{"pass\\u0077ord": "abcd"}', '{"password":"***"}'),
    (b'{"text": "say \\"token\\": abcd"}', None),
    (b'{"token": "ab", "text": "about"}', '{"token":"***","text":"about"}'),
    ('{"token": "ä\\"öü", "text": "»ä\\"öü«"}'.encode(), '{"token":"***","text":"»***«"}'),
]


@pytest.mark.parametrize(("body", "kept"), BODIES)
def test_a_json_body_loses_the_values_of_secret_names_wherever_they_stand(body, kept):
    expected = json.loads(kept or body)

    assert expected == json.loads(DEFAULT.json(body)) == json.loads(DEFAULT.body(body))
    assert kept is not None or DEFAULT.json(body) is body


@pytest.mark.parametrize(
    ("body", "is_kept"),
    [
        (b"not JSON", True),
        (b'{"job": "a", "cut', True),
        (b'{"token": "abcd", "cut', False),
        (b"x-api-key: abcd", False),
        (b"\x0a\xff binary", False),
    ],
)
def test_what_is_no_json_is_kept_only_when_it_is_harmless(body, is_kept):
    assert (body if is_kept else LEFT_OUT) == DEFAULT.body(body)
    assert body == KEEP_ALL.body(body)
