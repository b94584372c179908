-- name: trace-cpu
-- question: Was that request computing or waiting?
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
  name AS span, service_name AS service, round(duration_ns / 1e6, 1) AS ms, round(profiled_ns / 1e6, 1) AS profiled_ms,
  samples, round(cpu_ns / 1e6, 1) AS cpu_ms, round(cpu_percent, 0) AS cpu_percent, coalesce(reason, '') AS why_no_sample
FROM span_cpu(coalesce($trace, (SELECT trace_id FROM slowest)))
