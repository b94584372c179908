from __future__ import annotations

import pytest

from diagnose.matchers import Matcher, all_match, parse_matcher

CHECKOUT = {"job": "checkout", "severity": "warning", "team": 'say "hi"'}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ('job="checkout"', True),
        ("job=checkout", True),
        (' job = "checkout" ', True),
        ('job="check"', False),
        ('job!="checkout"', False),
        ('job!="pricing"', True),
        ('job=~"check.*"', True),
        ('job=~"check"', False),
        ('job=~"check|checkout"', True),
        ('job!~"check.*"', False),
        ('job!~"check"', True),
        ('namespace=""', True),
        ('namespace!=""', False),
        ('namespace=~".+"', False),
        ('namespace!~"prod"', True),
        (r'team="say \"hi\""', True),
        ('job=~"(?i)CHECKOUT"', True),
    ],
)
def test_a_matcher_means_what_it_means_in_alertmanager(text, matches):
    assert matches == parse_matcher(text).matches(CHECKOUT)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("job", "is no matcher"),
        ("", "is no matcher"),
        ('="x"', "is no matcher"),
        ('job=="x"', "is no matcher"),
        ('job="x', "is no matcher"),
        ('job="x",severity="y"', "is no matcher"),
        ('job=~"("', "is no regular expression"),
    ],
)
def test_a_mistake_is_named(text, said):
    with pytest.raises(ValueError, match=said):
        parse_matcher(text)


@pytest.mark.parametrize("value", ["x", 'a "quoted" one', "back\\slash", "two\nlines", ""])
def test_a_matcher_reads_what_it_writes(value):
    matcher = Matcher("job", "=", value)

    assert matcher == parse_matcher(str(matcher))


def test_all_matchers_must_accept_and_no_matcher_accepts_everything():
    both = [parse_matcher('job="checkout"'), parse_matcher('severity="info"')]

    assert not all_match(both, CHECKOUT)
    assert all_match(both[:1], CHECKOUT)
    assert all_match([], {})
