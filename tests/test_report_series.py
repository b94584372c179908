from __future__ import annotations

import pytest

from diagnose.report.series import Watched, unit_of, watched

P99 = "histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket[1m])))"


@pytest.mark.parametrize(
    ("expr", "found"),
    [
        (f"{P99} > 0.5", Watched(P99, 0.5, "s")),
        (f"  {P99}\n > 5e-1 and sum(rate(x_total[1m])) > 0.2", Watched(P99, 0.5, "s")),
        ("(go_goroutines > 200)", Watched("go_goroutines", 200.0, "")),
        ("(a > 1) and (b > 2)", Watched("(a > 1)", None, "")),
        ("diagnose_disk_free_bytes < 2e9 or predict(x) < 0", Watched("diagnose_disk_free_bytes", 2e9, "bytes")),
        ('up{job="a > 1 and b"} == bool 0', Watched('up{job="a > 1 and b"}', 0.0, "")),
        ("deriv(go_heap_bytes[10m]) > 50e3", Watched("deriv(go_heap_bytes[10m])", 50e3, "bytes per s")),
        (
            "a / b > on (job) group_left () 3 * min(c)",
            Watched("a / b > on (job) group_left () 3 * min(c)", None, "share"),
        ),
        ("absent(up)", Watched("absent(up)", None, "")),
        ("x >= -1.5", Watched("x", -1.5, "")),
        ("", None),
        (None, None),
        ("((", Watched("((", None, "")),
        (") > 1", Watched(") > 1", None, "")),
    ],
)
def test_the_watched_number_is_the_rule_without_its_comparison(expr, found):
    assert found == watched(expr)


@pytest.mark.parametrize(
    ("expr", "unit"),
    [
        (P99, "s"),
        ("sum(rate(errors_total[5m])) / sum(rate(requests_total[5m]))", "share"),
        ("rate(go_sync_mutex_wait_total_seconds_total[5m])", "s per s"),
        ("rate(http_requests_total[5m])", "per s"),
        ("go_memstats_heap_inuse_bytes", "bytes"),
        ('go_goroutines{path="a/b"}', ""),
    ],
)
def test_the_unit_comes_from_the_names(expr, unit):
    assert unit == unit_of(expr)
