-- name: slow-trace-functions
-- question: What did the slow requests execute?
-- parameters:
--   incident VARCHAR: the incident; the newest one when left out
WITH chosen AS (
  SELECT * FROM incidents WHERE $incident IS NULL OR incident_id = $incident ORDER BY started_at DESC LIMIT 1
)
SELECT
  own_function AS function, leaf_function AS leaf, count(DISTINCT trace_id) AS traces, sum(observations) AS samples,
  round(sum(value) / 1e6, 0) AS cpu_ms
FROM profile_samples JOIN incident_traces USING (trace_id) JOIN chosen USING (incident_id)
WHERE kind = 'cpu' AND value_type = 'cpu' AND NOT is_profiler
GROUP BY own_function, leaf_function ORDER BY cpu_ms DESC, function, leaf LIMIT 20
