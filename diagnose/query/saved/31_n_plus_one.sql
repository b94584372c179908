-- name: n-plus-one
-- question: Does one request ask the same again and again?
-- parameters:
--   service VARCHAR: only this service
--   at TIMESTAMPTZ: the end of the ten minutes looked at; now when left out
WITH repeated AS (
  SELECT trace_id, parent_span_id, service_name, name, count(*) AS calls, sum(duration_ns) AS spent_ns
  FROM spans
  WHERE list_contains(['CLIENT', 'PRODUCER'], kind) AND parent_span_id IS NOT NULL AND ($service IS NULL OR service_name = $service)
    AND start_time >= coalesce($at::TIMESTAMPTZ, now()) - INTERVAL 10 MINUTE
    AND start_time < coalesce($at::TIMESTAMPTZ, now())
  GROUP BY trace_id, parent_span_id, service_name, name HAVING count(*) >= 5
)
SELECT
  service_name AS service, name AS call, count(DISTINCT trace_id) AS traces, round(p50(calls), 0) AS calls_per_parent,
  max(calls) AS most_calls, round(p50(spent_ns) / 1e6, 1) AS spent_ms, arg_max(trace_id, calls) AS example_trace
FROM repeated GROUP BY service_name, name ORDER BY most_calls DESC, service, call LIMIT 20
