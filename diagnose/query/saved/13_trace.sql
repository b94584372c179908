-- name: trace
-- question: What happened in one request?
-- parameters:
--   trace VARCHAR: the trace; the slowest of the newest incident when left out
WITH chosen AS (
  SELECT * FROM incidents ORDER BY started_at DESC LIMIT 1
), slowest AS (
  SELECT trace_id
  FROM incident_traces JOIN spans USING (trace_id) JOIN chosen USING (incident_id)
  WHERE spans.start_time >= chosen.started_at - INTERVAL 1 HOUR
    AND spans.start_time < coalesce(chosen.ended_at, now()) + INTERVAL 1 HOUR
  ORDER BY duration_ns DESC LIMIT 1
)
SELECT
  repeat('  ', depth) || name AS span, service_name AS service, round(offset_ns / 1e6, 2) AS at_ms,
  round(duration_ns / 1e6, 2) AS ms, round(self_ns / 1e6, 2) AS self_ms, status_code AS status
FROM trace(coalesce($trace, (SELECT trace_id FROM slowest)))
