from __future__ import annotations

from diagnose.store.rejects import save_rejected


def test_what_was_refused_is_kept_with_the_reason(store):
    save_rejected(store, "/webhook", "alerts is missing", "alerts", b'{"version": "4"}')
    kept = store.row("FROM rejected_requests")

    assert ("/webhook", "alerts is missing", "alerts", b'{"version": "4"}', 16, 0) == tuple(
        kept[name] for name in ("path", "reason", "field", "body", "body_bytes", "repeats")
    )


def test_repeats_are_counted_and_not_multiplied(store):
    for _ in range(3):
        save_rejected(store, "/webhook", "not JSON", None, b"x")
    save_rejected(store, "/webhook", "not JSON", None, b"y")
    kept = store.rows("SELECT repeats, last_at > first_at AS again FROM rejected_requests ORDER BY body")

    assert [{"repeats": 2, "again": True}, {"repeats": 0, "again": False}] == kept


def test_of_a_long_body_the_beginning_is_kept_and_long_ones_differ_by_their_end(store):
    save_rejected(store, "/webhook", "too large", None, b"a" * 100 + b"1", limit_bytes=10)
    save_rejected(store, "/webhook", "too large", None, b"a" * 100 + b"2", limit_bytes=10)

    assert [{"body": b"a" * 10, "body_bytes": 101}] * 2 == store.rows("SELECT body, body_bytes FROM rejected_requests")


def test_the_table_is_bounded_and_forgets_the_oldest(store):
    for number in range(8):
        save_rejected(store, "/webhook", "not JSON", None, str(number).encode(), keep_rows=5)
    save_rejected(store, "/webhook", "not JSON", None, b"3", keep_rows=5)
    save_rejected(store, "/webhook", "not JSON", None, b"8", keep_rows=5)

    kept = store.rows("SELECT body FROM rejected_requests ORDER BY body")
    assert [b"3", b"5", b"6", b"7", b"8"] == [row["body"] for row in kept]
