-- name: trace
-- question: What happened in one request?
-- parameters:
--   trace VARCHAR: the trace; the slowest of the newest incident when left out
WITH slowest AS (
  SELECT trace_id
  FROM incident_traces JOIN spans USING (trace_id)
  WHERE incident_id = (SELECT incident_id FROM incidents ORDER BY started_at DESC LIMIT 1)
  ORDER BY duration_ns DESC LIMIT 1
)
SELECT
  repeat('  ', depth) || name AS span, service_name AS service, round(offset_ns / 1e6, 2) AS at_ms,
  round(duration_ns / 1e6, 2) AS ms, round(self_ns / 1e6, 2) AS self_ms, status_code AS status
FROM trace(coalesce($trace, (SELECT trace_id FROM slowest)))
