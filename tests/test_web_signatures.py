"""Grafana signs its webhooks; the signature stands for a user and a password."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator

import pytest

from diagnose.config import Auth, Hmac, Settings, Token
from diagnose.store.db import Store
from tests.serving import Serving, data, serving

BODY = data("alertmanager", "grafana-built.json").read_bytes()
SIGNATURE = "X-Grafana-Alerting-Signature"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    auth = Auth(
        tokens=[Token(name="root", token="t-admin", roles=["admin"])],
        hmac=[
            Hmac(name="grafana", secret="plain", roles=["ingest"]),
            Hmac(name="dated", secret="dated", header="X-Dated", timestamp_header="X-Time", roles=["ingest"]),
        ],
    )
    with Store.open(tmp_path_factory.mktemp("store")) as store, serving(store, Settings(auth=auth)) as running:
        yield running


def sign(secret: str, body: bytes = BODY) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def dated(at: float) -> dict[str, str]:
    moment = str(int(at))
    return {"X-Dated": sign("dated", moment.encode() + b":" + BODY), "X-Time": moment}


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("signed", [{SIGNATURE: sign("plain")}, {SIGNATURE: sign("plain").upper()}])
def test_a_signed_webhook_is_taken(web, method, signed):
    answer = web.ask(method, "/webhook", BODY, **signed)

    assert 202 == answer.status
    assert 1 == answer.json["accepted"] + answer.json["duplicates"]


def test_a_signature_with_its_time_is_taken_while_it_is_new(web):
    assert 202 == web.post("/webhook", BODY, **dated(time.time())).status
    assert 401 == web.post("/webhook", BODY, **dated(time.time() - 3600)).status
    assert 401 == web.post("/webhook", BODY, **dated(time.time() + 3600)).status


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {SIGNATURE: ""},
        {SIGNATURE: sign("other")},
        {SIGNATURE: sign("plain", BODY + b" ")},
        {SIGNATURE: sign("plain")[:-1]},
        {SIGNATURE: sign("dated")},
        {"X-Dated": sign("dated")},
        {"X-Dated": sign("dated"), "X-Time": "now"},
        {"X-Dated": sign("dated", b":" + BODY), "X-Time": ""},
        {"X-Dated": dated(time.time())["X-Dated"], "X-Time": str(int(time.time()) + 1)},
    ],
)
def test_what_is_not_signed_rightly_is_refused(web, headers):
    assert 401 == web.post("/webhook", BODY, **headers).status


def test_a_signature_allows_no_more_than_its_roles(web):
    asked = json.dumps({"sql": "SELECT 1"}).encode()

    assert 403 == web.post("/api/v1/sql", asked, **{SIGNATURE: sign("plain", asked)}).status


def test_values_and_rule_of_grafana_are_kept(web):
    web.post("/webhook", BODY, **{SIGNATURE: sign("plain")})

    assert [{"rule_uid": "de1x2y3z", "values": {"A": 2.31, "C": 1.0}, "source": "grafana"}] == web.store.rows(
        'SELECT rule_uid, "values", source FROM alerts'
    )
