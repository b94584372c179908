from __future__ import annotations

import pytest

from diagnose.errors import StoreBusy
from diagnose.receive.otlp import PROTOBUF, decode_traces
from diagnose.store.segments import Segments
from diagnose.store.spans import save_spans
from tests.otlp import span, traces


def one_span(number: int):
    return decode_traces(traces(span(f"{number:016x}")), PROTOBUF)


def test_who_comes_when_too_many_spans_wait_to_be_moved_is_told_to_come_back(store):
    segments = Segments(store)
    store.live_spans.limit = 2
    save_spans(store, one_span(1))
    save_spans(store, one_span(2))
    with pytest.raises(StoreBusy, match="2 spans wait"):
        save_spans(store, one_span(3))

    segments.move()
    save_spans(store, one_span(3))

    assert {"n": 3} == store.row("SELECT count(*) AS n FROM spans")


def test_spans_that_were_there_before_count_too(store):
    save_spans(store, one_span(1))
    Segments(store)
    store.live_spans.limit = 1

    with pytest.raises(StoreBusy):
        save_spans(store, one_span(2))


def test_without_anybody_who_moves_them_there_are_never_too_many(store):
    store.live_spans.arrived(10**9)

    assert save_spans(store, one_span(1))
