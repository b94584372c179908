"""Numbers and names in sentences."""

from __future__ import annotations

import pytest

from diagnose.explain.instances import where
from diagnose.explain.wording import code, count, listed, number, percent, place, seconds, short, size


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("main.work", "main.work"),
        ("example.com/shop/internal/price.(*Matcher).Match", "price.(*Matcher).Match"),
        ("example.com/a/b.Map[go.shape.struct { x/y.Z }].func1", "b.Map[...]"),
        ("example.com/shop.serve.func2.1", "shop.serve.func2.1"),
        ("runtime.gopark", "runtime.gopark"),
        ("", ""),
    ],
)
def test_a_function_is_named_without_its_path(function, text):
    assert text == short(function)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("71 %", percent(0.712)),
        ("0 %", percent(0)),
        ("0.3 %", percent(0.0031)),
        ("under 0.1 %", percent(0.0001)),
        ("100 %", percent(1)),
        ("2.3 s", seconds(2.31)),
        ("410 ms", seconds(0.41)),
        ("1.2 ms", seconds(0.00124)),
        ("0 ms", seconds(0)),
        ("84 MB", size(84_200_000)),
        ("1.2 GB", size(1_230_000_000)),
        ("0 B", size(0)),
        ("-3.0 MB", size(-3_000_000)),
        ("1,412", number(1412)),
        ("0.034", number(0.0342)),
        ("1 goroutine", count(1, "goroutine")),
        ("2 processes", count(2, "process", "processes")),
        ("shop/price.go:79", place("/src/example.com/shop/price.go", 79)),
        ("shop/price.go", place("shop/price.go", 0)),
        ("", place("", 3)),
        ("a", listed(["a"])),
        ("a and b", listed(["a", "b"])),
        ("a, b and c", listed(["a", "b", "c"])),
        ("`it's`", code("it`s")),
    ],
)
def test_numbers_are_short_and_carry_their_unit(text, made):
    assert text == made


def test_a_sentence_says_on_which_instances():
    assert where({"c-1": 0.9, "c-2": 0.8}, "c-1") == ", on all 2 captured instances"
    assert where({"c-1": 0.0, "c-2": 0.8}, "c-2") == ", on c-2 only (not on c-1)"
    assert where({"c-2": 0.8}, "c-2") == ""
