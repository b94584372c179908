-- name: slow-traces
-- question: Which requests are the evidence?
-- parameters:
--   incident VARCHAR: the incident; the newest one when left out
WITH chosen AS (
  SELECT * FROM incidents WHERE $incident IS NULL OR incident_id = $incident ORDER BY started_at DESC LIMIT 1
), seen AS (
  SELECT spans.*
  FROM spans, chosen
  WHERE spans.start_time >= chosen.started_at - INTERVAL 1 HOUR
    AND spans.start_time < coalesce(chosen.ended_at, now()) + INTERVAL 1 HOUR
    AND trace_id IN (SELECT trace_id FROM incident_traces JOIN chosen USING (incident_id))
)
SELECT
  incident_traces.rank, trace_id, found_by, round(confidence, 2) AS confidence,
  arg_min(seen.name, start_time_unix_nano) AS root, round(max(duration_ns) / 1e6, 1) AS ms, count(span_id) AS spans,
  count(*) FILTER (status_code = 'ERROR') AS errors
FROM incident_traces JOIN chosen USING (incident_id) LEFT JOIN seen USING (trace_id)
GROUP BY incident_traces.rank, trace_id, found_by, confidence ORDER BY incident_traces.rank LIMIT 30
