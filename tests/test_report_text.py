from __future__ import annotations

from datetime import UTC, datetime

import pytest

from diagnose.model import Effect, Finding, Subject
from diagnose.report import text

MIDNIGHT = datetime(2026, 11, 24, 23, 59, 58, 250_000, UTC)


@pytest.mark.parametrize(
    ("ns", "shown"),
    [
        (0, "0 s"),
        (0.2, "0 s"),
        (850, "850 ns"),
        (31_000_000, "31 ms"),
        (10_600_000_000, "10.6 s"),
        (119e9, "119 s"),
        (120e9, "2 m"),
        (1073e9, "17 m 53 s"),
        (11_520e9, "3 h 12 m"),
        (187_200e9, "2 d 4 h"),
        (-200e9, "-3 m 20 s"),
    ],
)
def test_durations_have_two_units_at_most(ns, shown):
    assert shown == text.duration(ns)


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.714, "share", "71 %"),
        (3.1, "percent", "3.1 %"),
        (0.0004, "ratio", "0.04 %"),
        (2003.0, "ms", "2 s"),
        (0.21, "s", "210 ms"),
        (2.3e9, "ns", "2.3 s"),
        (84 << 20, "bytes", "84 MiB"),
        (3_000_000, "bytes per s", "2.86 MiB per s"),
        (0.5, "s per s", "500 ms per s"),
        (2.1, "seconds per request", "2.1 s per request"),
        (0.31, "share of CPU", "31 % of CPU"),
        (12.0, "per s", "12 per s"),
        (31.0, "goroutines at a time", "31 goroutines at a time"),
        (float("inf"), "s", "∞"),
        (float("nan"), "bytes", "not a number"),
        (68.0, "points", "68 points"),
        (212, "count", "212"),
        (212.0, "goroutines", "212 goroutines"),
        (0.03124, "", "0.031"),
        (12_345.6, "", "12,346"),
        (-2.5, "points", "-2.5 points"),
        (0.0, "bytes", "0 B"),
    ],
)
def test_amounts_carry_their_unit(value, unit, shown):
    assert shown == text.amount(value, unit)


def test_a_period_names_the_day_again_only_when_it_is_another():
    assert "since 2026-11-24 23:59:58 UTC" == text.period(MIDNIGHT, None)
    assert "2026-11-24 23:59:58 – 23:59:59 UTC" == text.period(MIDNIGHT, MIDNIGHT.replace(second=59))
    assert "2026-11-24 23:59:58 – 2026-11-25 00:10:00 UTC" == text.period(
        MIDNIGHT, datetime(2026, 11, 25, 0, 10, tzinfo=UTC)
    )
    assert "23:59:58.2" == text.clock(MIDNIGHT, 1)


@pytest.mark.parametrize(
    ("sentence", "names", "pieces"),
    [
        ("requests of /checkout", ("checkout",), [(False, "requests of /checkout")]),
        ("`main.f` gained 3 points", (), [(True, "main.f"), (False, " gained 3 points")]),
        ("hot: main.(*M).match", ("main.(*M).match",), [(False, "hot: "), (True, "main.(*M).match")]),
        ("`main.f` calls main.fast", ("main.f",), [(True, "main.f"), (False, " calls main.fast")]),
        ("nothing here", ("", "x"), [(False, "nothing here")]),
        ("", (), []),
    ],
)
def test_code_in_a_sentence_is_what_is_quoted_or_named(sentence, names, pieces):
    assert pieces == text.pieces(sentence, names)


def test_markdown_says_exactly_what_the_text_says():
    assert r"a\*b \_c\_ \[x\](y) \<b\> \&lt; \| \`q\`" == text.plain_md("a*b _c_ [x](y) <b> &lt; | `q`")
    assert "one two" == text.plain_md("one\n\ntwo")
    assert "@\u200beveryone a@ b" == text.plain_md("@everyone a@ b")
    assert ("`a`", "`` a`b ``".replace(" ", ""), "`` `a ``", "` `") == tuple(
        text.code_md(each) for each in ("a", "a`b", "`a", "")
    )
    assert r"`a\|b` \| c" == text.cell_md(r"`a|b` \| c")


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://runbooks.example/x", True),
        (" http://127.0.0.1:9090/graph?g0.expr=up ", True),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("//host/path", False),
        ("http://", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_only_web_addresses_become_links(url, kept):
    assert (url.strip() if kept else "") == text.web_link(url)


def test_a_query_too_long_for_an_address_gets_no_link():
    assert "http://d.test/sql?q=SELECT%20%27%26%23%27" == text.sql_link("http://d.test/", "SELECT '&#'")
    assert "" == text.sql_link("http://d.test", "SELECT 1 " * 1000)
    assert "" == text.sql_link("http://d.test", "")


def test_certainty_is_the_method_and_its_figures():
    finding = Finding("lock", "", Subject("function", "f"), Effect(1, "s", None, None), {}, "hint", (), "")

    assert "" == text.why(finding)
    given = {"method": "rank test", "z": 41.25, "p": 0.0004}
    assert "rank test · z = 41.2 · p = 0.0004" == text.why(Finding(**{**vars(finding), "significance": given}))
