from __future__ import annotations

import pytest

from diagnose.correlate.expression import (
    Comparison,
    can_have_exemplars,
    comparison,
    expression_of,
    fires_when_high,
    longest_range_s,
    numerators,
    selectors,
)

RATIO = 'sum(rate(x_total{code=~"5..",job="a"}[5m])) / sum(rate(x_total{job="a"}[5m])) > 0.05'


@pytest.mark.parametrize(
    ("url", "expr"),
    [
        ("http://p:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1", "up == 0"),
        ("http://p:9090/graph?g0.expr=up+%3D%3D+0&amp;g0.tab=1", "up == 0"),
        ("https://mimir/prefix/query?g0.range_input=1h&g0.expr=a%7Bb%3D%22%26%22%7D", 'a{b="&"}'),
        ("https://grafana/alerting/grafana/abc/view?orgId=1", ""),
        ("http://vmalert:8880/vmalert/alert?group_id=1&alert_id=2", ""),
        ("http://[bad/graph?g0.expr=x", ""),
        ("http://p/?" + "&".join(["a=b"] * 500), ""),
        ("", ""),
    ],
)
def test_the_expression_is_in_the_link(url, expr):
    assert expr == expression_of(url)


@pytest.mark.parametrize(
    ("expr", "found"),
    [
        ('a{x="1"} / b{y=~"2|3", z!="4"}', ["a{x=1}", "b{y=2|3,z=4}"]),
        ('{__name__="a", path="/x{id}"}', ["{__name__=a,path=/x{id}}"]),
        ("a{x='1'}", ["a{x=1}"]),
        ('a{x="\\"}"} + b{}', ['a{x="}}', "b{}"]),
        ('a{x=~"(?<bad"}', []),
        ("up == 0", []),
    ],
)
def test_selectors_are_read_with_their_matchers(expr, found):
    shown = [f"{each.name}{{{','.join(f'{m.label}={m.value}' for m in each.matchers)}}}" for each in selectors(expr)]

    assert found == shown


@pytest.mark.parametrize(
    ("expr", "names"),
    [
        (RATIO, ['code=~"5.."', 'job="a"']),
        ('rate(x_total{code=~"5.."}[5m]) / rate(x_total[5m]) > 1', ['code=~"5.."']),
        ('rate(x_total{code="500"}[5m]) / rate(y_total[5m]) > 1', None),
        ('rate(x_total{job="a"}[5m]) > 1 and rate(x_total{job="a"}[1m]) > 1', None),
    ],
)
def test_a_numerator_takes_a_part_of_what_another_selector_takes(expr, names):
    found = numerators(expr)

    assert ([names] if names else []) == [[str(matcher) for matcher in each.matchers] for each in found]


def test_a_numerator_knows_its_series():
    (numerator,) = numerators(RATIO)

    assert numerator.accepts("x_total", {"code": "503", "job": "a"})
    assert not numerator.accepts("x_total", {"code": "200", "job": "a"})
    assert not numerator.accepts("y_total", {"code": "503", "job": "a"})


@pytest.mark.parametrize(
    ("expr", "found", "high"),
    [
        ("a > 0.5", Comparison(">", 0.5), True),
        ("(a / b) >= 1e-3", Comparison(">=", 0.001), True),
        ("(a / b > bool 5)", Comparison(">", 5.0), True),
        ("good / all < 0.99", Comparison("<", 0.99), False),
        ("1 - good / all > 0.01", Comparison(">", 0.01), False),
        ("1 - bad / all < .99", Comparison("<", 0.99), True),
        ("a > b", None, True),
    ],
)
def test_the_comparison_says_which_side_is_sick(expr, found, high):
    assert (found, high) == (comparison(expr), fires_when_high(expr))


def test_ranges_and_kinds_are_read():
    assert 600.0 == longest_range_s("deriv(x[1m:5s]) > 1 and rate(y[10m] offset 30m) > 2")
    assert 0.0 == longest_range_s("go_goroutines > 500")
    assert can_have_exemplars(RATIO)
    assert not can_have_exemplars("go_goroutines > 500")
